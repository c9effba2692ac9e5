"""HTTP/1.1 over real sockets: requests, replies, what is malformed, and what is said about it."""

from __future__ import annotations

import contextlib
import logging
import socket

import pytest
import trio

from tests.server.helpers import BODY_LIMIT, FakeEngine, connect, running, until
from trioflask_sio.engine.transport import HttpExchange, HttpRequest, HttpResponse, PeerGone

pytestmark = pytest.mark.trio

GET = b"GET /socket.io/ HTTP/1.1\r\nHost: a\r\n\r\n"


def post(body: bytes, extra: bytes = b"") -> bytes:
    head = b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % len(body)
    return head + extra + b"\r\n" + body


async def test_paths_decide_between_engine_and_application() -> None:
    async with running() as [bound]:
        client = await connect(bound)
        assert await client.ask(post(b"echo me")) == (200, b"echo me")
        assert await client.ask(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b"hello GET /other")
        assert await client.ask(b"GET /socket.io HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b"hello GET /socket.io")
        assert await client.ask(b"GET http://a/abs?x HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b"hello GET /abs")
        assert await client.ask(b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n") == (200, b"hello GET /")


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running() as [bound]:
        client = await connect(bound)
        await client.send(b"".join(post(b"%d" % n) for n in range(50)))
        for n in range(50):
            _, body = await client.response()
            assert body == b"%d" % n


async def test_any_split_of_the_bytes_gives_the_same_reply() -> None:
    data = post(b"abc") + GET
    async with running() as [bound]:
        for cut in range(0, len(data), 7):
            client = await connect(bound)
            await client.send(data[:cut])
            await trio.testing.wait_all_tasks_blocked()
            await client.send(data[cut:])
            assert (await client.response())[1] == b"abc"
            assert (await client.response())[1] == b""
            await client.stream.aclose()


async def test_the_request_head_as_the_engine_sees_it() -> None:
    seen: list[HttpRequest] = []

    async def handle(exchange: HttpExchange) -> None:
        seen.append(exchange.request)
        await exchange.respond(HttpResponse(200))

    head = b"GET /socket.io/%C3%A9?a=%41&b HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: \xe9\r\n\r\n"
    async with running(FakeEngine(http=handle)) as [bound]:
        client = await connect(bound)
        await client.ask(head)
        await client.ask(head)
        local = client.stream.socket.getsockname()  # type: ignore[attr-defined]  # a SocketStream
    for request in seen:
        assert request.path == "/socket.io/é"
        assert request.raw_path == b"/socket.io/%C3%A9"
        assert request.query_string == "a=%41&b"
        assert request.headers == (("host", "a"), ("x-two", "1"), ("x-two", "é"))
        assert (request.client, request.server) == (local, (bound.host, bound.port))
        assert (request.scheme, request.http_version) == ("http", "1.1")
        assert request.raw_head == head
    assert len(seen) == 2


async def test_chunked_bodies_are_counted_by_their_real_bytes() -> None:
    async with running() as [bound]:
        client = await connect(bound)
        chunked = b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert await client.ask(chunked + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") == (200, b"abcde")


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_answered_413_and_closed(announced: bool) -> None:
    """Also for a client that sends everything before it reads: the reply is not lost to a reset."""
    engine = FakeEngine()
    async with running(engine) as [bound]:
        client = await connect(bound)
        body = b"x" * (BODY_LIMIT + 60_000)
        if announced:
            request = post(body)
        else:
            request = b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            request += b"%x\r\n" % len(body) + body + b"\r\n"
        await client.send(request)
        head, _ = await client.response("POST")
        assert head.status_code == 413
        assert (b"connection", b"close") in head.headers
        assert await client.stream.receive_some(1) == b""
    assert engine.seen[0] == f"too big {BODY_LIMIT}"


async def test_expect_100_continue() -> None:
    async with running() as [bound]:
        client = await connect(bound)
        await client.send(b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.stream.receive_some(1000)).startswith(b"HTTP/1.1 100 ")
        assert await client.ask(b"ok") == (200, b"ok")


async def test_a_refused_body_that_waits_for_100_continue_closes_the_connection() -> None:
    async def handle(exchange: HttpExchange) -> None:
        await exchange.respond(HttpResponse(400))

    async with running(FakeEngine(http=handle)) as [bound]:
        client = await connect(bound)
        await client.send(b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        head, _ = await client.response()
        assert head.status_code == 400
        assert (b"connection", b"close") in head.headers


async def test_a_small_unread_body_keeps_the_connection() -> None:
    async def handle(exchange: HttpExchange) -> None:
        await exchange.respond(HttpResponse(400, body=b"no"))

    async with running(FakeEngine(http=handle)) as [bound]:
        client = await connect(bound)
        assert await client.ask(post(b"unread")) == (400, b"no")
        assert await client.ask(post(b"unread")) == (400, b"no")


async def test_head_http_1_0_and_replies_without_body() -> None:
    async def handle(exchange: HttpExchange) -> None:
        await exchange.respond(HttpResponse(204 if exchange.request.query_string else 200, body=b"12345"))

    async with running(FakeEngine(http=handle)) as [bound]:
        client = await connect(bound)
        await client.send(b"HEAD /socket.io/ HTTP/1.1\r\nHost: a\r\n\r\n")
        head, body = await client.response("HEAD")
        assert (dict(head.headers)[b"content-length"], body) == (b"5", b"")
        client = await connect(bound)
        await client.send(b"GET /socket.io/?x HTTP/1.1\r\nHost: a\r\n\r\n")
        head, body = await client.response()
        assert (head.status_code, b"content-length" in dict(head.headers), body) == (204, False, b"")
        client = await connect(bound)
        await client.send(b"GET /socket.io/ HTTP/1.0\r\n\r\n")
        reply = await client.read_all()
        assert reply.endswith(b"\r\n\r\n12345")
        assert b"connection: close" in reply.lower()


MALFORMED = [
    (b"NONSENSE\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
    (b"HEAD / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 65_530 + b"\r\n\r\n", 431),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n", 400),
]


@pytest.mark.parametrize(("data", "status"), MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_requests_are_refused_with_one_line(
    data: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running() as [bound]:
        client = await connect(bound)
        await client.send(data)
        reply = await client.read_all()
        assert reply.startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in reply.lower()
        other = await connect(bound)
        assert (await other.ask(GET))[0] == 200
    [record] = [record for record in caplog.records if record.name.startswith("trioflask_sio")]
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert "malformed request" in record.getMessage()


@pytest.mark.parametrize("body", [b"zz\r\n", b"3\r\nabcd\r\n", b"3\r\nab", b"FFFFFFFFFFFFFFFF\r\nab"])
async def test_a_broken_chunked_body_ends_only_its_connection(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def handle(exchange: HttpExchange) -> None:
        with contextlib.suppress(PeerGone):  # as the engine does
            await exchange.respond(HttpResponse(200, body=await exchange.read_body(9)))

    async with running(FakeEngine(http=handle)) as [bound]:
        client = await connect(bound)
        await client.send(b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        await client.stream.send_eof()  # type: ignore[attr-defined]  # a SocketStream
        reply = await client.read_all()
        assert reply.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in reply.lower()
        assert (await (await connect(bound)).ask(GET))[0] == 200
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("pipelined", [b"", GET, b"x" * 50_000])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_parked_request_notices_its_client_leaving(pipelined: bytes, reset: bool) -> None:
    engine = FakeEngine()
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.send(b"GET /socket.io/?park HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: bool(engine.parked))
        await client.send(pipelined)
        await trio.testing.wait_all_tasks_blocked(0.01)  # a server that spins on unread bytes would never block
        assert engine.parked == 1
        if reset:
            linger_zero = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)  # type: ignore[attr-defined]  # a SocketStream
        client.stream.socket.close()  # type: ignore[attr-defined]  # a SocketStream
        await until(lambda: not engine.parked)
    assert engine.seen[0] == "poll gone"


async def test_a_client_that_leaves_is_not_told_of_an_internal_error() -> None:
    """Not even one that has only shut its sending side: its session is over, and the log of 500s stays clean."""
    engine = FakeEngine()
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.send(b"GET /socket.io/?park HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: bool(engine.parked))
        await client.stream.send_eof()  # type: ignore[attr-defined]  # a SocketStream
        assert await client.read_all() == b""
    assert engine.seen[0] == "poll gone"


async def test_bytes_that_came_while_parked_are_the_next_request() -> None:
    async def handle(exchange: HttpExchange) -> None:
        if exchange.request.query_string:
            with trio.move_on_after(0.05):
                await exchange.wait_gone()
                raise AssertionError("the client is still there")
        await exchange.respond(HttpResponse(200, body=await exchange.read_body(9)))

    async with running(FakeEngine(http=handle)) as [bound]:
        client = await connect(bound)
        await client.send(b"GET /socket.io/?wait HTTP/1.1\r\nHost: a\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send(post(b"second"))
        assert (await client.response())[1] == b""
        assert (await client.response())[1] == b"second"


async def test_an_engine_that_fails_costs_one_reply(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(exchange: HttpExchange) -> None:
        if exchange.request.query_string == "raise":
            raise ZeroDivisionError
        if exchange.request.query_string == "gone":
            raise PeerGone

    async with running(FakeEngine(http=handle)) as [bound]:
        for query in (b"raise", b"silent"):
            client = await connect(bound)
            assert (await client.ask(b"GET /socket.io/?" + query + b" HTTP/1.1\r\nHost: a\r\n\r\n"))[0] == 500
        client = await connect(bound)
        await client.send(b"GET /socket.io/?gone HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await client.read_all() == b""
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_access_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trioflask_sio.access")
    async with running(access_log=True, server_header="mine") as [bound]:
        client = await connect(bound)
        await client.send(
            b"POST /socket.io/?a=1&sid=abcdefghijkl&t=2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        )
        head, _ = await client.response()
        assert dict(head.headers)[b"server"] == b"mine"
        assert dict(head.headers)[b"date"].endswith(b" GMT")
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.02)
    lines = [record.getMessage() for record in caplog.records if record.name == "trioflask_sio.access"]
    assert len(lines) == 3
    assert lines[0].endswith("connection opened (1 open)")
    assert '"POST /socket.io/?a=1&sid=abcdef…&t=2 HTTP/1.1" 200 3 ' in lines[1]
    assert lines[2].endswith("connection closed (0 open)")
