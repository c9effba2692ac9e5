"""The streams under connections, one contract for all; and what only our own sockets can do."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trioflask_sio.engine.transport import PeerGone
from trioflask_sio.server import sendnow
from trioflask_sio.server.streams import ByteStream, PlainStream, TrioStream

pytestmark = pytest.mark.trio

Pair = tuple[ByteStream, trio.abc.HalfCloseableStream]


@asynccontextmanager
async def plain() -> AsyncIterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = PlainStream(ours)
    async with trio.SocketStream(trio.socket.from_stdlib_socket(theirs)) as client:
        try:
            yield stream, client
        finally:
            stream.abort()


@asynccontextmanager
async def wrapped() -> AsyncIterator[Pair]:
    ours, client = trio.testing.memory_stream_pair()

    def close_now() -> None:
        ours.send_stream.close()
        ours.receive_stream.close()

    stream = TrioStream(ours, close_now)
    try:
        yield stream, client
    finally:
        stream.abort()


@pytest.fixture(params=[plain, wrapped])
def pair(request: pytest.FixtureRequest) -> Callable[[], AsyncIterator[Pair]]:
    made: Callable[[], AsyncIterator[Pair]] = request.param
    return made


# -- the contract ----------------------------------------------------------------------------------------------------


async def test_bytes_go_both_ways_and_end(pair: Callable[[], AsyncIterator[Pair]]) -> None:
    async with pair() as (stream, client):  # type: ignore[attr-defined]  # a context manager's factory
        await client.send_all(b"in")
        assert await stream.receive_some() == b"in"
        await stream.send_all(b"out")
        assert await client.receive_some(10) == b"out"
        await stream.send_eof()
        assert await client.receive_some(10) == b""
        await client.send_eof()
        assert await stream.receive_some() == b""
        assert await stream.receive_some() == b""
        await stream.aclose()
        await stream.aclose()


async def test_a_cancelled_receive_loses_nothing(pair: Callable[[], AsyncIterator[Pair]]) -> None:
    async with pair() as (stream, client):  # type: ignore[attr-defined]  # a context manager's factory
        with trio.move_on_after(0.01):
            await stream.receive_some()
        with trio.move_on_after(0.01):
            await stream.wait_gone()
        await client.send_all(b"kept")
        with trio.move_on_after(0.01) as scope:
            await stream.wait_gone()
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await stream.receive_some()
        assert await stream.receive_some() == b"kept"


async def test_the_end_is_seen_behind_unread_bytes(pair: Callable[[], AsyncIterator[Pair]]) -> None:
    async with pair() as (stream, client):  # type: ignore[attr-defined]  # a context manager's factory
        await client.send_all(b"unread")
        gone = trio.Event()
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                await stream.wait_gone()
                gone.set()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not gone.is_set()
            await client.aclose()
            await gone.wait()
        assert await stream.receive_some() == b"unread"
        assert await stream.receive_some() == b""


@pytest.mark.parametrize("unread", [b"", b"unread"])
async def test_abort_wakes_everybody(pair: Callable[[], AsyncIterator[Pair]], unread: bytes) -> None:
    async with pair() as (stream, client):  # type: ignore[attr-defined]  # a context manager's factory
        if unread:
            await client.send_all(unread)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.wait_gone)
            await trio.testing.wait_all_tasks_blocked(0.01)
            stream.abort()
            stream.abort()
        with pytest.raises(PeerGone):
            await stream.send_all(b"x")


async def test_a_broken_stream_is_peer_gone(pair: Callable[[], AsyncIterator[Pair]]) -> None:
    async with pair() as (stream, client):  # type: ignore[attr-defined]  # a context manager's factory
        await client.aclose()
        with pytest.raises(PeerGone):
            await push_for_ever(stream)
        await stream.wait_gone()
        await stream.send_eof()


async def push_for_ever(stream: ByteStream) -> None:
    while True:
        await stream.send_all(bytes(65_536))


# -- our own sockets -------------------------------------------------------------------------------------------------


@pytest.fixture(params=["keeping the lock", "socket.send"])
def sending(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to send; the second is what platforms without the C library's send do."""
    if request.param == "socket.send":
        monkeypatch.setattr("trioflask_sio.server.streams.lock_keeping_send", None)
    elif sendnow.lock_keeping_send is None:
        pytest.skip("this platform has no send that keeps the lock")


async def test_try_send_never_waits_and_send_all_goes_on_from_there(sending: None) -> None:
    data = os.urandom(3_000_000)
    async with plain() as (stream, client):
        assert stream.try_send(b"") == 0
        sent = stream.try_send(data)
        assert 0 < sent < len(data)
        assert stream.try_send(data) == 0
        assert stream.try_send(memoryview(data)) == 0
        got = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, memoryview(data)[sent:])
            while len(got) < len(data):
                got += await client.receive_some(65_536)
        assert got == data


async def test_try_send_to_the_departed(sending: None) -> None:
    async with plain() as (stream, client):
        await client.aclose()
        with pytest.raises(PeerGone, match="broke"):
            stream.try_send(b"x")
        stream.abort()
        with pytest.raises(PeerGone, match="closed"):
            stream.try_send(b"x")


async def test_a_closed_stream_stays_closed_and_disturbs_no_other() -> None:
    for _ in range(2):
        async with plain() as (stream, _):
            stream.abort()
            for _ in range(2):
                with pytest.raises(PeerGone, match="closed"):
                    await stream.receive_some()
                with pytest.raises(PeerGone, match="closed"):
                    await stream.send_all(b"x")
                await stream.wait_gone()


async def test_nothing_is_sent_to_a_number_that_belongs_to_somebody_else() -> None:
    async with plain() as (stream, _):
        stream.abort()
        ours, theirs = socket.socketpair()  # very likely takes the number that has become free
        with ours, theirs:
            theirs.setblocking(False)
            with pytest.raises(PeerGone):
                stream.try_send(b"not for you")
            with pytest.raises(BlockingIOError):
                theirs.recv(1)


async def test_detach_gives_the_open_socket_away() -> None:
    async with plain() as (stream, client):
        assert isinstance(stream, PlainStream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.wait_gone)
            await trio.testing.wait_all_tasks_blocked()
            given = stream.detach()
        with given:
            given.send(b"still open")
            assert await client.receive_some(100) == b"still open"
            with pytest.raises(PeerGone):
                await stream.receive_some()
            with pytest.raises(PeerGone):
                stream.detach()


async def test_without_epoll_the_end_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.delattr(select, "epoll", raising=False)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = PlainStream(ours)
    theirs.send(b"unread")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.wait_gone)
        await trio.sleep(3)
        assert nursery.child_tasks
        theirs.close()
    assert trio.current_time() <= 4
    stream.abort()


async def test_reading_ahead_of_a_wrapped_stream_is_bounded() -> None:
    async with wrapped() as (stream, client):
        for _ in range(4):
            await client.send_all(bytes(60_000))
        with trio.move_on_after(0.02):
            await stream.wait_gone()
        ahead = len(await stream.receive_some())
        assert 65_536 <= ahead <= 2 * 65_536
        while ahead < 240_000:
            ahead += len(await stream.receive_some())
        assert ahead == 240_000
