"""The engine's options: frozen, keyword only, checked once (spec 6.1).

Rules: times are seconds (float), sizes are bytes (int), caps come from ``protocol.limits`` where their reasons stand.
An impossible value is a ConfigError that names the option, the value and what is allowed.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from trioflask_sio.engine.transport import HttpRequest
from trioflask_sio.exceptions import ConfigError
from trioflask_sio.protocol import limits

__all__ = ["TRANSPORTS", "AllowRequest", "EngineConfig", "OriginCheck", "takes_request"]

TRANSPORTS = ("polling", "websocket")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What may stand as a cookie's name (RFC 6265 4.1.1)."""

Verdict: TypeAlias = bool | str | None

AllowRequest: TypeAlias = Callable[[HttpRequest], Verdict | Awaitable[Verdict]]
"""True admits the handshake; False or a text refuses it with code 4 (spec 6.1)."""

OriginCheck: TypeAlias = Callable[[str], bool] | Callable[[str, HttpRequest], bool]
"""Decides about one Origin header; a second parameter receives the request (spec 3.10.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Every option of the engine.

    Args:
        ping_interval: seconds from the handshake, then from each pong, to the next ping (spec 3.8.1).
        ping_timeout: seconds a client has to answer a ping.
        max_http_buffer_size: bytes of one incoming message or POST body; announced as ``maxPayload``.
        transports: the enabled ones, a name or several; their order means nothing (spec 3.1.6).
        allow_upgrades: offer and accept the move from polling to WebSocket.
        upgrade_timeout: seconds from the offered WebSocket to its upgrade packet.
        connect_timeout: seconds until a session that nobody confirmed is closed; None never.
        monitor_clients: False never closes a client for a missing pong.
        cookie: None, a cookie's name, or a dict with ``name`` and attributes (spec 3.11.1).
        cors_allowed_origins: None (same origin), an origin, several, ``"*"``, ``[]`` (no check, no headers), a
        callable. cors_credentials: send ``Access-Control-Allow-Credentials`` to an allowed origin.
        http_compression: compress polling replies where the client accepts it.
        compression_threshold: smallest reply in bytes that is compressed.
        per_message_deflate: offer permessage-deflate on WebSockets.
        allow_request: called with each handshake's request; only True (or an awaitable of it) admits.
        max_outbox_bytes: bytes that may wait for one client before it is closed as too slow.
        max_outbox_packets: packets that may wait for one client.
        max_inbound_bytes: bytes held by the layer above before this client's reader pauses (design §8.2).
        close_timeout: seconds a closed polling session waits for the poll that fetches its last packets (spec 3.5.6).
        goodbye_timeout: seconds a closing WebSocket may take to deliver what is queued and the close frame.

    Raises:
        ConfigError: a value is impossible.
    """

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    max_http_buffer_size: int = limits.MAX_MESSAGE
    transports: Iterable[str] = TRANSPORTS
    allow_upgrades: bool = True
    upgrade_timeout: float = limits.UPGRADE_TIMEOUT
    connect_timeout: float | None = limits.CONNECT_TIMEOUT
    monitor_clients: bool = True
    cookie: str | Mapping[str, object] | None = None
    cors_allowed_origins: str | Iterable[str] | OriginCheck | None = None
    cors_credentials: bool = True
    http_compression: bool = True
    compression_threshold: int = 1024
    per_message_deflate: bool = False
    allow_request: AllowRequest | None = None
    max_outbox_bytes: int = limits.OUTBOX_BYTES
    max_outbox_packets: int = limits.OUTBOX_PACKETS
    max_inbound_bytes: int = limits.INBOUND_BYTES
    close_timeout: float = limits.CLOSE_HOLD
    goodbye_timeout: float = 5.0
    enabled: tuple[str, ...] = field(init=False)
    """``transports`` as a tuple without repetitions."""

    def __post_init__(self) -> None:
        interval: object = self.ping_interval
        if isinstance(interval, (tuple, list)):
            raise ConfigError(
                f"ping_interval is one number of seconds here, not (interval, grace) {interval!r}: "
                "add the grace to ping_timeout, which is what a client is given to answer"
            )
        for name in ("ping_interval", "ping_timeout", "upgrade_timeout", "close_timeout", "goodbye_timeout"):
            _seconds(name, getattr(self, name))
        if self.connect_timeout is not None:
            _seconds("connect_timeout", self.connect_timeout)
        for name in ("max_http_buffer_size", "max_outbox_bytes", "max_outbox_packets", "max_inbound_bytes"):
            _count(name, getattr(self, name), 1)
        _count("compression_threshold", self.compression_threshold, 0)
        object.__setattr__(self, "enabled", _transports(self.transports))
        _check_cookie(self.cookie)
        _check_origins(self.cors_allowed_origins)
        if self.allow_request is not None and not callable(self.allow_request):
            raise ConfigError(f"allow_request must be callable or None, not {self.allow_request!r}")

    @property
    def upgrades(self) -> tuple[str, ...]:
        """What a polling client is offered in its handshake (spec 3.3.2)."""
        return ("websocket",) if self.allow_upgrades and "websocket" in self.enabled else ()


def _seconds(name: str, value: object) -> None:
    # A millisecond is the unit of the wire; anything shorter would be announced as 0 and break every client.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value < 0.001:
        raise ConfigError(f"{name} must be a number of seconds of at least 0.001, not {value!r}")


def _count(name: str, value: object, minimum: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ConfigError(f"{name} must be an integer of at least {minimum}, not {value!r}")


def _transports(value: object) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ()
    unknown = [name for name in names if name not in TRANSPORTS]
    if not names or unknown:
        raise ConfigError(f"transports must name 'polling', 'websocket' or both, not {value!r}")
    return tuple(dict.fromkeys(names))


def _check_cookie(cookie: object) -> None:
    name = "io" if cookie is None else cookie.get("name", "io") if isinstance(cookie, Mapping) else cookie
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ConfigError(f"cookie must be None, a cookie's name or a dict with 'name' and attributes, not {cookie!r}")
    attributes = cookie if isinstance(cookie, Mapping) else {}
    bad = [key for key, value in attributes.items() if not callable(value) and set(f"{key}{value}") & set("\r\n;")]
    if bad:
        raise ConfigError(f"these cookie attributes have values that no cookie can carry: {bad!r}")


def _check_origins(origins: object) -> None:
    if origins is None or isinstance(origins, str):
        return
    if callable(origins):
        takes_request(origins)
    elif not isinstance(origins, (list, tuple, set, frozenset)) or not all(isinstance(o, str) for o in origins):
        raise ConfigError(
            f"cors_allowed_origins must be None, an origin, a list of origins, '*' or a callable, not {origins!r}"
        )


def takes_request(check: Callable[..., object]) -> bool:
    """True when an origin check has room for the request beside the origin; its signature is read, never guessed.

    Raises:
        ConfigError: it can be called with neither one nor two positional arguments.
    """
    try:
        signature = inspect.signature(check)
    except ValueError:  # a builtin without a signature, such as a bound method of a C type
        return False
    for arguments in (("origin", "request"), ("origin",)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) == 2
    raise ConfigError(f"cors_allowed_origins must take (origin) or (origin, request), but its signature is {signature}")
