"""The worker pool: nobody starves, it grows and shrinks, and says when it cannot (design §4, §8.7)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.bridge.kit import Flag, errors, make, serving, until
from trioflask_sio import SocketIO, call, emit
from trioflask_sio.bridge.portal import Border, current_backend
from trioflask_sio.bridge.seats import Seats
from trioflask_sio.bridge.waiting import CANCELLED, Scope, Waiter
from trioflask_sio.bridge.workers import Crew

pytestmark = pytest.mark.anyio


def waiting(socketio: SocketIO) -> Flag:
    """Handlers that wait, in ``sleep`` and in ``call``, and one that does not."""
    go = Flag()

    @socketio.event
    def sleeper() -> None:
        emit("sleeps")
        while not go.is_set:
            socketio.sleep(0.02)

    @socketio.event
    def caller() -> Any:
        return call("question", timeout=10)

    socketio.on_event("hello", lambda: "at once")
    return go


async def test_waiting_handlers_starve_nobody() -> None:
    socketio = make(worker_threads=2)
    go = waiting(socketio)
    async with serving(socketio) as net:
        peers = await net.peers(20)
        for peer in peers[::2]:
            peer.emit("sleeper")
        asked = [(peer, peer.start_ask("caller")) for peer in peers[1::2]]
        for peer in peers[::2]:
            await peer.next("sleeps")
        questions = [await peer.next("question") for peer, _ in asked]
        other = await net.peer()
        with anyio.fail_after(2):
            assert await other.ask("hello") == ["at once"]
        assert net.runtime.pool.handlers.threads > 2, "they really wait, each in a thread of its own"
        for (peer, number), question in zip(asked, questions, strict=True):
            peer.answer(question, "yes")
            assert await peer.acked(number) == ["yes"]
        go.set()


async def test_only_as_many_handlers_run_as_there_are_places() -> None:
    socketio = make(worker_threads=2)
    lock = threading.Lock()
    running: list[int] = []
    most: list[int] = []

    @socketio.event
    def work() -> None:
        for _ in range(3):
            with lock:
                running.append(1)
                most.append(len(running))
            threading.Event().wait(0.002)
            with lock:
                running.pop()
            socketio.sleep(0.001)

    async with serving(socketio) as net:
        peers = await net.peers(8)
        for number in [(peer, peer.start_ask("work")) for peer in peers]:
            await number[0].acked(number[1])
    assert max(most) <= 2


async def test_the_pool_grows_when_all_are_blocked_and_shrinks_when_idle() -> None:
    socketio = make(worker_threads=8, thread_idle_timeout=0.05)
    gate = Flag()
    socketio.on_event("block", gate.wait)
    async with serving(socketio) as net:
        crew = net.runtime.pool.handlers
        assert crew.threads == 0
        peers = await net.peers(6)
        asked = [(peer, peer.start_ask("block")) for peer in peers]
        await until(lambda: crew.busy == 6)
        gate.set()
        for peer, number in asked:
            await peer.acked(number)
        await until(lambda: crew.threads == 0)
        assert await peers[0].ask("block") == [], "and it grows again"


async def test_a_full_pool_queues_and_serves_when_a_place_comes_free() -> None:
    socketio = make(worker_threads=2)
    gates = [Flag(), Flag()]
    socketio.on_event("block", lambda number: gates[number].wait())
    socketio.on_event("hello", lambda: "late")
    async with serving(socketio) as net:
        one, two, three = await net.peers(3)
        one.emit("block", 0)
        two.emit("block", 1)
        await until(lambda: net.runtime.pool.handlers.busy == 2)
        number = three.start_ask("hello")
        with anyio.move_on_after(0.1) as early:
            await three.acked(number)
        assert early.cancelled_caught
        assert net.runtime.pool.handlers.threads == 2
        gates[0].set()
        assert await three.ask("hello") == ["late"]
        gates[1].set()


async def test_a_pool_without_threads_left_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make(worker_threads=1, max_threads=2)
    go = waiting(socketio)
    async with serving(socketio) as net:
        peers = await net.peers(4)
        for peer in peers[:2]:
            peer.emit("sleeper")
            await peer.next("sleeps")
        asked = [(peer, peer.start_ask("hello")) for peer in peers[2:]]
        await until(lambda: bool(errors(caplog)))
        go.set()
        for peer, number in asked:
            assert await peer.acked(number) == ["at once"]
    [record] = errors(caplog)
    assert "2 threads" in record.getMessage()
    assert "max_threads" in record.getMessage()


async def test_threads_carry_the_name_of_the_pool() -> None:
    socketio = make()
    socketio.on_event("name", lambda: threading.current_thread().name)
    async with serving(socketio) as net:
        peer = await net.peer()
        [name] = await peer.ask("name")
    assert name.startswith("trioflask_sio worker pool")


# --- the crew alone ---------------------------------------------------------------------------------------------------


@pytest.fixture
def border() -> Border:
    return Border()


async def hosted(crew: Crew[Any], border: Border, group: anyio.abc.TaskGroup) -> None:
    backend = current_backend()
    group.start_soon(backend.pump)
    await group.start(crew.run, backend)
    border.bind(backend, lambda: None, lambda: lambda: None)


async def test_work_that_raises_costs_no_thread(border: Border, caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def perform(number: int) -> None:
        if number % 2:
            raise KeyError(number)
        done.append(number)

    crew = Crew[int]("crew", perform, limit=1, max_threads=1, idle_timeout=5, border=border)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            await hosted(crew, border, group)
            for number in range(10):
                crew.put(number)
            await until(lambda: done == [0, 2, 4, 6, 8])
            assert crew.threads == 1
            await crew.stop()
            assert crew.threads == 0
            group.cancel_scope.cancel()
    assert len(errors(caplog)) == 5


async def test_work_put_by_many_threads_while_the_crew_falls_asleep_is_done(border: Border) -> None:
    done: list[int] = []
    crew = Crew[int]("crew", done.append, limit=2, max_threads=2, idle_timeout=0.001, border=border)

    def put(first: int) -> None:
        for number in range(first, first + 50):
            crew.put(number)
            threading.Event().wait(0.0005)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            await hosted(crew, border, group)
            async with anyio.create_task_group() as putting:
                for first in (0, 50, 100, 150):
                    putting.start_soon(anyio.to_thread.run_sync, put, first)
            await until(lambda: len(done) == 200)
            await crew.stop()
            group.cancel_scope.cancel()
    assert sorted(done) == list(range(200))


def test_a_cancelled_waiter_for_a_place_goes_on_without_one_and_loses_none(border: Border) -> None:
    crew = Crew[int]("crew", lambda _: None, limit=1, max_threads=1, idle_timeout=1, border=border)
    assert crew.take_place(None)
    scope = Scope()
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(crew.take_place(scope))) for _ in range(3)]
    for thread in threads:
        thread.start()
    scope.end()
    for thread in threads:
        thread.join(5)
    assert answers == [False] * 3
    assert crew.take_place(scope) is False, "the scope has ended: no place, no waiting"
    crew.give_place()
    assert crew.take_place(None)


def test_places_are_neither_lost_nor_made_under_eight_threads(border: Border) -> None:
    crew = Crew[int]("crew", lambda _: None, limit=3, max_threads=8, idle_timeout=1, border=border)
    inside: list[None] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(300):
            assert crew.take_place(None)
            inside.append(None)
            most.append(len(inside))
            inside.pop()
            crew.give_place()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert max(most) <= 3
    assert len(crew._places) == 3


def test_the_first_wake_up_of_a_waiter_counts() -> None:
    waiter = Waiter()
    assert (waiter.woken, waiter.wait(0)) == (False, False)
    assert (waiter.wake("first"), waiter.wake("second")) == (True, False)
    assert (waiter.woken, waiter.wait(), waiter.wait(0)) == (True, True, True), "the latch stays open"
    assert waiter.value == "first"


def test_a_scope_that_has_ended_wakes_who_enters_late() -> None:
    scope, early, late, left = Scope(), Waiter(), Waiter(), Waiter()
    scope.enter(early)
    scope.enter(left)
    scope.leave(left)
    scope.end()
    scope.end()
    scope.enter(late)
    assert early.value is late.value is CANCELLED
    assert not left.woken


async def test_a_task_that_has_run_a_lane_stays_for_the_next_one() -> None:
    started: list[str] = []
    seen: list[tuple[str, object]] = []

    async with anyio.create_task_group() as tasks:

        async def carry_out(work: str) -> None:
            seen.append((work, anyio.get_current_task().id))
            await anyio.lowlevel.checkpoint()

        def start(fn: Callable[[str], Coroutine[Any, Any, None]], work: str) -> None:
            started.append(work)
            tasks.start_soon(fn, work)

        seats = Seats(carry_out, start)
        seats.put("first")
        seats.put("beside it")
        await anyio.wait_all_tasks_blocked()
        seats.put("second")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert started == ["first", "beside it"]
    assert sorted(work for work, _ in seen[:2]) == ["beside it", "first"]
    assert seen[2][0] == "second"
    assert seen[2][1] in {task for _, task in seen[:2]}
