"""What the outside must offer to the engine: requests, one polling exchange, one WebSocket.

The engine knows no HTTP library. ``server`` implements these Protocols twice (trio-native, ASGI) and ``testing`` once
(in memory); all three pass the same contract suite.

Rules that every implementation keeps:

* Names of headers are lower case, values are latin-1 text, repeated headers are repeated pairs in wire order.
* ``PeerGone`` is the one way to hear that the client has left; a cancelled ``respond`` or ``send`` leaves a stream that
  can only be closed.
* ``wait_gone`` may be cancelled at any time and called again; it never consumes application data.
* ``receive`` may be cancelled between messages without loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = [
    "BodyTooBig",
    "HttpExchange",
    "HttpRequest",
    "HttpResponse",
    "MessageTooBig",
    "PeerGone",
    "TransportFailed",
    "WebSocketTransport",
    "WebSocketUpgrade",
]


class TransportFailed(Exception):
    """The transport cannot go on."""


class PeerGone(TransportFailed):
    """The client closed the connection, or it broke.

    Args:
        code: the WebSocket close code where there was one.
    """

    def __init__(self, message: str = "the client has gone", code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class MessageTooBig(TransportFailed):
    """An incoming WebSocket message is over the limit; ``size`` in bytes as far as known, ``limit`` in bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"message of {size} bytes is over the limit of {limit} bytes")
        self.size = size
        self.limit = limit


class BodyTooBig(TransportFailed):
    """A request body is over the limit; reading stopped there."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"request body of at least {size} bytes is over the limit of {limit} bytes")
        self.size = size
        self.limit = limit


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request head, as both servers see it."""

    method: str
    path: str
    """Percent-decoded path (UTF-8, errors replaced), without the query."""
    query_string: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    scheme: str = "http"
    """``http`` or ``https``, also for WebSocket requests."""
    http_version: str = "1.1"
    client: tuple[str, int] | None = None
    server: tuple[str, int | None] | None = None
    root_path: str = ""
    raw_path: bytes = b""
    raw_head: bytes = field(default=b"", repr=False)
    """The bytes of the request head where the server kept them, for handing a connection over."""

    def header(self, name: str) -> str | None:
        """The first value of header ``name`` (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One whole reply. Content-Length is added by the server."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class HttpExchange(Protocol):
    """One polling request and its one reply."""

    @property
    def request(self) -> HttpRequest: ...

    async def read_body(self, limit: int) -> bytes:
        """The whole request body.

        Args:
            limit: bytes; counted on what really arrives, not on Content-Length alone.

        Raises:
            BodyTooBig: the body is over ``limit``.
            PeerGone: the client left in the middle.
        """

    async def wait_gone(self) -> None:
        """Return when the client has left (and not before)."""

    async def respond(self, response: HttpResponse) -> None:
        """Send the reply, exactly once.

        Raises:
            PeerGone: it could not be delivered.
        """


class WebSocketTransport(Protocol):
    """One open WebSocket, server side.

    ``framed`` tells which pair of methods carries messages out: with True the engine hands whole, ready WebSocket
    frames to ``try_send`` (where ``can_try_send``) and ``send_bytes``; with False it hands messages to
    ``send_message``.
    """

    @property
    def framed(self) -> bool: ...

    @property
    def can_try_send(self) -> bool: ...

    async def receive(self) -> Sequence[str | bytes]:
        """The next messages, at least one, in order. Control frames are answered inside.

        Raises:
            PeerGone: closed by the client or broken.
            MessageTooBig: over the limit given to ``accept``; the transport has not been closed yet.
            TransportFailed: the client broke the WebSocket protocol.
        """

    def try_send(self, data: bytes | memoryview) -> int:
        """Send now what the kernel takes, never wait. Returns the count of bytes taken (0 when it would block).

        Raises:
            PeerGone: the socket is broken.
        """

    async def send_bytes(self, data: bytes | memoryview) -> None:
        """Send frames, waiting as long as it takes. Cancelled in the middle, the stream is only good for closing."""

    async def send_message(self, message: str | bytes) -> None:
        """Frame and send one message."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye with a close frame and close. Idempotent, never raises, bounded by its own deadline."""

    async def wait_gone(self) -> None:
        """Return when the peer has closed or broken the connection, even while unread data waits."""

    def abort(self) -> None:
        """Close at once without a close frame. Idempotent, callable from the loop's thread without awaiting."""


class WebSocketUpgrade(Protocol):
    """A request that asks to become a WebSocket and has not been answered."""

    @property
    def request(self) -> HttpRequest: ...

    async def accept(
        self,
        *,
        max_message: int,
        headers: Sequence[tuple[str, str]] = (),
        deflate: bool = False,
        deflate_threshold: int = 1024,
    ) -> WebSocketTransport:
        """Answer 101 and return the open WebSocket.

        Args:
            max_message: bytes; a longer incoming message raises ``MessageTooBig`` from ``receive``.
            headers: extra reply headers.
            deflate: offer permessage-deflate where the client asked for it.
            deflate_threshold: smallest message in bytes that is compressed.

        Raises:
            PeerGone: the client left before it was answered.
        """

    async def reject(self, response: HttpResponse) -> None:
        """Refuse with an HTTP reply instead. Never raises when the client has gone."""
