"""The service as an ASGI application: against a scripted server on both loops, then on Hypercorn and uvicorn."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import hypercorn.config
import hypercorn.trio
import pytest
import trio
import uvicorn
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as websockets_connect

from tests.server.helpers import BODY_LIMIT, MESSAGE_LIMIT, PATH, Client, FakeEngine, hello, until
from trioflask_sio.engine.transport import (
    HttpExchange,
    HttpResponse,
    PeerGone,
    WebSocketTransport,
    WebSocketUpgrade,
)
from trioflask_sio.server.asgi import asgi_app, request_of
from trioflask_sio.server.service import Service

Message = dict[str, Any]


class Server:
    """A scripted ASGI server: what it will say, what it was told; ``receive`` blocks when the script is over."""

    def __init__(self, *script: Message | Exception) -> None:
        self.script = deque(script)
        self.told: list[Message] = []
        self.refuse_sends: Exception | None = None
        self.blocked = anyio.Event()

    async def receive(self) -> Message:
        await anyio.lowlevel.checkpoint()
        if not self.script:
            self.blocked.set()
            await anyio.sleep_forever()
        item = self.script.popleft()
        if isinstance(item, Exception):
            raise item
        return item

    async def send(self, message: Any) -> None:
        await anyio.lowlevel.checkpoint()
        if self.refuse_sends is not None:
            raise self.refuse_sends
        self.told.append(dict(message))


def body(data: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


GONE: Message = {"type": "http.disconnect"}
CONNECT: Message = {"type": "websocket.connect"}
CLOSED: Message = {"type": "websocket.disconnect", "code": 1001}


def said(data: str | bytes) -> Message:
    return {"type": "websocket.receive", "text" if isinstance(data, str) else "bytes": data}


def scope(kind: str = "http", path: str = PATH, **more: Any) -> Message:
    return {"type": kind, "path": path, "method": "POST", "query_string": b"", "headers": [], **more}


def play(
    engine: FakeEngine, where: Message, *script: Message | Exception, backend: str, setup: Any = None
) -> list[Message]:
    """Run one scope to its end; returns what the application said."""

    async def main() -> list[Message]:
        server = Server(*script)
        if setup is not None:
            setup(server)
        with anyio.fail_after(5):
            await asgi_app(Service(engine, PATH, hello), where, server.receive, server.send)
        return server.told

    return anyio.run(main, backend=backend)


@pytest.fixture(params=["trio", "asyncio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_engine_answers_under_its_path_and_the_application_elsewhere(backend: str) -> None:
    start, end = play(FakeEngine(), scope(), body(b"ab", True), body(b"c"), backend=backend)
    assert (start["status"], dict(start["headers"])[b"content-length"]) == (200, b"3")
    assert end["body"] == b"abc"
    _, end = play(FakeEngine(), scope(path="/socket.io"), backend=backend)
    assert end["body"] == b"hello POST /socket.io"
    mounted = scope(path="/sub/socket.io/", root_path="/sub")
    assert play(FakeEngine(), mounted, body(b"x"), backend=backend)[1]["body"] == b"x"
    with pytest.raises(ValueError, match="lifespan"):
        play(FakeEngine(), {"type": "lifespan"}, backend=backend)


def test_a_scope_as_the_engines_request() -> None:
    request = request_of(
        scope(
            "websocket",
            "/sub/socket.io/é",
            root_path="/sub",
            scheme="wss",
            query_string=b"a=%41",
            headers=[(b"X-One", b"\xe9"), (b"x-one", b"2")],
            client=["1.2.3.4", 5],
            server=("h", None),
            http_version="2",
            raw_path=b"/raw",
        )
    )
    assert (request.path, request.root_path, request.scheme) == ("/socket.io/é", "/sub", "https")
    assert request.headers == (("x-one", "é"), ("x-one", "2"))
    assert (request.client, request.server, request.query_string) == (("1.2.3.4", 5), ("h", None), "a=%41")
    assert (request.raw_path, request.http_version) == (b"/raw", "2")


def test_a_body_is_counted_by_its_real_bytes(backend: str) -> None:
    lie = scope(headers=[(b"content-length", b"1")])
    half = body(bytes(BODY_LIMIT // 2 + 1), True)
    start, _ = play(FakeEngine(), lie, half, half, half, backend=backend)
    assert start["status"] == 413


def test_a_client_that_leaves(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    assert play(FakeEngine(), scope(), body(b"a", True), GONE, backend=backend) == []
    engine = FakeEngine()
    assert play(engine, scope(query_string=b"park"), body(b""), GONE, backend=backend) == []
    assert engine.seen == ["poll gone"]
    for error in (OSError("gone"), RuntimeError("after close"), anyio.BrokenResourceError()):
        assert play(FakeEngine(), scope(), body(b"a"), backend=backend, setup=_refusing(error)) == []
    assert not [record for record in caplog.records if record.exc_info]


def _refusing(error: Exception) -> Callable[[Server], None]:
    def setup(server: Server) -> None:
        server.refuse_sends = error

    return setup


def test_waiting_for_the_end_loses_no_body(backend: str) -> None:
    async def handle(exchange: HttpExchange) -> None:
        with anyio.move_on_after(0.05):
            await exchange.wait_gone()
            raise AssertionError("the client is still there")
        data = await exchange.read_body(100)
        await exchange.respond(HttpResponse(200, body=data))

    _, end = play(FakeEngine(http=handle), scope(), body(b"kept ", True), body(b"whole"), backend=backend)
    assert end["body"] == b"kept whole"


def test_an_engine_that_fails_costs_one_reply(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(exchange: Any) -> None:
        raise ZeroDivisionError

    assert play(FakeEngine(http=fail), scope(), backend=backend)[0]["status"] == 500
    told = play(FakeEngine(websocket=fail), scope("websocket"), CONNECT, backend=backend)
    assert told[-1] == {"type": "websocket.close", "code": 1011, "reason": ""}
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_websocket_echo_and_the_clients_close(backend: str) -> None:
    engine = FakeEngine()
    script = (CONNECT, said("text"), said(b"bytes"), said(b""), CLOSED)
    accept, *echoes = play(engine, scope("websocket"), *script, backend=backend)
    assert accept == {"type": "websocket.accept", "headers": [(b"x-extra", b"yes")]}
    assert [echo.get("text", echo.get("bytes")) for echo in echoes] == ["text", b"bytes", b""]
    assert engine.seen == ["gone 1001"]


def test_a_message_over_the_limit_closes_1009(backend: str) -> None:
    engine = FakeEngine()
    told = play(engine, scope("websocket"), CONNECT, said("é" * (MESSAGE_LIMIT // 2 + 1)), backend=backend)
    assert told[-1]["code"] == 1009
    assert engine.seen == [f"message too big {MESSAGE_LIMIT + 2}"]


def test_refusals(backend: str) -> None:
    refuse: Message = {"query_string": b"refuse"}
    told = play(FakeEngine(), scope("websocket", **refuse), CONNECT, backend=backend)
    assert told == [{"type": "websocket.close", "code": 1000, "reason": ""}]
    able: Message = {"extensions": {"websocket.http.response": {}}, **refuse}
    start, end = play(FakeEngine(), scope("websocket", **able), CONNECT, backend=backend)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 400)
    assert (end["type"], end["body"]) == ("websocket.http.response.body", b"Session ID unknown")
    start, _ = play(FakeEngine(), scope("websocket", "/other", **able), CONNECT, backend=backend)
    assert start["status"] == 404
    assert play(FakeEngine(), scope("websocket", **refuse), CLOSED, backend=backend) == []


def test_a_send_after_the_end_is_peer_gone(backend: str) -> None:
    async def late(transport: WebSocketTransport) -> None:
        with pytest.raises(PeerGone):
            await transport.receive()
        with pytest.raises(PeerGone):
            await transport.send_message("late")
        with pytest.raises(RuntimeError):
            await transport.send_bytes(b"frame")
        assert transport.try_send(b"frame") == 0
        await transport.close()
        engine.seen.append("done")

    engine = FakeEngine(websocket=late)
    assert len(play(engine, scope("websocket"), CONNECT, CLOSED, backend=backend)) == 1
    assert engine.seen == ["done"]


def test_waiting_for_the_end_loses_no_message(backend: str) -> None:
    async def wait(transport: WebSocketTransport) -> None:
        await transport.wait_gone()
        engine.seen.extend(str(message) for message in await transport.receive())
        await transport.receive()

    engine = FakeEngine(websocket=wait)
    play(engine, scope("websocket"), CONNECT, said("a"), said("b"), CLOSED, backend=backend)
    assert engine.seen == ["a", "b", "gone 1001"]


def test_abort_wakes_the_reader(backend: str) -> None:
    async def both(transport: WebSocketTransport) -> None:
        async with anyio.create_task_group() as group:

            async def read() -> None:
                with pytest.raises(PeerGone):
                    await transport.receive()

            group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            transport.abort()

    assert len(play(FakeEngine(websocket=both), scope("websocket"), CONNECT, backend=backend)) == 1


def test_a_cancelled_connection_still_says_farewell(backend: str) -> None:
    """Design §8.14: servers cancel connections before the lifespan ends."""

    async def main() -> list[Message]:
        server = Server(CONNECT)
        service = Service(FakeEngine(), PATH, hello)
        async with anyio.create_task_group() as group:
            group.start_soon(asgi_app, service, scope("websocket"), server.receive, server.send)
            await server.blocked.wait()
            group.cancel_scope.cancel()
        return server.told

    assert anyio.run(main, backend=backend)[-1] == {"type": "websocket.close", "code": 1001, "reason": ""}


def test_an_upgrade_is_answered_once(backend: str) -> None:
    class Twice(FakeEngine):
        async def handle_websocket(self, upgrade: WebSocketUpgrade) -> None:
            await upgrade.accept(max_message=1)
            with pytest.raises(RuntimeError):
                await upgrade.accept(max_message=1)
            self.seen.append("refused")

    engine = Twice()
    play(engine, scope("websocket"), CONNECT, backend=backend)
    assert engine.seen == ["refused"]


# -- real servers ------------------------------------------------------------------------------------------------------


def converse(port: int) -> None:
    """One client's story, the same for every server. Blocking: runs in a thread."""
    url = f"ws://127.0.0.1:{port}{PATH}"
    with websockets_connect(url) as client:
        for message in ("text", b"bytes", "x" * 50_000):
            client.send(message)
            assert client.recv(timeout=5) == message
        client.send(b"x" * (MESSAGE_LIMIT + 1))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with pytest.raises(InvalidStatus) as refused, websockets_connect(url + "?refuse"):
        pass
    assert refused.value.response.status_code in (400, 403)


async def ask(port: int) -> None:
    """Plain HTTP requests to the same server, from a trio loop."""
    post = b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    client = Client(await trio.open_tcp_stream("127.0.0.1", port))
    async with client.stream:
        assert await client.ask(post % 3 + b"abc", "POST") == (200, b"abc")
        assert await client.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b"hello GET /x")
        await client.send(b"GET /socket.io/?park HTTP/1.1\r\nHost: a\r\n\r\n")
        await trio.sleep(0.05)


async def entry(service: Service, scope: Any, receive: Any, send: Any) -> None:
    """What the bridge does, without its lifespan."""
    if scope["type"] == "lifespan":
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})
    else:
        await asgi_app(service, scope, receive, send)


def check(engine: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    assert "poll gone" in engine.seen
    assert f"message too big {MESSAGE_LIMIT + 1}" in engine.seen
    assert not [record for record in caplog.records if record.exc_info and record.name.startswith("trioflask_sio")]


@pytest.mark.trio
async def test_on_hypercorns_trio_worker(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    app: Any = partial(entry, Service(engine, PATH, hello))
    stop = trio.Event()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            serve = partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait)
            [address] = await nursery.start(serve)
            port = int(address.rsplit(":", 1)[1])
            await ask(port)
            await trio.to_thread.run_sync(converse, port)
            await until(lambda: "poll gone" in engine.seen)
            stop.set()
    check(engine, caplog)


@contextmanager
def uvicorn_running(app: Callable[..., Awaitable[None]]) -> Iterator[int]:
    """uvicorn on asyncio in a thread of its own."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, ws="wsproto", lifespan="on", interface="asgi3"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def test_on_uvicorn(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    engine = FakeEngine()
    with uvicorn_running(partial(entry, Service(engine, PATH, hello))) as port:
        trio.run(ask, port)
        converse(port)
    check(engine, caplog)
