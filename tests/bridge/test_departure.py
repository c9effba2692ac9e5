"""What becomes of handlers whose client leaves (design §3, §8.9)."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
import pytest

from tests.bridge.kit import Flag, Net, Peer, errors, make, req, serving, until
from trioflask_sio import (
    ClientGone,
    HandlerCancelled,
    SocketIO,
    aio,
    call,
    check_cancelled,
    disconnect,
    emit,
    join_room,
    rooms,
)

pytestmark = pytest.mark.anyio


class Story:
    """What a handler went through."""

    def __init__(self, socketio: SocketIO) -> None:
        self.lines: list[Any] = []
        self.over = Flag()
        assert socketio.app is not None
        socketio.app.teardown_request(self._teardown)
        socketio.on_event("disconnect", lambda: self.lines.append("disconnect handler"))

    def _teardown(self, error: BaseException | None) -> None:
        if req.event["message"] == "work":
            self.lines.append(("teardown", type(error).__name__))
            self.over.set()


def wait_in(where: str, socketio: SocketIO) -> None:
    """One of the calls that wait."""
    if where == "sleep":
        socketio.sleep(60)
    elif where == "call":
        call("question")
    else:
        while True:
            check_cancelled()
            Flag()._event.wait(0.001)


async def leave(peer: Peer, how: str) -> None:
    {"leave": peer.leave, "close": peer.close, "cut": peer.cut}[how]()


@pytest.mark.parametrize("how", ["leave", "close", "cut"])
@pytest.mark.parametrize("where", ["sleep", "call", "check"])
async def test_what_waits_is_cancelled_at_once(where: str, how: str) -> None:
    socketio = make()
    story = Story(socketio)

    @socketio.event
    def work() -> None:
        emit("working")
        try:
            wait_in(where, socketio)
        except Exception as error:
            story.lines.append(error)
        finally:
            story.lines.append("finally")

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("work")
        await peer.next("working")
        begun = anyio.current_time()
        await leave(peer, how)
        await story.over.seen()
        await net.empty()
        assert anyio.current_time() - begun < 3, "not at the end of sleep, call or grace"
        assert len(net.runtime.timers) == 0, "no alarm is left of the sleep or the call"
    assert story.lines == ["finally", ("teardown", "HandlerCancelled"), "disconnect handler"]


async def test_an_async_handler_is_cancelled_by_its_scope() -> None:
    socketio = make()
    story = Story(socketio)

    @socketio.event
    async def work() -> None:
        emit("working")
        try:
            await anyio.sleep(60)
        except Exception as error:
            story.lines.append(error)
        finally:
            story.lines.append("finally")

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("work")
        await peer.next("working")
        peer.close()
        await net.empty()
    assert story.lines == ["finally", ("teardown", "NoneType"), "disconnect handler"]


async def test_an_async_handlers_call_to_its_own_departed_client_is_a_cancellation() -> None:
    socketio = make()
    story = Story(socketio)

    @socketio.event
    async def work() -> None:
        try:
            await aio.call("question")
        except ClientGone as error:
            story.lines.append(error)

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("work")
        await peer.next("question")
        peer.close()
        await net.empty()
    assert story.lines == [("teardown", "NoneType"), "disconnect handler"]


async def test_errors_of_a_cancelled_handlers_own_nursery_end_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()

    @socketio.event
    async def work() -> None:
        async def stubborn() -> None:
            try:
                await anyio.sleep(60)
            finally:
                raise ValueError("while cancelled")

        async with anyio.create_task_group() as group:
            group.start_soon(stubborn)
            group.start_soon(anyio.sleep, 60)
            emit("working")
            await anyio.sleep(60)

    socketio.on_event("hello", lambda: "alive")
    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        peer.emit("work")
        await peer.next("working")
        peer.close()
        await until(lambda: peer.sid() not in net.hub.sockets)
        assert await other.ask("hello") == ["alive"]
    assert len(errors(caplog)) == 1


@pytest.mark.parametrize("by", ["handler", "option"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_cancel_on_disconnect_false_lets_it_finish(kind: str, by: str) -> None:
    socketio = make(**({"cancel_on_disconnect": False} if by == "option" else {}))
    story = Story(socketio)
    mark: dict[str, Any] = {"cancel_on_disconnect": False} if by == "handler" else {}

    if kind == "sync":

        @socketio.on("work", **mark)
        def work() -> None:
            emit("working")
            while req.sid not in left:
                socketio.sleep(0.002)
            check_cancelled()
            emit("nobody hears it")
            story.lines.append("finished")
    else:

        @socketio.on("work", **mark)
        async def work_async() -> None:
            emit("working")
            while req.sid not in left:
                await aio.sleep(0.002)
            emit("nobody hears it")
            story.lines.append("finished")

    left: list[str] = []
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("work")
        await peer.next("working")
        peer.close()
        await peer.ended()
        left.append(peer.sid())
        await net.empty()
    assert story.lines == ["finished", ("teardown", "NoneType"), "disconnect handler"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_no_departure_cancels_ends_with_the_server(kind: str) -> None:
    socketio = make(disconnect_grace=0.02)
    ended: list[str] = []

    @socketio.on("sync", cancel_on_disconnect=False)
    def sync() -> None:
        emit("working")
        try:
            socketio.sleep(3600)
        finally:
            ended.append("sync")

    @socketio.on("async", cancel_on_disconnect=False)
    async def coroutine() -> None:
        emit("working")
        try:
            await aio.sleep(3600)
        finally:
            ended.append("async")

    async with serving(socketio, shutdown_timeout=1) as net:
        peer = await net.peer()
        peer.emit(kind)
        await peer.next("working")
    assert ended == [kind]


# --- emits of a handler whose client has left ----------------------------------------------------------------------


def parting(socketio: SocketIO, net: Net, act: Any) -> tuple[Flag, list[Any]]:
    """A handler that does ``act`` once its client has left, and tells what came of it."""
    told: list[Any] = []
    over = Flag()

    @socketio.event
    def work() -> None:
        emit("working")
        socket = net.hub.find(req.sid, "/")
        while not socket.ended:
            Flag()._event.wait(0.001)
        try:
            told.append(act())
        except BaseException as error:
            told.append(type(error))
        finally:
            over.set()

    return over, told


async def run_parting(socketio: SocketIO, act: Any) -> tuple[list[Any], list[Any]]:
    """What came of ``act``, and the names that another client has received."""
    async with serving(socketio) as net:
        over, told = parting(socketio, net, act)
        socketio.on_event("end", lambda: emit("end"))
        peer, other = await net.peers(2)
        peer.emit("work")
        await peer.next("working")
        peer.close()
        await over.seen()
        other.emit("end")
        return told, await other.names_until("end")


async def test_an_emit_to_the_departed_client_alone_is_silent_at_first() -> None:
    socketio = make(emit_grace=30)
    assert await run_parting(socketio, lambda: emit("x")) == ([None], [])


async def test_after_emit_grace_it_ends_the_handler() -> None:
    socketio = make(emit_grace=0)
    assert await run_parting(socketio, lambda: emit("x")) == ([HandlerCancelled], [])


async def test_also_by_the_method_of_the_object() -> None:
    socketio = make(emit_grace=0)
    assert await run_parting(socketio, lambda: socketio.emit("x", to=req.sid)) == ([HandlerCancelled], [])


@pytest.mark.parametrize("grace", [0, 30])
async def test_emits_to_others_go_through(grace: float) -> None:
    socketio = make(emit_grace=grace)

    def act() -> None:
        emit("to all", broadcast=True)
        emit("to room", to="room")
        socketio.emit("to both", to=[req.sid, "room"])
        socketio.emit("by object")

    def connect() -> None:
        join_room("room")

    socketio.on_event("connect", connect)
    assert await run_parting(socketio, act) == ([None], ["to all", "to room", "to both", "by object"])


async def test_emits_are_silent_while_unwinding() -> None:
    socketio = make(emit_grace=0)
    told: list[str] = []

    def act() -> None:
        try:
            socketio.sleep(60)
        finally:
            emit("to myself")
            emit("to all", broadcast=True)
            told.append("unwound")

    assert await run_parting(socketio, act) == ([HandlerCancelled], ["to all"])
    assert told == ["unwound"]


async def test_emits_and_rooms_work_in_the_disconnect_handler() -> None:
    socketio = make(emit_grace=0)
    seen: list[Any] = []

    @socketio.on("connect")
    def connect() -> None:
        join_room("room")

    @socketio.on("disconnect")
    def leaving(reason: str) -> None:
        emit("to myself")
        emit("left", reason, to="room")
        join_room("too late")
        check_cancelled()
        socketio.sleep(0.001)
        seen.append(rooms() == [req.sid, "room"])

    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        peer.cut()
        assert await other.value("left") in {socketio.reason.TRANSPORT_CLOSE, socketio.reason.TRANSPORT_ERROR}
    assert seen == [True, True]


async def test_room_functions_of_a_departed_clients_handler_do_nothing_and_say_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    socketio = make(disconnect_grace=0)
    over = Flag()

    @socketio.event
    def work() -> None:
        emit("working")
        gate.wait()
        join_room("room")
        over.set()

    gate = Flag()
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("work")
        await peer.next("working")
        peer.close()
        await net.empty()
        gate.set()
        await over.seen()
    assert not errors(caplog)


# --- what was queued, and the disconnect handler ----------------------------------------------------------------------


async def test_what_arrived_is_handled_before_the_disconnect_handler() -> None:
    socketio = make()
    gate = Flag()
    seen: list[Any] = []

    @socketio.event
    def first() -> None:
        emit("first")
        gate.wait()

    socketio.on_event("sync", seen.append)

    @socketio.on("async")
    async def coroutine(number: int) -> None:
        seen.append(number)

    socketio.on_event("disconnect", lambda: seen.append("disconnect"))
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("first")
        await peer.next("first")
        for number in range(20):
            peer.emit(["sync", "async"][number % 2], number)
        peer.close()
        await peer.ended()
        gate.set()
        await net.empty()
    assert seen == [*range(20), "disconnect"]


async def test_the_disconnect_handler_waits_for_the_grace_and_no_longer() -> None:
    socketio = make(disconnect_grace=0.1)
    gate = Flag()
    seen: list[str] = []

    @socketio.event
    def stuck() -> None:
        emit("stuck")
        gate.wait()
        seen.append("handler")

    @socketio.event
    def never() -> None:
        raise AssertionError("nothing starts after the disconnect handler")

    socketio.on_event("disconnect", lambda: seen.append("disconnect"))
    socketio.on_event("hello", lambda: "alive")
    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        peer.emit("stuck")
        await peer.next("stuck")
        peer.emit("never")
        peer.close()
        await until(lambda: peer.sid() not in net.hub.sockets)
        assert seen == ["disconnect"]
        assert await other.ask("hello") == ["alive"]
        gate.set()
        await until(lambda: "handler" in seen)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_disconnect_handler_runs_once_whatever_happens_together(kind: str) -> None:
    socketio = make()
    seen: list[str] = []
    if kind == "sync":
        socketio.on_event("disconnect", lambda: seen.append(req.sid))
    else:

        @socketio.on("disconnect")
        async def leaving() -> None:
            await anyio.lowlevel.checkpoint()
            seen.append(req.sid)

    socketio.on_event("end", lambda: disconnect())
    async with serving(socketio) as net:
        peers = await net.peers(30)
        for peer in peers:
            peer.emit("end")
            peer.leave()
            net.hub.disconnect(peer.sid(), "/")
            peer.close()
        for peer in peers:
            await peer.ended()
        await net.empty()
    assert sorted(seen) == sorted(peer.sid() for peer in peers)


async def test_a_slow_disconnect_handler_holds_up_nobody() -> None:
    socketio = make(worker_threads=1, max_threads=1)
    gate = Flag()
    socketio.on_event("disconnect", gate.wait)
    socketio.on_event("hello", lambda: "alive")
    async with serving(socketio) as net:
        peers = await net.peers(5)
        other = await net.peer()
        for peer in peers:
            peer.close()
        for peer in peers:
            await peer.ended()
        assert await other.ask("hello") == ["alive"]
        gate.set()


async def test_what_a_disconnect_handler_emits_first_does_not_wait_for_its_end() -> None:
    socketio = make()
    gate = Flag()

    @socketio.on("disconnect")
    def leaving() -> None:
        emit("left", broadcast=True)
        gate.wait()

    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        peer.close()
        await other.next("left")
        gate.set()
