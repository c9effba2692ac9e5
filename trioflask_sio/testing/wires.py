"""Connections without a network: the engine's transports in memory, with a client's end and faults to switch on.

``MemoryExchange`` is one polling request, ``MemoryUpgrade`` one WebSocket request; ``EngineClient`` makes them as a
client would and runs the engine's handlers in the test's own nursery. Rules:

* Works on both AnyIO backends, waits on events only, never sleeps: under a mock clock everything is exact.
* Faults are attributes and methods of the client's end: ``stall``, ``half_open``, ``cut``, ``try_limit``,
  ``break_protocol``, ``leave``, ``hold_body``, ``hold_reply``, ``break_reply``.
* The framed side speaks real WebSocket frames, so what a test reads went through the bytes a browser would get.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from trioflask_sio.engine.transport import (
    BodyTooBig,
    HttpRequest,
    HttpResponse,
    MessageTooBig,
    PeerGone,
    TransportFailed,
    WebSocketTransport,
)
from trioflask_sio.testing.frames import FrameReader

if TYPE_CHECKING:
    from trioflask_sio.engine.engine import Engine

__all__ = [
    "EngineClient",
    "MemoryExchange",
    "MemorySocket",
    "MemoryUpgrade",
    "SocketClient",
    "SocketClosed",
    "make_request",
]


class SocketClosed(Exception):
    """The server has closed this WebSocket; ``code`` is None when it did so without a close frame."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(f"closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class _Bell:
    """Wakes everybody who waits for anything about one connection; waiters look again for themselves."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def ring(self) -> None:
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait_until(self, ready: Callable[[], bool]) -> None:
        await anyio.lowlevel.checkpoint()
        while not ready():
            if self._event is None:
                self._event = anyio.Event()
            await self._event.wait()


def make_request(
    method: str = "GET",
    query: dict[str, str] | str = "",
    headers: Sequence[tuple[str, str]] = (),
    *,
    path: str = "/engine.io/",
    scheme: str = "http",
) -> HttpRequest:
    """A request head as a server would pass it on; a Host header is there unless ``headers`` holds one."""
    query_string = query if isinstance(query, str) else urlencode(query)
    if not any(name == "host" for name, _ in headers):
        headers = (("host", "test.example"), *headers)
    return HttpRequest(
        method, path, query_string, tuple(headers), scheme, client=("192.0.2.1", 40_000), server=("test.example", 80)
    )


# --- HTTP ---------------------------------------------------------------------------------------------------------


class MemoryExchange:
    """One request and its reply; implements ``HttpExchange``.

    Args:
        request: the head.
        body: what the client sends.

    Attributes:
        hold_body: the body does not arrive while this is True.
        hold_reply: the reply is not taken while this is True.
        break_reply: writing the reply fails with PeerGone.
        response: the reply, once it is written.
    """

    def __init__(self, request: HttpRequest, body: bytes = b"") -> None:
        self.request = request
        self.body = body
        self.hold_body = False
        self.hold_reply = False
        self.break_reply = False
        self.gone = False
        self.response: HttpResponse | None = None
        self.finished = False
        """The engine has returned from this exchange."""
        self._bell = _Bell()

    async def read_body(self, limit: int) -> bytes:
        """See ``HttpExchange``."""
        await self._bell.wait_until(lambda: self.gone or not self.hold_body)
        if self.gone:
            raise PeerGone
        if len(self.body) > limit:
            raise BodyTooBig(len(self.body), limit)
        return self.body

    async def wait_gone(self) -> None:
        """See ``HttpExchange``."""
        await self._bell.wait_until(lambda: self.gone)

    async def respond(self, response: HttpResponse) -> None:
        """See ``HttpExchange``."""
        if self.response is not None:
            raise RuntimeError("an exchange was answered twice")
        await self._bell.wait_until(lambda: self.gone or self.break_reply or not self.hold_reply)
        if self.gone or self.break_reply:
            raise PeerGone
        self.response = response
        self._bell.ring()

    # The client's end.

    def leave(self) -> None:
        """The client closes the connection."""
        self.gone = True
        self._bell.ring()

    def resume(self) -> None:
        """End ``hold_body`` and ``hold_reply``."""
        self.hold_body = self.hold_reply = False
        self._bell.ring()

    def finish(self) -> None:
        """Called by whoever runs the engine's side, when it has returned."""
        self.finished = True
        self._bell.ring()

    async def wait_response(self) -> HttpResponse:
        """The reply, when it is there.

        Raises:
            PeerGone: the engine ended the exchange without one.
        """
        await self._bell.wait_until(lambda: self.response is not None or self.finished)
        if self.response is None:
            raise PeerGone
        return self.response


# --- WebSocket ----------------------------------------------------------------------------------------------------


class MemorySocket:
    """The server's end of one WebSocket; implements ``WebSocketTransport``.

    Args:
        client: the other end, which also holds the faults.
        max_message: bytes; longer messages raise MessageTooBig.
    """

    def __init__(self, client: SocketClient, max_message: int) -> None:
        self._client = client
        self._max_message = max_message
        self._open = True

    @property
    def framed(self) -> bool:
        """See ``WebSocketTransport``."""
        return self._client.framed

    @property
    def can_try_send(self) -> bool:
        """See ``WebSocketTransport``."""
        return self._client.framed and self._client.can_try_send

    async def receive(self) -> Sequence[str | bytes]:
        """See ``WebSocketTransport``."""
        client = self._client
        await client.bell.wait_until(lambda: bool(client.sent) or client.gone or client.breaks_protocol)
        if client.breaks_protocol and not client.sent:
            raise TransportFailed("a reserved bit is set")
        if not client.sent:
            raise PeerGone(code=client.left_with)
        messages = list(client.sent)
        client.sent.clear()
        for message in messages:
            size = len(message.encode()) if isinstance(message, str) else len(message)
            if size > self._max_message:
                raise MessageTooBig(size, self._max_message)
        return messages

    def try_send(self, data: bytes | memoryview) -> int:
        """See ``WebSocketTransport``."""
        self._check()
        client = self._client
        room = min(client.room(), client.try_limit)
        client.take_bytes(data[:room])
        return min(room, len(data))

    async def send_bytes(self, data: bytes | memoryview) -> None:
        """See ``WebSocketTransport``."""
        rest = memoryview(data)
        client = self._client
        while rest:
            await client.bell.wait_until(lambda: client.gone or client.room() > 0)
            self._check()
            room = client.room()
            client.take_bytes(rest[:room])
            rest = rest[room:]

    async def send_message(self, message: str | bytes) -> None:
        """See ``WebSocketTransport``."""
        client = self._client
        await client.bell.wait_until(lambda: client.gone or client.room() > 0)
        self._check()
        client.take_message(message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """See ``WebSocketTransport``."""
        await self._client.bell.wait_until(lambda: not self._client.hold_close)
        if self._open:
            self._open = False
            self._client.server_closed(code, reason)

    async def wait_gone(self) -> None:
        """See ``WebSocketTransport``."""
        await self._client.bell.wait_until(lambda: self._client.gone)

    def abort(self) -> None:
        """See ``WebSocketTransport``."""
        if self._open:
            self._open = False
            self._client.server_closed(None, "")

    def _check(self) -> None:
        if self._client.gone or not self._open:
            raise PeerGone


class SocketClient:
    """The client's end of one WebSocket.

    Args:
        framed: the server writes frames (as the trio-native server does) or messages (as ASGI does).
        can_try_send: the server may write without waiting.
        capacity: bytes that fit between the ends while the client does not read.

    Attributes:
        try_limit: bytes that one ``try_send`` takes at most.
        hold_close: the server's ``close`` does not come to its end while this is True.
        on_accept: called when the server has accepted, before it goes on.
        closed: code and reason once the server has closed; code None after an abort.
    """

    def __init__(self, *, framed: bool = True, can_try_send: bool = True, capacity: int = 65_536) -> None:
        self.framed = framed
        self.can_try_send = can_try_send
        self.capacity = capacity
        self.try_limit = 1 << 40
        self.bell = _Bell()
        self.sent: deque[str | bytes] = deque()
        """On the way to the server."""
        self.gone = False
        self.breaks_protocol = False
        self.left_with: int | None = None
        self.closed: tuple[int | None, str] | None = None
        self.refused: HttpResponse | None = None
        self.accepted = False
        self.accept_headers: tuple[tuple[str, str], ...] = ()
        self.finished = False
        self.hold_close = False
        self.on_accept: Callable[[], object] = bool
        self._stalled = False
        self._deaf = False
        self._waiting: deque[bytes | str] = deque()
        self._waiting_size = 0
        self._reader = FrameReader()
        self._inbox: deque[str | bytes] = deque()

    # What a client does.

    def send(self, *messages: str | bytes) -> None:
        """Send messages; several given at once arrive as one batch."""
        if not self._deaf:
            self.sent.extend(messages)
            self.bell.ring()

    async def receive(self) -> str | bytes:
        """The next message of the server.

        Raises:
            SocketClosed: there is none and the server has closed.
        """
        await self.bell.wait_until(lambda: bool(self._inbox) or self.closed is not None)
        if not self._inbox and self.closed is not None:
            raise SocketClosed(*self.closed)
        return self._inbox.popleft()

    async def wait_open(self) -> HttpResponse | None:
        """None when the WebSocket was accepted, else the refusal."""
        await self.bell.wait_until(lambda: self.accepted or self.refused is not None or self.finished)
        return self.refused

    async def wait_closed(self) -> tuple[int | None, str]:
        """Code and reason of the server's close."""
        await self.bell.wait_until(lambda: self.closed is not None)
        return self.closed or (None, "")

    async def wait_finished(self) -> None:
        """Return when the engine has returned from this WebSocket."""
        await self.bell.wait_until(lambda: self.finished)

    def received(self) -> list[str | bytes]:
        """Everything that has arrived and was not looked at."""
        messages = list(self._inbox)
        self._inbox.clear()
        return messages

    def close(self, code: int = 1000) -> None:
        """Close orderly: what was sent before still arrives."""
        self.gone = True
        self.left_with = code
        self.bell.ring()

    # Faults.

    def cut(self) -> None:
        """The connection breaks: what is on its way is lost."""
        self.sent.clear()
        self.gone = True
        self.left_with = 1006
        self.bell.ring()

    def break_protocol(self) -> None:
        """Send what no WebSocket may send."""
        self.breaks_protocol = True
        self.bell.ring()

    def stall(self) -> None:
        """Stop reading; ``capacity`` bytes still fit."""
        self._stalled = True

    def half_open(self) -> None:
        """The network swallows everything and says nothing."""
        self._stalled = self._deaf = True

    def resume(self) -> None:
        """Read again, beginning with what has piled up."""
        self._stalled = self._deaf = False
        while self._waiting:
            data = self._waiting.popleft()
            self._inbox.extend([data] if isinstance(data, str) or not self.framed else self._reader.feed(data))
        self._waiting_size = 0
        self.bell.ring()

    @property
    def held_up(self) -> int:
        """Bytes written by the server and not read."""
        return self._waiting_size

    # The server's side of it.

    def room(self) -> int:
        """Bytes the server may write now."""
        return max(0, self.capacity - self._waiting_size)

    def take_bytes(self, data: bytes | memoryview) -> None:
        """Frames, or parts of them, that the server has written."""
        if self._stalled:
            self._waiting.append(bytes(data))
            self._waiting_size += len(data)
        else:
            self._inbox.extend(self._reader.feed(data))
            self.bell.ring()

    def take_message(self, message: str | bytes) -> None:
        """A message that the server has written."""
        if self._stalled:
            self._waiting.append(message)
            self._waiting_size += len(message)
        else:
            self._inbox.append(message)
            self.bell.ring()

    def server_closed(self, code: int | None, reason: str) -> None:
        """The server has closed or aborted."""
        self.closed = (code, reason)
        self.bell.ring()


class MemoryUpgrade:
    """One request for a WebSocket; implements ``WebSocketUpgrade``.

    Args:
        request: the head.
        client: the client's end.
    """

    def __init__(self, request: HttpRequest, client: SocketClient) -> None:
        self.request = request
        self.client = client
        self.transport: MemorySocket | None = None

    async def accept(
        self,
        *,
        max_message: int,
        headers: Sequence[tuple[str, str]] = (),
        deflate: bool = False,
        deflate_threshold: int = 1024,
    ) -> WebSocketTransport:
        """See ``WebSocketUpgrade``. Nothing is compressed in memory."""
        await anyio.lowlevel.checkpoint()
        if self.client.gone:
            raise PeerGone
        self.transport = MemorySocket(self.client, max_message)
        self.client.accept_headers = tuple(headers)
        self.client.accepted = True
        self.client.bell.ring()
        self.client.on_accept()
        return self.transport

    async def reject(self, response: HttpResponse) -> None:
        """See ``WebSocketUpgrade``."""
        await anyio.lowlevel.checkpoint()
        self.client.refused = response
        self.client.bell.ring()


# --- both ---------------------------------------------------------------------------------------------------------


class EngineClient:
    """Makes requests to an engine as clients do; the engine's side runs in the given nursery.

    Args:
        engine: whose handlers are called.
        nursery: the test's; a handler that raises fails the test there.
    """

    def __init__(self, engine: Engine, nursery: TaskGroup) -> None:
        self._engine = engine
        self._nursery = nursery

    def start(
        self,
        method: str = "GET",
        query: dict[str, str] | str = "",
        body: bytes | str = b"",
        headers: Sequence[tuple[str, str]] = (),
        *,
        prepare: Callable[[MemoryExchange], object] | None = None,
    ) -> MemoryExchange:
        """Begin a request and come back at once; ``prepare`` may set faults before the engine sees it."""
        data = body.encode() if isinstance(body, str) else body
        exchange = MemoryExchange(make_request(method, query, headers), data)
        if prepare is not None:
            prepare(exchange)
        self._nursery.start_soon(self._run, self._engine.handle_http, exchange, exchange.finish)
        return exchange

    async def http(
        self,
        method: str = "GET",
        query: dict[str, str] | str = "",
        body: bytes | str = b"",
        headers: Sequence[tuple[str, str]] = (),
    ) -> HttpResponse:
        """Make a request and wait for the reply."""
        return await self.start(method, query, body, headers).wait_response()

    def socket(
        self,
        query: dict[str, str] | str,
        headers: Sequence[tuple[str, str]] = (),
        *,
        client: SocketClient | None = None,
    ) -> SocketClient:
        """Ask for a WebSocket and come back at once."""
        client = client or SocketClient()
        upgrade = MemoryUpgrade(make_request("GET", query, headers), client)

        def finish() -> None:
            client.finished = True
            client.bell.ring()

        self._nursery.start_soon(self._run, self._engine.handle_websocket, upgrade, finish)
        return client

    async def _run(self, handle: Callable[..., Awaitable[None]], request: object, finish: Callable[[], None]) -> None:
        try:
            await handle(request)
        finally:
            finish()
