"""The life of a serving: start, stop, again, two at once, cancelled; and that nothing is left (design §8.11, §8.14)."""

from __future__ import annotations

import gc
import logging
import threading
from collections import Counter
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from flask import Flask

from tests.bridge.kit import DEADLINE, Flag, Net, Refused, errors, in_thread, make, req, serving, until
from trioflask_sio import NotServing, SocketIO, UsageError, aio, disconnect, emit
from trioflask_sio.bridge.context import Connection
from trioflask_sio.engine.session import Session
from trioflask_sio.hub.client import Client
from trioflask_sio.hub.lanes import Lane
from trioflask_sio.hub.socket import Socket

pytestmark = pytest.mark.anyio


# --- init_app -----------------------------------------------------------------------------------------------------


async def test_handlers_registered_before_between_and_after_init_app_all_count() -> None:
    socketio = SocketIO(ping_interval=7)
    socketio.on_event("before", lambda: "before")
    app = Flask("first")
    socketio.init_app(app, ping_timeout=3)
    assert app.extensions["socketio"] is socketio
    socketio.on_event("between", lambda: "between")
    second = Flask("second")
    socketio.init_app(second)
    socketio.on_event("after", lambda: req.environ["flask.app"].name)
    async with serving(socketio) as net:
        peer = await net.peer()
        assert await peer.ask("before") == ["before"]
        assert await peer.ask("between") == ["between"]
        assert await peer.ask("after") == ["second"]
        assert (net.runtime.engine.config.ping_interval, net.runtime.engine.config.ping_timeout) == (7, 3)
        with pytest.raises(UsageError, match="init_app"):
            socketio.init_app(Flask("third"))
        socketio.on_event("while serving", lambda: "new")
        assert await peer.ask("while serving") == ["new"]


async def test_an_object_without_an_application_is_not_served() -> None:
    with pytest.raises(UsageError, match="init_app"):
        SocketIO().next_runtime()


async def test_two_objects_at_once_keep_apart() -> None:
    first, second = make(), make()
    for number, socketio in enumerate((first, second), 1):
        socketio.on_event("who", lambda number=number: number)
        socketio.on_event("shout", lambda number=number: emit("shout", number, broadcast=True))
    async with serving(first) as one, serving(second) as two:
        peer, other = await one.peer(), await two.peer()
        assert await peer.ask("who") == [1]
        assert await other.ask("who") == [2]
        peer.emit("shout")
        assert await peer.value("shout") == 1
        other.emit("shout")
        assert await other.value("shout") == 2
        first.emit("end")
        second.emit("end")
        assert await peer.names_until("end") == []
        assert await other.names_until("end") == []


async def test_serving_twice_at_once_is_an_error_and_again_afterwards_is_not() -> None:
    socketio = make()
    socketio.on_event("hello", lambda: "hello")
    for _ in range(3):
        async with serving(socketio) as net:
            with pytest.raises(UsageError, match="already"):
                socketio.next_runtime()
            with pytest.raises(UsageError, match="already"):
                async with net.runtime.running():
                    pass
            peer = await net.peer()
            assert await peer.ask("hello") == ["hello"]
            socketio.emit("x", 1)
            assert await peer.value("x") == 1
        with pytest.raises(NotServing):
            socketio.emit("x")


async def test_two_threads_that_ask_first_get_the_same_runtime() -> None:
    for _ in range(20):
        socketio = make()
        barrier = threading.Barrier(4)
        seen: list[Any] = []

        def ask(socketio: SocketIO = socketio, barrier: Any = barrier, seen: list[Any] = seen) -> None:
            barrier.wait(5)
            seen.append(socketio.runtime)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert len(set(map(id, seen))) == 1


# --- background tasks -----------------------------------------------------------------------------------------------


async def test_background_tasks_of_both_kinds_emit_and_are_joined() -> None:
    socketio = make()

    def plain(number: int, *, word: str) -> None:
        socketio.sleep(0.001)
        socketio.emit("x", [number, word])

    async def coroutine(number: int, *, word: str) -> None:
        await aio.sleep(0.001)
        socketio.emit("x", [number, word])

    async with serving(socketio) as net:
        peer = await net.peer()
        for target in (plain, coroutine):
            task = await in_thread(lambda target=target: socketio.start_background_task(target, 1, word="a"))
            assert await peer.value("x") == [1, "a"]
            await in_thread(task.join)
            assert not task.is_alive()
            assert "ended" in repr(task)


async def test_one_started_before_the_server_waits_for_it_also_over_a_change_of_options() -> None:
    socketio = SocketIO()
    seen: list[str] = []
    task = socketio.start_background_task(seen.append, "ran")
    assert not task.is_alive()
    assert "waiting" in repr(task)
    with pytest.raises(UsageError, match="starts when the server does"):
        task.join()
    task.join(timeout=0)
    socketio.init_app(Flask("late"), ping_interval=5)
    assert seen == []
    async with serving(socketio):
        await in_thread(task.join)
    assert seen == ["ran"]


async def test_one_started_in_a_handler_outlives_its_client() -> None:
    socketio = make()

    def later(sid: str) -> None:
        while sid in net.hub.sockets:
            socketio.sleep(0.001)
        socketio.emit("gone", sid)

    socketio.on_event("go", lambda: socketio.start_background_task(later, req.sid) and None)
    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        await peer.ask("go")
        peer.close()
        assert await other.value("gone") == peer.sid()


async def test_the_stop_ends_them_without_waiting_for_its_grace() -> None:
    socketio = make()
    ended: list[str] = []

    def plain() -> None:
        try:
            while True:
                socketio.sleep(3600)
        finally:
            ended.append("sync")

    async def coroutine() -> None:
        try:
            await aio.sleep(3600)
        finally:
            ended.append("async")

    async with serving(socketio):
        tasks = [socketio.start_background_task(target) for target in (plain, coroutine)]
        await until(lambda: all(task.is_alive() for task in tasks))
        begun = anyio.current_time()
    assert anyio.current_time() - begun < 0.9
    assert sorted(ended) == ["async", "sync"]
    assert not any(task.is_alive() for task in tasks)
    with pytest.raises(NotServing):
        socketio.start_background_task(plain)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_their_errors_are_logged_and_end_nothing(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()

    def plain(error: BaseException) -> None:
        raise error

    async def coroutine(error: BaseException) -> None:
        raise error

    socketio.on_event("hello", lambda: "alive")
    async with serving(socketio) as net:
        peer = await net.peer()
        for error in (KeyError("x"), SystemExit(1)):
            task = socketio.start_background_task(plain if kind == "sync" else coroutine, error)
            await in_thread(task.join)
        assert await peer.ask("hello") == ["alive"]
    assert len(errors(caplog)) == 2
    with pytest.raises(TypeError, match="callable"):
        socketio.start_background_task("x")  # type: ignore[arg-type]  # the mistake


# --- the end --------------------------------------------------------------------------------------------------------


async def no_thread_left() -> None:
    """A thread that has given its result back may live some microseconds longer."""
    await until(lambda: not any(thread.name.startswith("trioflask_sio") for thread in threading.enumerate()))


def kept() -> Counter[str]:
    """How many objects of one client are alive."""
    gc.collect()
    kinds = (Session, Client, Socket, Lane, Connection)
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds))


async def test_nothing_is_left_after_two_hundred_clients_of_every_ending() -> None:
    socketio = make(disconnect_grace=0.1)
    left: list[str] = []
    gate = Flag()
    socketio.on_event("disconnect", lambda: left.append(req.sid))
    socketio.on_event("sleep", lambda: socketio.sleep(60))
    socketio.on_event("stuck", gate.wait)
    socketio.on_event("out", lambda: disconnect())
    socketio.on_event("ask", lambda: socketio.call("question", to=req.sid))

    @socketio.on("wait")
    async def wait() -> None:
        await anyio.sleep_forever()

    @socketio.on("connect", namespace="/no")
    def refuse() -> bool:
        return False

    before = kept()
    async with serving(socketio) as net:
        for number in range(200):
            peer = await net.peer()
            peer.emit(["sleep", "stuck", "out", "ask", "wait"][number % 5])
            if number % 7 == 0:
                with pytest.raises(Refused):
                    await peer.connect("/no")
            for ending in [(peer.leave,), (peer.close,), (peer.cut,), ()][number % 4]:
                ending()
        del peer
        gate.set()
    assert len(left) == 200
    assert len(net.runtime.timers) == 0
    assert net.runtime.pool.stuck() == []
    del net
    await no_thread_left()
    assert kept() == before


async def test_a_departed_client_leaves_no_trace_while_the_server_goes_on() -> None:
    socketio = make()
    socketio.on_event("sync", lambda: emit("x"))

    @socketio.on("async")
    async def coroutine() -> None:
        await anyio.lowlevel.checkpoint()

    async with serving(socketio) as net:
        stays = await net.peer()
        await stays.ask("sync")
        await stays.ask("async")
        before = kept()
        for _ in range(10):
            peer = await net.peer()
            await peer.ask("sync")
            await peer.ask("async")
            peer.close()
            await peer.ended()
            await net.empty_but(1)
            del peer
        assert await stays.ask("async") == []
        pool = net.runtime.pool  # a thread that has given its result back may hold the work some microseconds longer
        await until(lambda: pool.handlers.busy == pool.farewells.busy == 0)
        assert kept() == before


async def test_a_handler_stuck_in_foreign_code_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make(disconnect_grace=0.05)
    gate, over = Flag(), Flag()
    left: list[str] = []
    caught: list[type] = []

    @socketio.event
    def stuck() -> None:
        emit("stuck")
        gate.wait()
        try:
            emit("x", broadcast=True)
        except BaseException as error:
            caught.append(type(error))
        over.set()

    socketio.on_event("disconnect", lambda: left.append(req.sid))
    with caplog.at_level(logging.WARNING):
        async with serving(socketio, shutdown_timeout=0.5) as net:
            peer = await net.peer()
            peer.emit("stuck")
            await peer.next("stuck")
    assert left == [peer.sid()]
    assert "'stuck'" in caplog.text
    assert "left behind" in caplog.text
    gate.set()
    await over.seen()
    assert caught == [NotServing]
    await no_thread_left()


async def test_a_cancelled_serving_still_runs_the_disconnect_handlers() -> None:
    socketio = make()
    left: list[str] = []

    @socketio.on("disconnect")
    def leaving(reason: str) -> None:
        socketio.sleep(0.01)
        left.append(reason)

    @socketio.on("disconnect", namespace="/async")
    async def leaving_async(reason: str) -> None:
        await aio.sleep(0.01)
        left.append(reason)

    with anyio.fail_after(DEADLINE), anyio.CancelScope() as scope:
        async with serving(socketio) as net:
            for namespace in ("/", "/async", "/"):
                await net.peer(namespace)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert left == [socketio.reason.SERVER_DISCONNECT] * 3
    assert not net.hub.sockets


async def test_a_disconnect_handler_that_never_ends_holds_up_the_stop_until_the_deadline_only() -> None:
    socketio = make()
    gate = Flag()
    socketio.on_event("disconnect", gate.wait)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as group:
            runtime = socketio.next_runtime()
            begun = anyio.current_time()
            async with runtime.running(0.2), anyio.create_task_group() as hosting:
                await hosting.start(runtime.run_engine)
                await Net(socketio, runtime, group).peer()
                hosting.cancel_scope.cancel()
            assert anyio.current_time() - begun < 4
            group.cancel_scope.cancel()
    gate.set()
    await no_thread_left()


@pytest.mark.parametrize("steps", range(12))
async def test_a_start_that_is_cancelled_hangs_nowhere(steps: int) -> None:
    socketio = make()
    runtime = socketio.next_runtime()

    async def start() -> None:
        async with runtime.running(0.1):
            await anyio.sleep_forever()

    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(start)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    assert not runtime.serving
    async with serving(socketio) as net:
        await net.peer()


async def test_an_error_in_the_block_comes_out_and_everything_ends() -> None:
    socketio = make()
    runtime = socketio.next_runtime()
    with pytest.raises(BaseException) as caught:
        async with runtime.running(0.1):
            raise KeyError("x")
    assert "KeyError" in repr(caught.value)
    assert not runtime.serving
    await no_thread_left()
