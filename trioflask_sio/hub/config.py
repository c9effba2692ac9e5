"""The hub's options in one frozen, validated record (spec 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trioflask_sio.exceptions import ConfigError
from trioflask_sio.protocol.jsonlib import DEFAULT_JSON
from trioflask_sio.protocol.limits import PENDING_EVENTS
from trioflask_sio.protocol.sio_codec import TextCodec

if TYPE_CHECKING:
    from trioflask_sio.protocol.jsonlib import JsonCodec
    from trioflask_sio.protocol.sio_codec import PacketCodec

__all__ = ["MAX_NAMESPACES", "HubConfig"]

MAX_NAMESPACES = 1_000
"""Namespaces one connection may be in, and how many it left are remembered. Only ``namespaces="*"`` lets a client
invent names; without a cap one connection could fill the memory with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """How the hub treats its clients. Times in seconds.

    Args:
        namespaces: names accepted although no handler is registered for them; ``"*"`` accepts every name; None means
            ``["/"]`` (spec 2.4.1).
        always_connect: answer CONNECT before the connect handler runs; a later refusal is a DISCONNECT (spec 1.5.5).
        strict_auth: refuse a CONNECT payload that is not an object (decision 6.4 #11).
        async_handlers: False runs the events of one client and namespace strictly one after another.
        max_attachments: attachments accepted in one packet (decision 6.4 #7).
        max_pending_events: events of one client and namespace that may wait; one more closes its connection.
        max_namespaces: namespaces that one connection may be in.
        disconnect_grace: how long the disconnect handler waits for the client's other handlers.
        overlap_after: how long a running handler holds up the next event of its client (design §3).
        cancel_on_disconnect: cancel the handlers of a client that left at the calls that wait (decision 6.4 #14).
        json: the codec of payloads; None means :mod:`trioflask_sio.protocol.jsonlib`.
        serializer: the codec of packets; None means the protocol's text form, with ``json`` in it.

    Raises:
        ConfigError: an impossible value; the message names option, value and what is allowed.
    """

    namespaces: str | Sequence[str] | None = None
    always_connect: bool = False
    strict_auth: bool = True
    async_handlers: bool = True
    max_attachments: int = 10
    max_pending_events: int = PENDING_EVENTS
    max_namespaces: int = MAX_NAMESPACES
    disconnect_grace: float = 5.0
    overlap_after: float = 0.05
    cancel_on_disconnect: bool = True
    json: JsonCodec | None = None
    serializer: PacketCodec | None = None

    def __post_init__(self) -> None:
        self._check_namespaces()
        for name in ("disconnect_grace", "overlap_after"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise ConfigError(f"{name} must be a number of seconds, 0 or more, not {value!r}")
        for name in ("max_attachments", "max_pending_events", "max_namespaces"):
            value = getattr(self, name)
            least = 0 if name == "max_attachments" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} must be an integer of at least {least}, not {value!r}")

    def _check_namespaces(self) -> None:
        names = self.namespaces
        if names is None or names == "*":
            return
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise ConfigError(
                f"namespaces must be a list of names, '*' or None, not {names!r}; one name is ['{names}']"
            )
        # A copy: the caller's list may change later, and membership is asked at every CONNECT.
        object.__setattr__(self, "namespaces", tuple(names))

    def codec(self) -> PacketCodec:
        """How packets are written and read."""
        return self.serializer or TextCodec(self.json or DEFAULT_JSON)

    def admits(self, namespace: str) -> bool:
        """Whether the option alone lets clients into ``namespace``, handlers or not (spec 2.4.1)."""
        names = self.namespaces
        if names is None:
            return namespace == "/"
        return names == "*" or namespace in names
