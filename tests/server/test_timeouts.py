"""Every deadline of a connection, over in-memory streams and a clock that jumps."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from tests.server.helpers import FakeEngine, in_memory, masked, text
from trioflask_sio.engine.transport import HttpExchange, HttpResponse, PeerGone, WebSocketTransport

pytestmark = pytest.mark.trio

GET = b"GET /socket.io/ HTTP/1.1\r\nHost: a\r\n\r\n"
LINGER = 2.0


async def test_a_connection_that_says_nothing_is_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(header_timeout=10) as (client, site):
        assert await client.read_all() == b""
        assert trio.current_time() == pytest.approx(10)
        await trio.testing.wait_all_tasks_blocked()
        assert site.connections == 0


async def test_a_head_that_drips_is_answered_408(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Slowloris: a byte every second does not move the deadline."""
    caplog.set_level(logging.INFO)
    async with in_memory(header_timeout=10) as (client, site):
        for byte in GET[:10]:
            await client.send(bytes((byte,)))
            await trio.sleep(1)
        reply = await client.read_all()
        assert reply.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in reply
        assert trio.current_time() == pytest.approx(10)
        await trio.sleep(LINGER)
        await trio.testing.wait_all_tasks_blocked()
        assert site.connections == 0
    assert [record.levelno for record in caplog.records] == [logging.INFO]


async def test_an_idle_connection_is_kept_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(header_timeout=10, keep_alive_timeout=75) as (client, _):
        for _ in range(3):
            await trio.sleep(5)
            assert (await client.ask(GET))[0] == 200
            await trio.sleep(60)
            assert (await client.ask(GET))[0] == 200
        begun = trio.current_time()
        assert await client.read_all() == b""
        assert trio.current_time() - begun == pytest.approx(75)


async def test_the_second_head_has_its_own_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(header_timeout=10, keep_alive_timeout=75) as (client, _):
        assert (await client.ask(GET))[0] == 200
        await trio.sleep(70)
        await client.send(GET[:5])
        await trio.sleep(9)
        assert (await client.ask(GET[5:]))[0] == 200
        await client.send(GET[:5])
        begun = trio.current_time()
        assert (await client.read_all()).startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() - begun == pytest.approx(10)


async def test_a_connection_goes_on_from_bytes_that_others_have_read(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(initial=GET + GET[:20]) as (client, _):
        assert (await client.response())[0].status_code == 200
        assert (await client.ask(GET[20:]))[0] == 200


async def test_half_a_pipelined_request_has_a_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory(header_timeout=10) as (client, _):
        assert (await client.ask(GET + GET[:5]))[0] == 200
        begun = trio.current_time()
        assert (await client.read_all()).startswith(b"HTTP/1.1 408 ")
        assert trio.current_time() - begun == pytest.approx(10)


async def test_a_body_may_be_slow_but_not_stand_still(autojump_clock: trio.testing.MockClock) -> None:
    seen: list[str] = []

    async def handle(exchange: HttpExchange) -> None:
        try:
            await exchange.read_body(100)
        except PeerGone as error:
            seen.append(f"{trio.current_time():.0f} {error}")
            raise

    async with in_memory(FakeEngine(http=handle), body_timeout=30) as (client, site):
        await client.send(b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        for _ in range(3):
            await trio.sleep(29)
            await client.send(b"x")
        assert await client.read_all() == b""
        await trio.testing.wait_all_tasks_blocked()
        assert site.connections == 0
    assert seen == ["117 no piece of the request body came for 30 s"]


async def test_a_client_that_takes_no_reply_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """It may be slow: only a piece of 64 KiB that is not taken in time ends the connection."""
    seen: list[float] = []
    seconds = [20.0, 29.0, 31.0]

    async def handle(exchange: HttpExchange) -> None:
        try:
            await exchange.respond(HttpResponse(200, body=b"x" * 200_000))
        except PeerGone:
            seen.append(trio.current_time())
            raise

    async def stall() -> None:
        await trio.sleep(seconds.pop(0))

    async with in_memory(FakeEngine(http=handle), stall=stall, send_timeout=30) as (client, site):
        await client.send(GET)
        assert len(await client.read_all()) == 3 * 65_536
        await trio.testing.wait_all_tasks_blocked()
        assert site.connections == 0
    assert seen == [pytest.approx(20 + 29 + 30)]


async def test_a_client_that_answers_no_close_frame_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    closed: list[float] = []

    async def close(transport: WebSocketTransport) -> None:
        begun = trio.current_time()
        await transport.close(1001)
        closed.append(trio.current_time() - begun)

    async with in_memory(FakeEngine(websocket=close)) as (client, site):
        await client.upgrade()
        for _ in range(100):
            await client.send(text("I go on talking"))
            await trio.sleep(0.1)
            if closed:
                break
        await trio.testing.wait_all_tasks_blocked()
        assert site.connections == 0
    assert closed == [pytest.approx(2.0)]


async def test_an_idle_websocket_has_no_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory() as (client, _):
        await client.upgrade()
        await trio.sleep(86_400)
        await client.send(text("still there?") + masked(0x89, b"ping"))
        assert {await client.frame(), await client.frame()} == {(0x81, b"still there?"), (0x8A, b"ping")}


async def test_a_cancelled_receive_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    got: list[str | bytes] = []

    async def impatient(transport: WebSocketTransport) -> None:
        while len(got) < 50:
            with trio.move_on_after(0.003):
                got.extend(await transport.receive())

    async with in_memory(FakeEngine(websocket=impatient)) as (client, _):
        await client.upgrade()
        for n in range(50):
            data = text(str(n)) + masked(0x89, b"")
            await client.send(data[: n % len(data)])
            await trio.sleep(0.002)
            await client.send(data[n % len(data) :])
            await trio.sleep(0.002)
        await trio.sleep(1)
    assert got == [str(n) for n in range(50)]
