"""The resident threads: how many there are, when they come, when they go."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from anyio import to_thread

from tests.bridge.wsgi_driver import DEADLINE
from trioflask_sio.bridge.portal import current_backend
from trioflask_sio.bridge.view_threads import ViewThreads
from trioflask_sio.exceptions import NotServing

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def threads(limit: int, *, idle_seconds: float = 60) -> AsyncIterator[ViewThreads]:
    pool = ViewThreads(limit, current_backend(), idle_seconds=idle_seconds)
    with anyio.fail_after(DEADLINE):
        yield pool
        pool.close()
        await pool.ended()
    assert pool.count == 0


class Bell:
    """A ``Sleeper`` that counts its wake-ups."""

    def __init__(self) -> None:
        self.rung = 0
        self.event = anyio.Event()

    def wake(self) -> None:
        self.rung += 1
        self.event.set()


def in_turn(*steps: Callable[[], object]) -> Callable[[], None]:
    """A job of several steps."""

    def job() -> None:
        for step in steps:
            step()

    return job


def note_thread(pool: ViewThreads, host: list[threading.Thread], bell: Bell) -> None:
    """A job that says where it ran."""
    host.append(threading.current_thread())
    pool.wake(bell)


async def test_threads_are_started_on_demand_and_used_again() -> None:
    ran: list[str] = []
    async with threads(10) as pool:
        assert pool.count == 0
        for number in range(5):
            bell = Bell()
            pool.submit(in_turn(partial(ran.append, str(number)), partial(pool.wake, bell)))
            await bell.event.wait()
        assert 1 <= pool.count <= 2  # a second one only where the first was not back yet
    assert ran == ["0", "1", "2", "3", "4"]


async def test_a_blocked_thread_never_keeps_a_job_waiting_below_the_limit() -> None:
    go = threading.Event()
    async with threads(50) as pool:
        for _ in range(30):
            blocked, bell = threading.Event(), Bell()
            pool.submit(in_turn(blocked.set, partial(go.wait, DEADLINE)))
            assert await to_thread.run_sync(blocked.wait, DEADLINE)
            pool.submit(partial(pool.wake, bell))
            await bell.event.wait()
        go.set()


async def test_the_limit_holds_and_jobs_wait_in_order() -> None:
    go = threading.Event()
    order: list[int] = []
    async with threads(1) as pool:
        pool.submit(in_turn(partial(go.wait, DEADLINE)))
        for number in range(20):
            pool.submit(partial(order.append, number))
        assert pool.count == 1
        go.set()
    assert order == list(range(20))  # closing lets what was submitted run


async def test_idle_threads_end_and_new_ones_come() -> None:
    async with threads(5, idle_seconds=0.001) as pool:
        for _ in range(20):
            host: list[threading.Thread] = []
            bell = Bell()
            pool.submit(partial(note_thread, pool, host, bell))
            await bell.event.wait()
            await to_thread.run_sync(host[0].join, DEADLINE)
            assert not host[0].is_alive()


async def test_jobs_that_race_with_idle_ends_are_all_run() -> None:
    done: list[int] = []
    async with threads(3, idle_seconds=0.0002) as pool:
        for number in range(500):
            pool.submit(partial(done.append, number))
            if number % 7 == 0:
                await anyio.sleep(0.0002)  # the length of the idle time: ends and submits meet
    assert sorted(done) == list(range(500))


async def test_every_wake_up_arrives() -> None:
    bells = [Bell() for _ in range(300)]
    async with threads(8) as pool:
        for bell in bells:
            pool.submit(partial(pool.wake, bell))
        for bell in bells:
            await bell.event.wait()
    assert [bell.rung for bell in bells] == [1] * 300


async def test_closing_is_idempotent_and_final() -> None:
    async with threads(2) as pool:
        pool.submit(lambda: None)
        pool.close()
        with pytest.raises(NotServing):
            pool.submit(lambda: None)


async def test_a_finished_job_is_not_kept_alive_by_its_thread() -> None:
    import gc
    import weakref

    class Job:
        def __call__(self) -> None:
            pass

    async with threads(1) as pool:
        job = Job()
        dead = weakref.ref(job)
        pool.submit(job)
        del job
        bell = Bell()
        pool.submit(lambda: pool.wake(bell))
        await bell.event.wait()
        gc.collect()
        assert dead() is None


def _no_more_threads(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_a_system_without_threads_is_an_error_for_the_first_job_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go, bell = threading.Event(), Bell()
    async with threads(5) as pool:
        with monkeypatch.context() as poor:
            poor.setattr(threading.Thread, "start", _no_more_threads)
            with pytest.raises(RuntimeError, match="can't start"):
                pool.submit(lambda: None)
        blocked = threading.Event()
        pool.submit(in_turn(blocked.set, partial(go.wait, DEADLINE)))
        assert await to_thread.run_sync(blocked.wait, DEADLINE)
        with monkeypatch.context() as poor:
            poor.setattr(threading.Thread, "start", _no_more_threads)
            pool.submit(lambda: pool.wake(bell))  # waits for the thread there is
        go.set()
        await bell.event.wait()
    assert "views share the 1 there are" in caplog.text
