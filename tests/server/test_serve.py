"""Listening, stopping, TLS, Unix sockets, limits, and that nothing is left behind."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from tests.server.helpers import PATH, Client, FakeEngine, config, connect, hello, masked, running, text, until
from trioflask_sio.engine.transport import HttpExchange, HttpResponse
from trioflask_sio.exceptions import ConfigError
from trioflask_sio.server.listener import AddressInUse, Bound, Listener, ListenError, open_listeners
from trioflask_sio.server.serve import StopSignal, serve_service
from trioflask_sio.server.service import Service

pytestmark = pytest.mark.trio

GET = b"GET /socket.io/ HTTP/1.1\r\nHost: a\r\n\r\n"
PARK = b"GET /socket.io/?park HTTP/1.1\r\nHost: a\r\n\r\n"


# -- addresses ---------------------------------------------------------------------------------------------------------


async def test_every_address_of_a_name_gets_the_same_port() -> None:
    async with running(host="localhost") as addresses:
        assert len({bound.port for bound in addresses}) == 1
        for bound in addresses:
            assert (await (await connect(bound)).ask(GET))[0] == 200


async def test_addresses_as_urls() -> None:
    assert str(Bound("::1", 8)) == "http://[::1]:8"
    assert str(Bound("h", 8, tls=True)) == "https://h:8"
    assert str(Bound("", 0, path="/x")) == "unix:/x"
    async with running() as [bound]:
        assert str(bound) == f"http://127.0.0.1:{bound.port}"


async def test_a_port_in_use_is_one_sentence() -> None:
    async with running() as [bound]:
        with pytest.raises(AddressInUse) as caught:
            await serve_service(Service(FakeEngine(), PATH, hello), config(port=bound.port))
    said = str(caught.value)
    assert said.startswith(f"port {bound.port} on 127.0.0.1 is already in use: ")
    assert "choose another port" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("options", "part"),
    [({"host": "192.0.2.1"}, "not an address of this machine"), ({"host": "no such name"}, "the name is unknown")],
)
async def test_addresses_that_cannot_be_had(options: dict[str, Any], part: str) -> None:
    with pytest.raises(ListenError, match=part):
        await open_listeners(config(**options))


@pytest.mark.parametrize("host", [None, ""])
async def test_every_interface(host: str | None) -> None:
    async with running(host=host) as addresses:
        assert len({bound.port for bound in addresses}) == 1
        [bound] = [bound for bound in addresses if bound.host == "0.0.0.0"]
        stream = await trio.open_tcp_stream("127.0.0.1", bound.port)
        assert (await Client(stream).ask(GET))[0] == 200
        await stream.aclose()


def exists(path: str) -> bool:
    return os.path.exists(path)


def replace_by_file(path: str) -> None:
    os.unlink(path)
    Path(path).write_text("somebody's file")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s")


async def test_a_unix_socket(path: str) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"], scope["server"]))
        await hello(scope, receive, send)

    async with running(fallback=app, unix_socket=path) as [bound]:
        assert str(bound) == f"unix:{path}"
        client = await connect(bound)
        assert await client.ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b"hello GET /x")
        websocket = await connect(bound)
        await websocket.upgrade(behind=text("hi"))
        assert (await websocket.frame())[1] == b"hi"
        with pytest.raises(AddressInUse, match="another server listens there"):
            await open_listeners(config(unix_socket=path))
    assert seen == [(None, (path, None))]
    assert not exists(path)


async def test_a_stale_unix_socket_is_replaced_and_anything_else_is_not(path: str) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    async with running(unix_socket=path) as [bound]:
        assert (await (await connect(bound)).ask(GET))[0] == 200
        replace_by_file(path)
    assert exists(path)
    with pytest.raises(ListenError, match="is not a socket"):
        await open_listeners(config(unix_socket=path))
    with pytest.raises(ListenError, match="cannot listen on the Unix socket"):
        await open_listeners(config(unix_socket=path + "/below/a/file"))
    assert exists(path)


# -- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_files(authority: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    issued = authority.issue_cert("127.0.0.1")
    certfile, keyfile = tmp_path / "cert.pem", tmp_path / "key.pem"
    certfile.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    keyfile.write_bytes(issued.private_key_pem.bytes())
    return {"certfile": str(certfile), "keyfile": str(keyfile)}


async def tls_client(bound: Bound, authority: trustme.CA) -> Client:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    plain = await connect(bound)
    stream = trio.SSLStream(plain.stream, context, server_hostname="127.0.0.1", https_compatible=True)
    await stream.do_handshake()
    return Client(stream)


async def test_tls(authority: trustme.CA, tls_files: dict[str, Any]) -> None:
    engine = FakeEngine()
    async with running(engine, **tls_files) as [bound]:
        assert str(bound).startswith("https://")
        client = await tls_client(bound, authority)
        big = b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + bytes(90_000)
        assert await client.ask(big) == (200, bytes(90_000))
        await client.upgrade(behind=text("hi") + masked(0x89, b"p"))
        assert {await client.frame(), await client.frame()} == {(0x81, b"hi"), (0x8A, b"p")}
        await client.send(masked(0x88, b"\x03\xe8"))
        assert await client.frame() == (0x88, b"\x03\xe8")
        assert await client.read_all() == b""


@pytest.mark.parametrize("pipelined", [b"", GET, bytes(65_600)])
async def test_a_parked_request_over_tls_notices_its_client_leaving(
    authority: trustme.CA, tls_files: dict[str, Any], pipelined: bytes
) -> None:
    engine = FakeEngine()
    async with running(engine, **tls_files) as [bound]:
        client = await tls_client(bound, authority)
        await client.send(PARK + pipelined)
        await until(lambda: engine.parked == 1)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert engine.parked == 1
        await trio.aclose_forcefully(client.stream)
        await until(lambda: engine.parked == 0)
    assert engine.seen[0] == "poll gone"


async def test_a_failed_tls_handshake_is_one_line(
    tls_files: dict[str, Any], authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trioflask_sio")
    async with running(**tls_files) as [bound]:
        plain = await connect(bound)
        await plain.send(GET)
        await plain.read_all()
        distrustful = await connect(bound)
        stream = trio.SSLStream(distrustful.stream, ssl.create_default_context(), server_hostname="127.0.0.1")
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)
        await until(lambda: len(caplog.records) == 2)
        assert (await (await tls_client(bound, authority)).ask(GET))[0] == 200
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 2
    assert all("TLS handshake failed" in record.getMessage() for record in caplog.records)


async def test_a_client_that_never_shakes_hands(tls_files: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioflask_sio")
    async with running(tls_timeout=0.05, **tls_files) as [bound]:
        assert await (await connect(bound)).read_all() == b""
    assert "not done in 0.05 s" in caplog.text


async def test_tls_files_that_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be loaded from .*nothing\.pem"):
        await serve_service(Service(FakeEngine(), PATH, hello), config(certfile=str(tmp_path / "nothing.pem")))


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_one_connection_too_many_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    async with running(max_connections=2) as [bound]:
        first, second = await connect(bound), await connect(bound)
        assert (await first.ask(GET))[0] == 200
        assert (await second.ask(GET))[0] == 200
        third = await connect(bound)
        await third.send(GET)
        assert (await third.read_all()).startswith(b"HTTP/1.1 503 ")
        await first.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (await (await connect(bound)).ask(GET))[0] == 200
    assert "max_connections=2" in caplog.text


async def test_out_of_descriptors_it_says_so_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Also: a client that left before it was accepted is no reason to complain."""
    causes = [errno.ECONNABORTED, errno.EMFILE, errno.EMFILE]

    class Starving(socket.socket):
        def accept(self) -> tuple[socket.socket, Any]:
            if causes:
                raise OSError(causes.pop(0), "a cause")
            return super().accept()

    with Starving() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        sock.setblocking(False)
        accepted: list[socket.socket] = []
        done = trio.Event()

        def take(connection: socket.socket, peer: Any) -> None:
            accepted.append(connection)
            done.set()

        with socket.create_connection(sock.getsockname()):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Listener(sock, Bound("127.0.0.1", 1)).accept_forever, take)
                await done.wait()
                nursery.cancel_scope.cancel()
        accepted[0].close()
    [record] = caplog.records
    assert "no new connections on http://127.0.0.1:1: " in record.getMessage()


# -- stopping ----------------------------------------------------------------------------------------------------------


async def test_an_orderly_stop() -> None:
    """Known sessions are served while the engine drains; then idle connections end and the busy request finishes."""
    stop = StopSignal()
    finish = trio.Event()
    draining = trio.Event()
    drained = trio.Event()

    async def handle(exchange: HttpExchange) -> None:
        if exchange.request.query_string == "busy":
            await finish.wait()
        await exchange.respond(HttpResponse(200, body=b"served"))

    async def drain(timeout: float) -> None:
        assert 0 < timeout <= 10
        draining.set()
        await drained.wait()

    engine = FakeEngine(http=handle, shutdown_hook=drain)
    async with running(engine, stop=stop) as [bound]:
        idle, busy = await connect(bound), await connect(bound)
        assert (await idle.ask(GET))[1] == b"served"
        await busy.send(b"GET /socket.io/?busy HTTP/1.1\r\nHost: a\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        stop.request()
        await draining.wait()
        late = await connect(bound)  # still listening
        await late.send(GET)
        head, body = await late.response()
        assert ((b"connection", b"close") in head.headers, body) == (True, b"served")
        drained.set()
        assert await idle.read_all() == b""
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream(bound.host, bound.port)
        finish.set()
        assert (await busy.response())[1] == b"served"
        assert await busy.read_all() == b""
    assert engine.seen == ["shutdown"]


async def stopped(stop: StopSignal, engine: FakeEngine, requests: int, **options: Any) -> float:
    """Seconds from the first (and second) stop request to the end, with a parked request and a WebSocket open."""
    began = 0.0

    async def serve(*, task_status: trio.TaskStatus[list[Bound]]) -> None:
        service = Service(engine, PATH, hello)
        await serve_service(service, config(**options), stop=stop, task_status=task_status)

    async with trio.open_nursery() as nursery:
        [bound] = await nursery.start(serve)
        parked, websocket = await trio.open_tcp_stream(bound.host, bound.port), await connect(bound)
        await parked.send_all(PARK)
        await websocket.upgrade()
        await until(lambda: engine.parked == 1)
        began = trio.current_time()
        for _ in range(requests):
            stop.request()
    taken = trio.current_time() - began
    await parked.aclose()
    await websocket.stream.aclose()
    assert (engine.parked, engine.transports) == (0, {})
    return taken


async def test_what_does_not_end_is_cancelled_at_the_timeout() -> None:
    taken = await stopped(StopSignal(), FakeEngine(), 1, shutdown_timeout=0.3)
    assert 0.25 < taken < 1


async def test_a_second_request_stops_at_once() -> None:
    assert await stopped(StopSignal(), FakeEngine(), 2, shutdown_timeout=60) < 1


async def test_cancelling_says_farewell_and_is_quick() -> None:
    engine = FakeEngine()
    begun = trio.current_time()
    async with running(engine, shutdown_timeout=60) as [bound]:
        client, parked = await connect(bound), await connect(bound)
        await client.upgrade()
        await parked.send(PARK)
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                assert await client.frame() == (0x88, b"\x03\xe9")
                await client.send(masked(0x88, b"\x03\xe9"))

            nursery.start_soon(answer)
            await engine.shutdown(timeout=1)
    assert trio.current_time() - begun < 5
    assert engine.seen[-1] == "shutdown"


async def test_an_engine_that_dies_ends_the_server_with_its_error() -> None:
    class Dying(FakeEngine):
        async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            await trio.testing.wait_all_tasks_blocked()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await serve_service(Service(Dying(), PATH, hello), config())


async def test_the_switch_interval_is_set_and_restored() -> None:
    before = sys.getswitchinterval()
    async with running(switch_interval=0.002):
        assert sys.getswitchinterval() == pytest.approx(0.002)
        async with running(switch_interval=0.001):
            assert sys.getswitchinterval() == pytest.approx(0.001)
        async with running(switch_interval=None):
            assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == before
