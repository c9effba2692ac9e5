"""``disconnect()``: of the own client, of another, in connect, from everywhere, twice (design §8.8)."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
import pytest

from tests.bridge.kit import Flag, Refused, errors, in_thread, make, req, serving, until
from trioflask_sio import Namespace, SocketIO, UsageError, aio, disconnect, emit

pytestmark = pytest.mark.anyio


def noting(socketio: SocketIO, kind: str) -> list[Any]:
    """A disconnect handler of a kind that notes its turn."""
    lines: list[Any] = []
    if kind == "sync":

        @socketio.on("disconnect")
        def leaving(reason: str) -> None:
            lines.append(("disconnect", req.sid, reason))
    else:

        @socketio.on("disconnect")
        async def leaving_async(reason: str) -> None:
            await anyio.sleep(0.001)
            lines.append(("disconnect", req.sid, reason))

    return lines


@pytest.mark.parametrize("farewell", ["sync", "async"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_of_the_own_client_has_run_the_disconnect_handler_before_it_returns(kind: str, farewell: str) -> None:
    socketio = make()
    lines = noting(socketio, farewell)
    over = Flag()

    @socketio.event
    def sync() -> None:
        disconnect()
        lines.append(("after", req.sid))
        emit("silent")
        socketio.sleep(0.002)
        lines.append("not cancelled by its own call")
        over.set()

    @socketio.on("async")
    async def coroutine() -> None:
        await aio.disconnect()
        lines.append(("after", req.sid))
        emit("silent")
        await aio.sleep(0.002)
        lines.append("not cancelled by its own call")
        over.set()

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit(kind)
        await peer.put_out()
        await over.seen()
        assert not peer.wire.closed, "the connection stays"
        await net.empty()
    sid = peer.sid()
    assert lines == [
        ("disconnect", sid, socketio.reason.SERVER_DISCONNECT),
        ("after", sid),
        "not cancelled by its own call",
    ]


async def test_queued_events_are_dropped_and_the_client_may_come_back() -> None:
    socketio = make()
    seen: list[int] = []

    @socketio.event
    def go() -> None:
        emit("here")
        gate.wait()
        disconnect()

    gate = Flag()
    socketio.on_event("number", seen.append)
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("go")
        await peer.next("here")
        peer.burst("number", range(5))
        gate.set()
        await peer.put_out()
        first = peer.sid()
        assert await peer.connect() != first
        assert await peer.ask("number", 7) == []
    assert seen == [7]


async def test_another_handler_of_the_same_client_is_cancelled() -> None:
    socketio = make()
    lines = noting(socketio, "sync")

    @socketio.event
    def wait() -> None:
        emit("waiting")
        try:
            socketio.sleep(60)
        finally:
            lines.append("cancelled")

    socketio.on_event("go", lambda: disconnect())
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("wait")
        await peer.next("waiting")
        peer.emit("go")
        await peer.put_out()
        await until(lambda: len(lines) == 2)
    assert "cancelled" in lines


@pytest.mark.parametrize("by", ["sync", "async", "thread", "namespace"])
async def test_of_another_client(by: str) -> None:
    socketio = make()
    lines = noting(socketio, "sync")
    socketio.on_event("sync", lambda sid: disconnect(sid))
    room = Namespace("/room")
    socketio.on_namespace(room)

    @socketio.on("async")
    async def coroutine(sid: str) -> None:
        await aio.disconnect(sid)

    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        sid = other.sid()
        if by == "thread":
            await in_thread(socketio.operations.disconnect, sid, "/")
        elif by == "namespace":
            await in_thread(room.disconnect, sid, "/")
        else:
            assert await peer.ask(by, sid) == []
        assert net.hub.find(sid, "/") is None or net.hub.find(sid, "/").ended, "it is out when the call returns"
        await other.put_out()
        await until(lambda: bool(lines))
        assert net.hub.find(peer.sid(), "/") is not None
    assert lines[0] == ("disconnect", sid, socketio.reason.SERVER_DISCONNECT)
    assert [line[1] for line in lines].count(sid) == 1


async def test_of_somebody_unknown_is_nothing() -> None:
    socketio = make()
    socketio.on_event("go", lambda: disconnect("nobody"))
    async with serving(socketio) as net:
        peer = await net.peer()
        assert await peer.ask("go") == []
        await in_thread(socketio.operations.disconnect, "nobody", "/nowhere")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_twice_is_once(kind: str) -> None:
    socketio = make()
    lines = noting(socketio, kind)
    over = Flag()

    @socketio.event
    def sync() -> None:
        disconnect()
        disconnect()
        over.set()

    @socketio.on("async")
    async def coroutine() -> None:
        await aio.disconnect()
        await aio.disconnect()
        over.set()

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit(kind)
        await over.seen()
    assert len(lines) == 1


async def test_inside_the_disconnect_handler_is_nothing() -> None:
    socketio = make()
    calls: list[str] = []

    @socketio.on("disconnect")
    def leaving() -> None:
        calls.append(req.sid)
        disconnect()

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.leave()
        await net.empty()
    assert calls == [peer.sid()]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("result", [True, False])
async def test_inside_connect_no_connect_packet_follows(kind: str, result: bool) -> None:
    socketio = make()
    lines = noting(socketio, "sync")
    socketio.on_event("hello", lambda: 1, namespace="/other")

    if kind == "sync":

        @socketio.on("connect")
        def connect() -> bool:
            disconnect()
            lines.append("on")
            return result
    else:

        @socketio.on("connect")
        async def connect_async() -> bool:
            await aio.disconnect()
            lines.append("on")
            return result

    async with serving(socketio) as net:
        peer = await net.open()
        peer.start_connect()
        await peer.put_out()
        await until(lambda: "on" in lines)
        await net.empty()
        await peer.connect("/other")
        assert not peer._waiting, "neither CONNECT nor CONNECT_ERROR has come for the first namespace"
    assert lines[0] == "on"
    assert len(lines) == (2 if result else 1), "a client that was refused has no disconnect handler"


async def test_the_plain_form_in_an_async_handler_names_the_awaitable_one(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    told: list[str] = []

    @socketio.event
    async def go() -> None:
        for form in (disconnect, lambda: socketio.sleep(1), lambda: socketio.call("x", to=req.sid)):
            with pytest.raises(UsageError) as caught:
                form()
            told.append(str(caught.value))

    async with serving(socketio) as net:
        peer = await net.peer()
        assert await peer.ask("go") == []
    assert ["aio.disconnect" in told[0], "aio.sleep" in told[1], "aio.call" in told[2]] == [True] * 3
    assert not errors(caplog)


async def test_the_awaitable_forms_in_a_thread_name_the_plain_ones() -> None:
    socketio = make()
    told: list[str] = []

    @socketio.event
    def go() -> None:
        for form in (aio.disconnect(), aio.call("x"), aio.emit("x")):
            with pytest.raises(UsageError) as caught:
                form.send(None)
            told.append(str(caught.value))

    async with serving(socketio) as net:
        peer = await net.peer()
        assert await peer.ask("go") == []
    assert ["disconnect()" in told[0], "call()" in told[1], "emit()" in told[2]] == [True] * 3


async def test_a_refused_client_reads_why_although_disconnect_was_never_called() -> None:
    socketio = make()
    lines = noting(socketio, "sync")
    socketio.on_event("connect", lambda: False)
    async with serving(socketio) as net:
        peer = await net.open()
        with pytest.raises(Refused):
            await peer.connect()
        await net.empty()
    assert lines == []
