"""The deadline heap: exact, ordered, without leaks (design §8.13)."""

from __future__ import annotations

import gc
import logging
import weakref

import anyio
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.kit import settle, virtual
from trioflask_sio.engine.timers import Timers

logger = logging.getLogger("test.timers")


class Thing:
    def touch(self) -> None:
        pass


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60))
def test_what_is_not_cancelled_fires_in_order_at_its_moment(plan: list[tuple[int, bool]]) -> None:
    async def main() -> None:
        timers = Timers(logger)
        fired: list[tuple[float, int]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timers.run)
            await settle()
            made = [
                timers.call_at(float(at), lambda n=n: fired.append((trio.current_time(), n)))
                for n, (at, _) in enumerate(plan)
            ]
            for timer, (_, cancel) in zip(made, plan, strict=True):
                if cancel:
                    timer.cancel()
                    timer.cancel()
            assert len(timers) == sum(not cancel for _, cancel in plan)
            await trio.sleep(60)
            nursery.cancel_scope.cancel()
        assert fired == sorted((float(at), n) for n, (at, cancel) in enumerate(plan) if not cancel)
        assert not any(timer.active for timer in made)
        assert len(timers) == 0

    virtual(main)


def test_a_nearer_deadline_wakes_the_sleeper() -> None:
    async def main() -> list[float]:
        timers = Timers(logger)
        fired: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timers.run)
            await settle()
            timers.call_later(100, lambda: fired.append(trio.current_time()))
            await settle()
            timers.call_later(10, lambda: fired.append(trio.current_time()))
            timers.call_soon(lambda: fired.append(trio.current_time()))
            assert fired == []
            await trio.sleep(200)
            nursery.cancel_scope.cancel()
        return fired

    assert virtual(main) == [0, 10, 100]


def test_a_timer_may_set_and_cancel_others() -> None:
    async def main() -> list[str]:
        timers = Timers(logger)
        fired: list[str] = []

        def first() -> None:
            fired.append("first")
            victim.cancel()
            timers.call_soon(fired.append, "soon")

        async with trio.open_nursery() as nursery:
            timers.call_at(5, first)
            victim = timers.call_at(5, fired.append, "victim")
            nursery.start_soon(timers.run)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        return fired

    assert virtual(main) == ["first", "soon"]


def test_a_million_cancelled_timers_hold_no_memory() -> None:
    timers = Timers(logger)
    keep = [timers.call_at(1e9, print) for _ in range(10)]
    for n in range(100_000):
        timers.call_at(1e6 + n, print).cancel()
        assert timers.held < 200
    assert len(timers) == 10
    assert all(timer.active for timer in keep)


def test_a_cancelled_or_fired_timer_lets_go_of_what_it_would_call() -> None:
    timers = Timers(logger)
    thing = Thing()
    seen = weakref.ref(thing)
    timer = timers.call_at(1.0, thing.touch)
    timer.cancel()
    del thing
    gc.collect()
    assert seen() is None
    assert timers.held == 1
    assert "over" in repr(timer)


def test_clear_forgets_everything() -> None:
    timers = Timers(logger)
    timer = timers.call_at(1.0, print)
    timers.clear()
    assert (len(timers), timers.held, timer.active) == (0, 0, False)
    timer.cancel()
    assert len(timers) == 0


def test_a_callback_that_fails_is_logged_and_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[str]:
        timers = Timers(logger)
        fired: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(timers.run)
            timers.call_at(1, lambda: 1 // 0)
            timers.call_at(1, fired.append, "next")
            await trio.sleep(2)
            nursery.cancel_scope.cancel()
        return fired

    assert virtual(main) == ["next"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def test_many_at_one_moment_let_the_loop_breathe() -> None:
    async def main() -> bool:
        timers = Timers(logger)
        fired: list[int] = []
        between: list[int] = []
        async with trio.open_nursery() as nursery:
            for n in range(2000):
                timers.call_at(1, fired.append, n)
            nursery.start_soon(timers.run)

            @nursery.start_soon
            async def other() -> None:
                await trio.sleep(1)
                while len(fired) < 2000:
                    between.append(len(fired))
                    await trio.lowlevel.checkpoint()

            await trio.sleep(2)
            nursery.cancel_scope.cancel()
        assert fired == list(range(2000))
        return len(set(between)) > 3

    assert virtual(main)


@pytest.mark.anyio
async def test_it_works_on_both_loops() -> None:
    timers = Timers(logger)
    rang = anyio.Event()
    async with anyio.create_task_group() as nursery:
        nursery.start_soon(timers.run)
        await settle()
        timers.call_later(0.005, rang.set)
        timers.call_later(0.001, lambda: None)
        start = anyio.current_time()
        await rang.wait()
        assert anyio.current_time() - start >= 0.005
        nursery.cancel_scope.cancel()
