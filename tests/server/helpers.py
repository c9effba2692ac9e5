"""An engine and an application small enough to see through, and raw clients for real and in-memory streams."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import trio
import trio.testing

from trioflask_sio.engine.transport import (
    BodyTooBig,
    HttpExchange,
    HttpResponse,
    MessageTooBig,
    PeerGone,
    TransportFailed,
    WebSocketTransport,
    WebSocketUpgrade,
)
from trioflask_sio.protocol.ws_frames import frame
from trioflask_sio.server.config import ServeConfig
from trioflask_sio.server.connection import serve_stream
from trioflask_sio.server.listener import Bound
from trioflask_sio.server.serve import StopSignal, serve_service
from trioflask_sio.server.service import AsgiApplication, Service
from trioflask_sio.server.site import Peer, Site
from trioflask_sio.server.streams import TrioStream

PATH = "/socket.io/"
BODY_LIMIT = 100_000
MESSAGE_LIMIT = 100_000

UPGRADE = (
    b"GET /socket.io/?transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n"
)


@dataclass
class FakeEngine:
    """Echoes bodies and messages, parks ``?park`` requests, refuses ``?refuse`` upgrades, writes down what it saw."""

    deflate: bool = False
    http: Callable[[HttpExchange], Awaitable[None]] | None = None
    websocket: Callable[[WebSocketTransport], Awaitable[None]] | None = None
    seen: list[str] = field(default_factory=list)
    transports: dict[WebSocketTransport, None] = field(default_factory=dict)
    parked: int = 0
    shutdown_hook: Callable[[float], Awaitable[None]] | None = None

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    async def handle_http(self, exchange: HttpExchange) -> None:
        if self.http is not None:
            await self.http(exchange)
        elif exchange.request.query_string == "park":
            await self._park(exchange)
        else:
            try:
                body = await exchange.read_body(BODY_LIMIT)
            except BodyTooBig as error:
                self.seen.append(f"too big {error.limit}")
                await exchange.respond(HttpResponse(413))
                return
            await exchange.respond(HttpResponse(200, (("content-type", "text/plain"),), body))

    async def _park(self, exchange: HttpExchange) -> None:
        self.parked += 1
        try:
            await exchange.wait_gone()
            self.seen.append("poll gone")
        finally:
            self.parked -= 1

    async def handle_websocket(self, upgrade: WebSocketUpgrade) -> None:
        if upgrade.request.query_string == "refuse":
            await upgrade.reject(HttpResponse(400, (("content-type", "text/html"),), b"Session ID unknown"))
            return
        transport = await upgrade.accept(
            max_message=MESSAGE_LIMIT, headers=(("x-extra", "yes"),), deflate=self.deflate, deflate_threshold=64
        )
        self.transports[transport] = None
        try:
            await (self.websocket or self._echo)(transport)
        except MessageTooBig as error:
            self.seen.append(f"message too big {error.size}")
            await transport.close(1009)
        except PeerGone as error:
            self.seen.append(f"gone {error.code}")
        except TransportFailed:
            self.seen.append("failed")
        finally:
            self.transports.pop(transport, None)

    async def _echo(self, transport: WebSocketTransport) -> None:
        while True:
            for message in await transport.receive():
                await send(transport, message)

    async def shutdown(self, *, timeout: float) -> None:
        self.seen.append("shutdown")
        if self.shutdown_hook is not None:
            await self.shutdown_hook(timeout)
        async with trio.open_nursery() as nursery:
            for transport in list(self.transports):
                nursery.start_soon(transport.close, 1001)


async def send(transport: WebSocketTransport, message: str | bytes) -> None:
    """Send a message the way the engine does."""
    if not transport.framed:
        await transport.send_message(message)
        return
    data = frame(message)
    sent = transport.try_send(data) if transport.can_try_send else 0
    if sent < len(data):
        await transport.send_bytes(memoryview(data)[sent:])


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """The fallback application: greets, and names what it was asked for."""
    body = f"hello {scope['method']} {scope['path']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run, real sockets included, until ``condition`` holds; the test's own deadline ends it else."""
    while not condition():
        await trio.testing.wait_all_tasks_blocked(0.001)


def config(**options: Any) -> ServeConfig:
    """Options for a test: a free port, and the interpreter's switch interval left alone."""
    return ServeConfig(**{"port": 0, "switch_interval": None, **options})


@asynccontextmanager
async def running(
    engine: FakeEngine | None = None,
    fallback: AsgiApplication = hello,
    stop: StopSignal | None = None,
    **options: Any,
) -> AsyncIterator[list[Bound]]:
    """A real server on 127.0.0.1, its addresses, and its cancellation at the end."""
    service = Service(engine or FakeEngine(), PATH, fallback)

    async def serve(*, task_status: trio.TaskStatus[list[Bound]]) -> None:
        await serve_service(service, config(**options), stop=stop, task_status=task_status)

    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                yield await nursery.start(serve)
                _close_clients()
                nursery.cancel_scope.cancel()
    finally:
        _close_clients()


def _close_clients() -> None:
    """Nothing is awaited here: a cancellation must not take the place of a failed assertion."""
    while _connected.clients:
        _connected.clients.pop().stream.socket.close()


class _Connected(threading.local):
    """Clients made by ``connect``, closed at the end of ``running``: each thread's loop has its own."""

    def __init__(self) -> None:
        self.clients: list[Any] = []


_connected = _Connected()


class Client:
    """A raw client: bytes out, parsed replies in."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.CLIENT)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def response(self, method: str = "GET") -> tuple[h11.Response, bytes]:
        """The next final reply; 100 Continue is skipped."""
        h11_client = self._h11
        if h11_client.our_state is h11.IDLE:
            h11_client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
            h11_client.send(h11.EndOfMessage())
        head: h11.Response | None = None
        body = b""
        while True:
            event = h11_client.next_event()
            if event is h11.NEED_DATA:
                h11_client.receive_data(bytes(await self.stream.receive_some(65536)))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                if h11_client.our_state is h11.DONE and h11_client.their_state is h11.DONE:
                    h11_client.start_next_cycle()
                return head, body
            else:
                assert isinstance(event, h11.InformationalResponse), event

    async def ask(self, data: bytes, method: str = "GET") -> tuple[int, bytes]:
        """Send, and return status and body of the reply."""
        await self.send(data)
        head, body = await self.response(method)
        return head.status_code, body

    async def read_all(self) -> bytes:
        """Everything until the server closes."""
        data = b""
        while piece := await self.stream.receive_some(65536):
            data += piece
        return data

    async def upgrade(self, extra: bytes = b"", behind: bytes = b"") -> bytes:
        """Upgrade to a WebSocket; returns the reply's head."""
        await self.send(UPGRADE + extra + b"\r\n" + behind)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self.stream.receive_some(1)
        assert head.startswith(b"HTTP/1.1 101"), head
        return head

    async def frame(self) -> tuple[int, bytes]:
        """The next frame from the server: first byte and payload."""
        first, size = await self._exactly(2)
        if size == 126:
            size = int.from_bytes(await self._exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._exactly(8), "big")
        return first, await self._exactly(size)

    async def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = await self.stream.receive_some(size - len(data))
            assert piece, "the server closed in the middle of a frame"
            data += piece
        return data


async def connect(bound: Bound) -> Client:
    """A client connected to a running server."""
    if bound.path is not None:
        client = Client(await trio.open_unix_socket(bound.path))
    else:
        client = Client(await trio.open_tcp_stream(bound.host, bound.port))
    _connected.clients.append(client)
    return client


@asynccontextmanager
async def in_memory(
    engine: FakeEngine | None = None,
    fallback: AsgiApplication = hello,
    *,
    stall: Callable[[], Awaitable[None]] | None = None,
    initial: bytes = b"",
    **options: Any,
) -> AsyncIterator[tuple[Client, Site]]:
    """One connection over in-memory streams, for tests with a mock clock; ``stall`` runs before each of our sends."""
    site = Site(Service(engine or FakeEngine(), PATH, fallback), config(**options))
    ours, theirs = trio.testing.memory_stream_pair()
    deliver = theirs.send_stream.send_all_hook
    assert deliver is not None

    async def stall_and_deliver() -> None:
        if stall is not None:
            await stall()
        await deliver()

    theirs.send_stream.send_all_hook = stall_and_deliver

    def close_now() -> None:
        theirs.send_stream.close()
        theirs.receive_stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, site, TrioStream(theirs, close_now), Peer(("1.2.3.4", 5)), initial)
        yield Client(ours), site
        nursery.cancel_scope.cancel()


def masked(first: int, payload: bytes, key: bytes = b"\x01\x02\x03\x04", claim: int | None = None) -> bytes:
    """One client frame; ``claim`` is the length it says, where that is to be another than the true one."""
    size = len(payload) if claim is None else claim
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def text(message: str) -> bytes:
    """A masked text frame."""
    return masked(0x81, message.encode())
