"""Who runs the hub's jobs: synchronous handlers on a crew of threads, asynchronous ones as tasks (``hub.Executor``).

One lane is in one pair of hands at a time. A thread runs the jobs of a lane for a quantum and puts the lane back into
the queue; a task runs the asynchronous jobs of a lane until it is empty. Where a lane's next job is of the other kind
the lane changes hands together with its hold, so order is kept across the change. A handler that waits or runs long
lets go of the lane, and another pair of hands may take it.

Disconnect handlers have a crew of their own without the limit: they run however many handlers are stuck.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus

from trioflask_sio.bridge.runs import Run
from trioflask_sio.bridge.seats import Seats
from trioflask_sio.bridge.waiting import Scope
from trioflask_sio.bridge.workers import Crew
from trioflask_sio.hub.jobs import Job

if TYPE_CHECKING:
    from trioflask_sio.bridge.portal import Backend, Border
    from trioflask_sio.hub.hub import Hub
    from trioflask_sio.hub.lanes import Lane
    from trioflask_sio.hub.socket import Socket

__all__ = ["Performer", "Pool", "PoolConfig"]

QUANTUM = 0.01
"""Seconds that one client's burst may keep a worker before the other clients have their turn."""

DISCONNECT_THREADS = 256
"""Disconnect handlers that may run at once."""

_log = logging.getLogger("trioflask_sio")


class Performer(Protocol):
    """Runs one job through Flask (``dispatch.Dispatcher``). Neither method raises, but for cancellation."""

    def perform(self, job: Job, run: Run) -> None: ...
    async def perform_async(self, job: Job, run: Run) -> None: ...
    def cancels(self, job: Job) -> bool: ...
    def run_callback(self, fn: Callable[..., object], args: tuple[object, ...]) -> None: ...


class PoolConfig:
    """The limits of the pool: ``worker_threads``, ``max_threads``, ``idle_timeout`` and ``overlap_after`` (seconds)."""

    __slots__ = ("idle_timeout", "max_threads", "overlap_after", "worker_threads")

    def __init__(self, worker_threads: int, max_threads: int, idle_timeout: float, overlap_after: float) -> None:
        self.worker_threads = worker_threads
        self.max_threads = max_threads
        self.idle_timeout = idle_timeout
        self.overlap_after = overlap_after


class Pool:
    """The executor behind a serving hub."""

    def __init__(self, config: PoolConfig, border: Border) -> None:
        self.config = config
        self.border = border
        self.performer: Performer = _Nobody()
        self.hub: Hub | None = None
        self.handlers: Crew[Lane] = Crew(
            "worker pool",
            self._run_lane,
            limit=config.worker_threads,
            max_threads=config.max_threads,
            idle_timeout=config.idle_timeout,
            border=border,
            on_tick=self._look_after_long_runs,
        )
        self.farewells: Crew[Callable[[], None]] = Crew(
            "disconnect crew",
            _carry_out,
            limit=DISCONNECT_THREADS,
            max_threads=DISCONNECT_THREADS,
            idle_timeout=config.idle_timeout,
            border=border,
        )
        self._working: dict[Run, None] = {}
        self._scopes_lock = threading.Lock()
        self._tasks: TaskGroup | None = None
        self._context = Context()
        self._seats: Seats[Lane] = Seats(self._lane_task, self._start)
        self._shields: dict[anyio.CancelScope, None] = {}
        """Around asynchronous handlers that their client's departure does not cancel: the stop does."""

    # --- hub.Executor -------------------------------------------------------------------------------------------

    def schedule(self, lane: Lane) -> None:
        """The caller has claimed ``lane`` for us; any thread."""
        if self._head_is_async(lane):
            self._hand_to_task(lane)
        else:
            self.handlers.put(lane)

    def cancel(self, socket: Socket) -> None:
        """The client left its namespace: wake what waits, cancel the tasks; loop thread."""
        self.scope_of(socket).end()
        for run in list(socket.lane.running):
            if isinstance(run, Run) and run.cancel_scope is not None and run.cancels:
                run.unwinding = True
                run.cancel_scope.cancel()

    def run_disconnect(self, job: Job, done: Callable[[], object] | None = None) -> None:
        """Run a disconnect handler beyond every limit, then tell the hub (and ``done``); loop thread."""
        run = Run(self.border, Scope(), job.socket.lane, None)
        run.pass_on()
        if job.handler is not None and job.handler.is_async:
            self._start(self._farewell_task, job, run, done)
        else:
            self.farewells.put(partial(self._farewell, job, run, done))

    def run_callback(self, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        """Run an acknowledgement's callback that belongs to no client; loop thread."""
        self.farewells.put(partial(self.performer.run_callback, fn, args))

    # --- scopes -------------------------------------------------------------------------------------------------

    def scope_of(self, socket: Socket) -> Scope:
        """The scope of a client's stay in its namespace, made when first asked for; any thread."""
        scope = socket.upper
        if scope is None:
            with self._scopes_lock:
                if socket.upper is None:
                    made = Scope()
                    made.ended = socket.ended
                    socket.upper = made
                scope = socket.upper
        assert isinstance(scope, Scope)
        return scope

    # --- threads ------------------------------------------------------------------------------------------------

    def _run_lane(self, lane: Lane) -> None:
        """One lane's turn in a worker's thread."""
        run = Run(self.border, self.scope_of(lane.socket), lane, self.handlers)
        run.has_place = self.handlers.take_place(None)
        lane.running[run] = None
        self._working[run] = None
        try:
            self._run_jobs(lane, run)
        finally:
            self._put_down(lane, run)

    def _run_jobs(self, lane: Lane, run: Run) -> None:
        """Run jobs until the lane is empty, the quantum is over, or the lane is in other hands."""
        until = time.perf_counter() + QUANTUM
        jobs = lane.jobs
        while True:
            if self._head_is_async(lane):  # looked at, not taken: a lane that is closed meanwhile gets nothing back
                return
            try:
                job = jobs.pop(0)
            except IndexError:
                return
            run.taken += job.size
            run.begin(job, self.performer.cancels(job))
            self.performer.perform(job, run)
            if time.perf_counter() > until or not run.renew():
                return

    def _put_down(self, lane: Lane, run: Run) -> None:
        """End of a turn: the place, the lane and the bytes go back, and the loop hears of the burst once."""
        self._working.pop(run, None)
        lane.running.pop(run, None)
        if run.has_place:
            self.handlers.give_place()
        run.let_go()  # schedules the lane again where jobs are left
        run.job = None  # what copied this context into a thread of its own keeps the run, not the client's data
        if self.hub is not None:
            self.border.offer(self.hub.lane_rested, lane, run.taken)

    def _look_after_long_runs(self) -> bool:
        """Let the next event start where a handler has run for ``overlap_after`` seconds; loop thread."""
        self.border.drain()
        limit = time.perf_counter() - self.config.overlap_after
        again = False
        for run in list(self._working):
            if run.holds:
                again = True
                run.overlap_since(limit)
        return again

    def _farewell(self, job: Job, run: Run, done: Callable[[], object] | None) -> None:
        run.thread_id = threading.get_ident()
        run.begin(job, cancels=False)
        try:
            self.performer.perform(job, run)
        finally:
            self.border.offer(self._farewell_over, job, done)

    def _farewell_over(self, job: Job, done: Callable[[], object] | None) -> None:
        if self.hub is not None:
            self.hub.disconnected(job.socket)
            self.hub.flush()
        if done is not None:
            done()

    # --- tasks --------------------------------------------------------------------------------------------------

    @staticmethod
    def _head_is_async(lane: Lane) -> bool:
        try:
            job = lane.jobs[0]
        except IndexError:
            return False
        return job.handler is not None and job.handler.is_async

    def _hand_to_task(self, lane: Lane) -> None:
        if self.border.on_loop():
            self._seats.put(lane)
        else:
            self.border.post(self._seats.put, lane)

    def _start(self, fn: Callable[..., object], *args: object) -> None:
        if self._tasks is not None:
            # Not in the context of whoever scheduled it: that may be another client's handler.
            self._context.copy().run(partial(self._tasks.start_soon, fn, *args))  # type: ignore[arg-type]  # wants the coroutine's exact type

    async def _lane_task(self, lane: Lane) -> None:
        """The asynchronous jobs of a lane, one after another, until one waits and the lane goes on without it."""
        run = Run(self.border, self.scope_of(lane.socket), lane, None)
        lane.running[run] = None
        try:
            with anyio.CancelScope() as scope:
                run.cancel_scope = scope
                await self._perform_in_task(lane, run)
        except Exception:  # errors that a cancelled handler's own nursery raised beside the cancellation
            _log.exception("A handler of client %s in %s failed", lane.socket.sid, lane.socket.namespace)
        finally:
            lane.running.pop(run, None)
            run.let_go()
            if self.hub is not None:
                self.hub.lane_rested(lane, run.taken)
                self.hub.flush()

    async def _perform_in_task(self, lane: Lane, run: Run) -> None:
        """Run jobs until the lane is empty or in other hands."""
        while self._head_is_async(lane):
            job = lane.jobs.pop(0)
            run.taken += job.size
            run.begin(job, self.performer.cancels(job))
            if not run.cancels:
                with anyio.CancelScope(shield=True) as shield:
                    self._shields[shield] = None
                    try:
                        await self.performer.perform_async(job, run)
                    finally:
                        del self._shields[shield]
            else:
                if run.cancelled and run.cancel_scope is not None:
                    run.unwinding = True  # its client left while it was queued: it runs up to its first wait
                    run.cancel_scope.cancel()
                await self.performer.perform_async(job, run)
            if not run.holds:
                break

    async def _farewell_task(self, job: Job, run: Run, done: Callable[[], object] | None) -> None:
        run.thread_id = threading.get_ident()
        run.begin(job, cancels=False)
        try:
            await self.performer.perform_async(job, run)
        except Exception:  # as in _lane_task
            _log.exception("The disconnect handler of client %s failed", job.socket.sid)
        finally:
            self._farewell_over(job, done)

    # --- life ---------------------------------------------------------------------------------------------------

    async def run(self, backend: Backend, *, task_status: TaskStatus[None]) -> None:
        """Host threads and tasks until cancelled."""
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            self._tasks = tasks
            self._context = copy_context()
            stack.callback(self._forget_tasks)
            await tasks.start(self.handlers.run, backend)
            await tasks.start(self.farewells.run, backend)
            task_status.started()
            await anyio.sleep_forever()

    def stuck(self) -> list[Run]:
        """The runs of handlers that have not ended."""
        return list(self._working)

    def _forget_tasks(self) -> None:
        self._tasks = None
        self._seats.clear()

    def end_waiting(self) -> None:
        """The server stops: end what waits although its client's departure did not."""
        self.border.stopping.end()
        for shield in tuple(self._shields):
            shield.cancel()

    async def stop(self) -> None:
        """End all threads after their present work; cancel it to leave the stuck ones behind."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.handlers.stop)
            tasks.start_soon(self.farewells.stop)


class _Nobody:
    """Holds the performer's place until the runtime has made one: no job can come before that."""

    def perform(self, job: Job, run: Run) -> None:
        raise AssertionError("a job before the runtime was complete")

    async def perform_async(self, job: Job, run: Run) -> None:
        raise AssertionError("a job before the runtime was complete")

    def cancels(self, job: Job) -> bool:
        return False

    def run_callback(self, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        raise AssertionError("a callback before the runtime was complete")


def _carry_out(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        _log.exception("A piece of background work failed")
