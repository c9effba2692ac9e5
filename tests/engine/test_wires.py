"""The in-memory connections themselves: what the engine's tests rely on."""

from __future__ import annotations

import anyio
import pytest

from tests.engine.kit import settle
from trioflask_sio.engine.transport import BodyTooBig, HttpResponse, MessageTooBig, PeerGone
from trioflask_sio.protocol.ws_frames import frame
from trioflask_sio.testing.frames import FrameReader
from trioflask_sio.testing.wires import (
    MemoryExchange,
    MemoryUpgrade,
    SocketClient,
    SocketClosed,
    make_request,
)

pytestmark = pytest.mark.anyio


async def accepted(client: SocketClient, max_message: int = 1000) -> MemoryUpgrade:
    upgrade = MemoryUpgrade(make_request(), client)
    await upgrade.accept(max_message=max_message)
    return upgrade


def test_frames_are_read_however_they_are_cut() -> None:
    messages: list[str | bytes] = ["", "a", b"\x00", "x" * 126, b"y" * 70_000, "ü" * 100]
    data = b"".join(frame(message) for message in messages)
    for step in (1, 7, 1000, len(data)):
        reader = FrameReader()
        got = [m for start in range(0, len(data), step) for m in reader.feed(data[start : start + step])]
        assert got == messages
    with pytest.raises(AssertionError, match="0x88"):
        FrameReader().feed(b"\x88\x00")


async def test_a_stalled_client_takes_capacity_and_no_more() -> None:
    client = SocketClient(capacity=10)
    transport = (await accepted(client)).transport
    assert transport is not None
    client.stall()
    data = frame("0123456789abcdef")
    assert transport.try_send(data) == 10
    assert transport.try_send(data[10:]) == 0
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(transport.send_bytes, data[10:])
        await settle()
        assert client.held_up == 10
        client.resume()
    assert await client.receive() == "0123456789abcdef"


async def test_a_limited_try_send_takes_a_part() -> None:
    client = SocketClient()
    transport = (await accepted(client)).transport
    assert transport is not None
    client.try_limit = 3
    data = frame("hello")
    assert [transport.try_send(data[:5]), transport.try_send(data[3:])] == [3, 3]


async def test_a_cut_loses_what_is_on_its_way_and_a_close_does_not() -> None:
    for ending, heard in (("close", ["a", "b"]), ("cut", [])):
        client = SocketClient()
        transport = (await accepted(client)).transport
        assert transport is not None
        client.send("a", "b")
        getattr(client, ending)()
        got = await transport.receive() if heard else []
        with pytest.raises(PeerGone) as gone:
            await transport.receive()
        assert got == heard
        assert gone.value.code == (1000 if ending == "close" else 1006)
        await transport.wait_gone()
        with pytest.raises(PeerGone):
            transport.try_send(b"x")
        with pytest.raises(PeerGone):
            await transport.send_bytes(b"x")
        with pytest.raises(PeerGone):
            await transport.send_message("x")


async def test_a_half_open_connection_swallows_both_ways() -> None:
    client = SocketClient(capacity=100)
    transport = (await accepted(client)).transport
    assert transport is not None
    client.half_open()
    client.send("lost")
    assert transport.try_send(frame("x")) == 3
    await settle()
    assert not client.sent
    assert client.received() == []


async def test_a_message_over_the_limit() -> None:
    client = SocketClient()
    transport = (await accepted(client, 3)).transport
    assert transport is not None
    client.send("üü")
    with pytest.raises(MessageTooBig, match="4 bytes is over the limit of 3"):
        await transport.receive()


async def test_a_server_close_is_heard_after_what_was_sent() -> None:
    client = SocketClient(framed=False)
    transport = (await accepted(client)).transport
    assert transport is not None
    await transport.send_message("last")
    await transport.close(1001, "bye")
    transport.abort()
    assert await client.receive() == "last"
    with pytest.raises(SocketClosed, match="1001 bye"):
        await client.receive()


async def test_an_exchange_is_answered_once_and_may_break() -> None:
    exchange = MemoryExchange(make_request("POST"), b"12345")
    with pytest.raises(BodyTooBig):
        await exchange.read_body(4)
    assert await exchange.read_body(5) == b"12345"
    await exchange.respond(HttpResponse(200))
    with pytest.raises(RuntimeError, match="twice"):
        await exchange.respond(HttpResponse(200))
    gone = MemoryExchange(make_request())
    gone.leave()
    await gone.wait_gone()
    for attempt in (gone.read_body(1), gone.respond(HttpResponse(200))):
        with pytest.raises(PeerGone):
            await attempt
    gone.finish()
    with pytest.raises(PeerGone):
        await gone.wait_response()


async def test_a_client_that_left_cannot_be_accepted() -> None:
    client = SocketClient()
    client.close()
    with pytest.raises(PeerGone):
        await accepted(client)
