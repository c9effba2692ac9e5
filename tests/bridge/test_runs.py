"""The right to a lane, job by job, and coroutines driven in a context of their own."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Generator
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from trioflask_sio import HandlerCancelled
from trioflask_sio.bridge.coroutines import drive
from trioflask_sio.bridge.portal import Border
from trioflask_sio.bridge.runs import Run
from trioflask_sio.bridge.waiting import Scope
from trioflask_sio.hub.jobs import Job, JobKind
from trioflask_sio.hub.lanes import Lane

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")


class Nowhere:
    """An executor that only notes what it is asked."""

    def __init__(self) -> None:
        self.scheduled: list[Lane] = []

    def schedule(self, lane: Lane) -> None:
        self.scheduled.append(lane)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def job() -> Job:
    return Job(JobKind.EVENT, cast("Any", None), None, "x", ())


def run_of(lane: Lane) -> Run:
    run = Run(Border(), Scope(), lane)
    assert lane.claim()
    run.begin(job(), cancels=True)
    return run


def lane_of(executor: Nowhere, *, strict: bool = False) -> Lane:
    return Lane(cast("Any", None), cast("Any", executor), strict=strict)


def test_a_lane_is_let_go_once() -> None:
    executor = Nowhere()
    lane = lane_of(executor)
    run = run_of(lane)
    lane.jobs.append(job())
    assert run.let_go()
    assert not run.let_go()
    assert executor.scheduled == [lane], "the next event may start"
    assert not run.renew(), "and this run takes no further one"


def test_an_overlap_is_for_the_job_that_has_run_long_and_for_no_later_one() -> None:
    lane = lane_of(Nowhere())
    run = run_of(lane)
    long_ago, later = run.started - 1, time.perf_counter() + 1
    run.overlap_since(long_ago)  # it has not run that long
    assert run.renew()
    run.overlap_since(later)  # between two jobs nobody runs long
    assert run.holds is True
    run.begin(job(), cancels=True)
    run.overlap_since(later)
    assert (run.holds, lane.idle) == (False, True)


def test_an_overlap_that_was_decided_for_the_last_job_misses_the_next_one() -> None:
    lane = lane_of(Nowhere())
    run = run_of(lane)
    held = run._hold
    assert run.renew()
    run.begin(job(), cancels=True)
    assert not run._release(held), "what the loop had in its hand is worth nothing any more"
    assert run.holds


def test_a_strict_lane_is_not_overlapped() -> None:
    run = run_of(lane_of(Nowhere(), strict=True))
    run.overlap()
    run.overlap_since(time.perf_counter() + 1)
    assert run.holds


def test_what_ends_a_run_is_its_clients_stay_or_the_servers() -> None:
    run = run_of(lane_of(Nowhere()))
    seen = [run.cancelled]
    run.scope.end()
    seen.append(run.cancelled)
    run.cancels = False
    seen.append(run.cancelled)
    run.border.stopping.end()
    seen.append(run.cancelled)
    assert seen == [False, True, False, True]


def test_waiting_without_a_server_is_a_cancellation() -> None:
    run = Run(Border(), Scope())
    with pytest.raises(HandlerCancelled, match="stopping"):
        run.wait(lambda waiter: waiter.wake())


# --- drive ------------------------------------------------------------------------------------------------------


def nothing() -> None:
    """Nobody wants to know."""


@pytest.mark.anyio
async def test_a_driven_coroutine_has_its_own_context_and_is_seen_waiting() -> None:
    waits: list[str] = []

    async def work() -> str:
        assert mark.get() == "unset"
        mark.set("inside")
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
            assert mark.get() == "inside"
        return "done"

    result = await drive(work(), contextvars.copy_context(), lambda: waits.append("wait"), lambda: waits.append("go"))
    assert result == "done"
    assert len(waits) >= 6
    assert waits[::2] == ["wait"] * (len(waits) // 2)
    assert waits[1::2] == ["go"] * (len(waits) // 2)
    assert mark.get() == "unset"


@pytest.mark.anyio
async def test_errors_and_stop_iteration_come_out_as_from_any_coroutine() -> None:
    async def fail(error: BaseException) -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(KeyError, match="x"):
        await drive(fail(KeyError("x")), contextvars.copy_context(), nothing, nothing)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await drive(fail(StopIteration(1)), contextvars.copy_context(), nothing, nothing)


@pytest.mark.anyio
async def test_a_driven_coroutine_is_cancelled_and_unwinds_in_its_context() -> None:
    unwound: list[str] = []

    async def work() -> None:
        mark.set("inside")
        try:
            await anyio.sleep_forever()
        finally:
            unwound.append(mark.get())

    with anyio.CancelScope() as scope:
        scope.cancel()
        await drive(work(), contextvars.copy_context(), nothing, nothing)
    assert scope.cancelled_caught
    assert unwound == ["inside"]


def test_an_abandoned_one_is_closed() -> None:
    unwound: list[str] = []

    class Once:
        def __await__(self) -> Generator[str, None, None]:
            yield "asked"

    async def work() -> None:
        try:
            await Once()
        finally:
            unwound.append("closed")

    driving = cast("Any", drive(work(), contextvars.copy_context(), nothing, nothing))
    assert driving.send(None) == "asked"
    driving.close()
    assert unwound == ["closed"]
