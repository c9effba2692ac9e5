"""``call()`` and the callbacks of ``emit`` (spec 1.9.1, 1.9.3, 6.4 #8, #10)."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest

from tests.bridge.kit import Flag, Peer, errors, in_thread, make, req, serving, until
from trioflask_sio import ClientGone, HandlerCancelled, NotServing, SocketIO, TimeoutError, UsageError, aio, call, emit

pytestmark = pytest.mark.anyio


def asking(socketio: SocketIO) -> None:
    """Handlers that ask their client, or another one, and return the answer."""

    @socketio.event
    def sync(to: str | None = None) -> Any:
        return [call("question", 1, to=to)]

    @socketio.on("async")
    async def coroutine(to: str | None = None) -> Any:
        return [await aio.call("question", 1, to=to)]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("answer", "value"),
    [((), None), ((5,), 5), ((None,), None), ((1, "b"), [1, "b"]), (([1, 2],), [1, 2]), ((b"x",), b"x")],
)
async def test_the_shapes_of_an_answer(kind: str, answer: tuple[Any, ...], value: Any) -> None:
    socketio = make()
    asking(socketio)
    async with serving(socketio) as net:
        peer = await net.peer()
        number = peer.start_ask(kind)
        question = await peer.next("question")
        assert question.args == [1]
        peer.answer(question, *answer)
        assert await peer.acked(number) == [[value]]


async def test_several_values_are_a_tuple_in_the_handler() -> None:
    socketio = make()
    async with serving(socketio) as net:
        peer = await net.peer()
        async with anyio.create_task_group() as group:
            group.start_soon(answer_one, peer, 1, 2)
            assert await in_thread(lambda: socketio.call("question", to=peer.sid())) == (1, 2)


async def answer_one(peer: Peer, *args: Any) -> None:
    peer.answer(await peer.next("question"), *args)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_of_another_client(kind: str) -> None:
    socketio = make()
    asking(socketio)
    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        number = peer.start_ask(kind, other.sid())
        await answer_one(other, "from the other")
        assert await peer.acked(number) == [["from the other"]]


@pytest.mark.parametrize("kind", ["sync", "async", "thread"])
async def test_it_ends_at_once_when_the_asked_client_leaves(kind: str) -> None:
    socketio = make()
    told: list[Any] = []

    @socketio.event
    def sync(to: str) -> None:
        with pytest.raises(ClientGone, match="question"):
            call("question", to=to)
        told.append("gone")

    @socketio.on("async")
    async def coroutine(to: str) -> None:
        with pytest.raises(ClientGone, match="question"):
            await aio.call("question", to=to)
        told.append("gone")

    def thread(to: str) -> None:
        with pytest.raises(ClientGone, match="question"):
            socketio.call("question", to=to)
        told.append("gone")

    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        async with anyio.create_task_group() as group:
            if kind == "thread":
                group.start_soon(in_thread, thread, other.sid())
            else:
                peer.emit(kind, other.sid())
            await other.next("question")
            begun = anyio.current_time()
            other.close()
            await until(lambda: told == ["gone"])
        assert anyio.current_time() - begun < 3


@pytest.mark.parametrize("kind", ["sync", "async", "thread"])
async def test_nobody_there_is_gone_too(kind: str) -> None:
    socketio = make()

    @socketio.event
    def sync() -> str:
        with pytest.raises(ClientGone):
            call("question", to="nobody")
        return "gone"

    @socketio.on("async")
    async def coroutine() -> str:
        with pytest.raises(ClientGone):
            await aio.call("question", to="nobody")
        return "gone"

    async with serving(socketio) as net:
        peer = await net.peer()
        if kind == "thread":
            with pytest.raises(ClientGone):
                await in_thread(lambda: socketio.call("question", to="nobody"))
        else:
            assert await peer.ask(kind) == ["gone"]


@pytest.mark.parametrize("kind", ["sync", "async", "thread"])
async def test_no_answer_in_time(kind: str) -> None:
    socketio = make()

    @socketio.event
    def sync() -> str:
        with pytest.raises(TimeoutError, match=r"question.*0\.02 s"):
            call("question", timeout=0.02)
        return "late"

    @socketio.on("async")
    async def coroutine() -> str:
        with pytest.raises(TimeoutError, match=r"question.*0\.02 s"):
            await aio.call("question", timeout=0.02)
        return "late"

    socketio.on_event("hello", lambda: "alive")
    async with serving(socketio) as net:
        peer = await net.peer()
        if kind == "thread":
            with pytest.raises(TimeoutError):
                await in_thread(lambda: socketio.call("question", to=peer.sid(), timeout=0.02))
        else:
            assert await peer.ask(kind) == ["late"]
        peer.answer(await peer.next("question"), "too late")
        assert await peer.ask("hello") == ["alive"], "a late answer is no offence"
        assert len(net.hub._acks) == 0
        assert len(net.runtime.timers) == 0


async def test_without_a_timeout_it_waits_as_long_as_the_client_is_there() -> None:
    socketio = make()
    socketio.on_event("go", lambda: call("question", timeout=None))
    async with serving(socketio) as net:
        peer = await net.peer()
        number = peer.start_ask("go")
        await answer_one(peer, "here")
        assert await peer.acked(number) == ["here"]


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    socketio = make()
    over = Flag()

    @socketio.event
    def go(to: str) -> None:
        try:
            call("question", to=to)
        except HandlerCancelled:
            over.set()
            raise

    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        peer.emit("go", other.sid())
        await other.next("question")
        peer.close()
        await over.seen()
        await until(lambda: len(net.hub._acks) == 0 and len(net.runtime.timers) == 0)


async def test_where_it_cannot_wait() -> None:
    with pytest.raises(UsageError, match="serve"):
        make().call("question", to="x")
    with pytest.raises(ValueError, match="broadcast"):
        make().call("question")
    with pytest.raises(ValueError, match="broadcast"):
        make().call("question", to=[])
    with pytest.raises(RuntimeError, match="async_handlers"):
        make(async_handlers=False).call("question", to="x")
    socketio = make()
    async with serving(socketio):
        pass
    with pytest.raises(NotServing):
        socketio.call("question", to="x")


async def test_a_call_from_a_foreign_thread_ends_with_the_server() -> None:
    socketio = make()
    told: list[type] = []

    def ask(sid: str) -> None:
        try:
            socketio.call("question", to=sid)
        except Exception as error:
            told.append(type(error))

    async with anyio.create_task_group() as group, serving(socketio) as net:
        peer = await net.peer()
        group.start_soon(in_thread, ask, peer.sid())
        await peer.next("question")
    assert told == [ClientGone]


# --- callbacks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_callback_runs_in_the_emitting_clients_context(kind: str) -> None:
    socketio = make()
    seen: list[Any] = []

    def called(*args: Any) -> None:
        seen.append((req.sid, req.namespace, req.event["message"], req.event["args"], args))
        emit("called")

    @socketio.event
    def sync(to: str) -> None:
        emit("question", to=to, callback=called)

    @socketio.on("async")
    async def coroutine(to: str) -> None:
        emit("question", to=to, callback=called)

    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        peer.emit(kind, other.sid())
        await answer_one(other, 1, {"b": b"x"})
        await peer.next("called")
    args = (1, {"b": b"x"})
    assert seen == [(peer.sid(), "/", None, args, args)]


async def test_a_broadcasts_callback_runs_once_per_recipient() -> None:
    socketio = make()
    seen: list[int] = []
    socketio.on_event("go", lambda: emit("question", broadcast=True, callback=seen.append))
    async with serving(socketio) as net:
        peers = await net.peers(4)
        peers[0].emit("go")
        for number, peer in enumerate(peers):
            question = await peer.next("question")
            peer.answer(question, number)
            peer.answer(question, "a second answer is ignored")
        await until(lambda: len(seen) == 4)
    assert sorted(seen) == [0, 1, 2, 3]


async def test_a_callback_from_a_foreign_thread_runs_bare(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    seen: list[Any] = []

    def called(*args: Any) -> None:
        from flask import has_app_context

        seen.append((has_app_context(), threading.current_thread().name, args))
        raise KeyError("logged, and nothing else")

    async with serving(socketio) as net:
        peer = await net.peer()
        await in_thread(lambda: socketio.emit("question", to=peer.sid(), callback=called))
        await answer_one(peer, 1)
        await until(lambda: bool(errors(caplog)))
    [(context, thread, args)] = seen
    assert (context, args) == (False, (1,))
    assert thread != threading.current_thread().name
    assert "callback" in errors(caplog)[0].getMessage()


async def test_a_callbacks_error_goes_to_the_error_handler() -> None:
    socketio = make()
    seen: list[Any] = []
    over = Flag()

    @socketio.on_error_default
    def failed(error: BaseException) -> None:
        seen.append((repr(error), req.sid))
        over.set()

    def called() -> None:
        raise KeyError("x")

    socketio.on_event("go", lambda: emit("question", callback=called))
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("go")
        await answer_one(peer)
        await over.seen()
    assert seen == [("KeyError('x')", peer.sid())]


async def test_a_callback_of_a_departed_emitter_is_dropped() -> None:
    socketio = make()
    seen: list[Any] = []
    socketio.on_event("go", lambda to: emit("question", to=to, callback=seen.append))
    socketio.on_event("hello", lambda: 1)
    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        peer.emit("go", other.sid())
        question = await other.next("question")
        peer.close()
        await until(lambda: peer.sid() not in net.hub.sockets)
        other.answer(question, 1)
        assert await other.ask("hello") == [1]
    assert seen == []
