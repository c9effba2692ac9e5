"""What a server serves: an engine under one path, and some ASGI application everywhere else.

Rules: this room knows the engine only by the few methods below and the application only as an ASGI callable, so either
can be replaced in a test by a handful of lines.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from trioflask_sio.engine.transport import HttpExchange, WebSocketUpgrade
from trioflask_sio.exceptions import ConfigError

__all__ = ["AsgiApplication", "EngineLike", "Receive", "Scope", "Send", "Service"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""ASGI's own types are open dictionaries; ``Any`` is theirs, not ours."""


class EngineLike(Protocol):
    """The part of the engine that a server uses."""

    async def run(self, *, task_status: Any) -> None:
        """Host every session; calls ``task_status.started()`` when ready. Cancelled, it ends them at once."""

    async def handle_http(self, exchange: HttpExchange) -> None:
        """Answer one polling request."""

    async def handle_websocket(self, upgrade: WebSocketUpgrade) -> None:
        """Answer one upgrade request and, where accepted, live in it until the session leaves it."""

    async def shutdown(self, *, timeout: float) -> None:
        """Refuse handshakes, close every session, wait until they are gone or ``timeout`` seconds are over."""


@dataclass(frozen=True, slots=True)
class Service:
    """An engine, its path, and the application that answers everything else.

    Args:
        engine: sessions.
        path: where the engine lives; begins and ends with a slash. The same path without the last slash is the
            fallback's (spec 6.1).
        fallback: an ASGI application for ``http`` scopes.

    Raises:
        ConfigError: the path does not begin or end with a slash.
    """

    engine: EngineLike
    path: str
    fallback: AsgiApplication

    def __post_init__(self) -> None:
        if not (self.path.startswith("/") and self.path.endswith("/")):
            raise ConfigError(f"path must begin and end with a slash, like '/socket.io/', not {self.path!r}")
