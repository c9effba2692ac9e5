"""The border alone: order, bounds, one wake-up per burst, errors, its end (design §8.3, §8.16)."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.bridge.kit import DEADLINE, errors, in_thread, until
from trioflask_sio import NotServing, UsageError
from trioflask_sio.bridge import portal
from trioflask_sio.bridge.portal import Backend, Border, BorderState, current_backend
from trioflask_sio.protocol.limits import BORDER_BYTES, BORDER_ITEMS

pytestmark = pytest.mark.anyio


class Counting:
    """A loop that counts how often it is woken, and can be held up."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name, self.thread_id, self.now = backend.name, backend.thread_id, backend.now
        self.host_thread, self.pump, self.wake = backend.host_thread, backend.pump, backend.wake
        self.woken = 0
        self.held: list[Callable[[], None]] | None = None
        self.alive = True

    def ask(self, fn: Callable[[], None]) -> bool:
        self.woken += 1
        if self.held is not None:
            self.held.append(fn)
            return True
        return self.alive and self._backend.ask(fn)

    def hold(self) -> None:
        """Nothing is drained from here on."""
        self.held = []

    def let_go(self) -> None:
        held, self.held = self.held, None
        for fn in held or ():
            self._backend.ask(fn)


class Parking:
    """Counts who waits without a place."""

    def __init__(self) -> None:
        self.waiting = 0
        self.most = 0

    def __call__(self) -> Callable[[], None]:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        return self._back

    def _back(self) -> None:
        self.waiting -= 1


@asynccontextmanager
async def bound() -> AsyncIterator[tuple[Border, Counting, Parking]]:
    border, backend, parking = Border(), Counting(current_backend()), Parking()
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as group:
            group.start_soon(backend.pump)
            border.bind(backend, lambda: None, parking)
            yield border, backend, parking
            border.close()
            group.cancel_scope.cancel()


async def test_each_threads_acts_take_effect_in_its_order() -> None:
    got: list[tuple[int, int]] = []

    def act(border: Border, thread: int) -> None:
        for number in range(500):
            border.post(got.append, (thread, number))

    async with bound() as (border, _, _):
        async with anyio.create_task_group() as group:
            for thread in range(4):
                group.start_soon(in_thread, act, border, thread)
        await until(lambda: len(got) == 2_000)
    for thread in range(4):
        assert [number for who, number in got if who == thread] == list(range(500))


async def test_a_burst_wakes_the_loop_once() -> None:
    got: list[int] = []
    async with bound() as (border, backend, _):
        for number in range(1_000):
            border.post(got.append, number)
        assert backend.woken == 1
        await until(lambda: len(got) == 1_000)
        border.post(got.append, 1_000)
        assert backend.woken == 2
    assert got == list(range(1_001))


async def test_a_call_comes_back_with_the_result_or_the_error() -> None:
    def fail() -> None:
        raise KeyError("x")

    async with bound() as (border, _, parking):
        assert await in_thread(border.call, threading.get_ident) == threading.get_ident()
        assert border.call(threading.get_ident) == threading.get_ident(), "on the loop it runs at once"
        with pytest.raises(KeyError, match="x"):
            await in_thread(border.call, fail)
        assert (parking.waiting, parking.most) == (0, 1)


async def test_a_call_on_the_loop_comes_after_what_is_queued() -> None:
    got: list[int] = []
    async with bound() as (border, _, _):
        await in_thread(lambda: border.put(got.append, (1,)))
        border.call(got.append, 2)
    assert got == [1, 2]


async def test_an_error_in_an_act_is_logged_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    got: list[int] = []

    def fail() -> None:
        raise KeyError("x")

    async with bound() as (border, _, _):
        for number in range(3):
            border.post(got.append, number)
            border.post(fail)
        await until(lambda: len(got) == 3)
    assert len(errors(caplog)) == 3


async def test_an_error_after_the_drain_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise KeyError("x")

    got: list[int] = []
    async with bound() as (border, backend, parking):
        border.bind(backend, fail, parking)
        border.post(got.append, 1)
        await until(lambda: got == [1])
        border.bind(backend, lambda: None, parking)
    assert errors(caplog)


@pytest.mark.parametrize("size", [0, 1_000_000])
async def test_a_thread_that_is_ahead_of_the_loop_waits_without_a_place(size: int) -> None:
    most = BORDER_BYTES // size if size else BORDER_ITEMS
    posted: list[int] = []
    got: list[int] = []

    def pour(border: Border) -> None:
        for number in range(most + 50):
            border.post(got.append, number, size=size)
            posted.append(number)

    async with bound() as (border, backend, parking):
        backend.hold()
        async with anyio.create_task_group() as group:
            group.start_soon(in_thread, pour, border)
            await until(lambda: parking.waiting == 1)
            assert len(posted) == most, "the last one is queued, and its thread waits"
            border.post(got.append, -1)  # the loop's own thread never waits
            backend.let_go()
        await until(lambda: len(got) == most + 51)
        assert parking.waiting == 0
        assert border._bytes == 0
    assert [number for number in got if number >= 0] == list(range(most + 50))


async def test_who_waits_for_room_is_released_by_the_end() -> None:
    told: list[str] = []

    def pour(border: Border) -> None:
        try:
            while True:
                border.post(len, "x")
        except NotServing:
            told.append("refused")

    async with anyio.create_task_group() as group, bound() as (border, backend, parking):
        backend.hold()
        group.start_soon(in_thread, pour, border)
        await until(lambda: parking.waiting == 1)
    assert told == ["refused"]


async def test_what_was_queued_before_the_end_is_carried_out() -> None:
    got: list[int] = []
    async with bound() as (border, backend, _):
        backend.hold()
        for number in range(10):
            await in_thread(border.post, got.append, number)
    assert got == list(range(10))
    assert border.state is BorderState.CLOSED


async def test_every_way_in_is_refused_before_the_start_and_after_the_end() -> None:
    border = Border()
    for act in (border.post, border.call, lambda fn: border.put(fn, ())):
        with pytest.raises(UsageError, match="serve"):
            act(list)
    assert not border.offer(list)
    async with bound() as (border, _, _):
        assert border.offer(list)
    for act in (border.post, lambda fn: border.put(fn, ())):
        with pytest.raises(NotServing):
            act(list)
    assert not border.offer(list)
    border.unbind()
    with pytest.raises(NotServing):
        border.call(list)


async def test_a_loop_that_is_dead_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal, "LOST_LOOP", 0.01)
    async with bound() as (border, backend, parking):
        backend.alive = False
        with pytest.raises(NotServing):
            await in_thread(border.call, list)
        assert parking.waiting == 0


async def test_threads_that_act_while_the_border_closes_never_hang() -> None:
    ended: list[int] = []

    def act(border: Border, number: int) -> None:
        try:
            while True:
                border.call(len, "x")
        except NotServing:
            ended.append(number)

    async with anyio.create_task_group() as group, bound() as (border, _, _):
        for number in range(8):
            group.start_soon(in_thread, act, border, number)
        await until(lambda: border._woken)
    assert sorted(ended) == list(range(8))
