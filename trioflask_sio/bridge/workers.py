"""A crew of long-lived threads fed from one queue (design §4, §8.7).

* A thread is paid for once and takes work until it has been idle for ``idle_timeout`` seconds.
* ``limit`` counts work that runs: one that waits gives its place back and takes one again when it wakes. Threads may
  be more than places, never more than ``max_threads``.
* The crew grows when work is queued and nothing has finished for ``GROWTH_DELAY`` seconds of real time. Under the
  interpreter lock more threads only help where the present ones are blocked, and that is what this measures.
* Work that is cancelled while it waits for a place goes on without one: it is about to end.

Places are tokens in a list and workers meet in a ``SimpleQueue``: no lock is held by two sides.
"""

from __future__ import annotations

import contextvars
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from trioflask_sio.bridge.portal import Backend, Border
from trioflask_sio.bridge.runs import Run
from trioflask_sio.bridge.waiting import CANCELLED, Scope, Waiter

__all__ = ["Crew"]

W = TypeVar("W")

GROWTH_DELAY = 0.005
"""Seconds without any finished work, while some is queued, before the crew grows."""

TICK = 0.025
"""Seconds between two looks at running work (the resolution of ``overlap_after``)."""

LINGER = 20
"""Quiet looks after which the watching task goes to sleep."""

_log = logging.getLogger("trioflask_sio")


class Crew(Generic[W]):
    """Threads that carry out queued work.

    Args:
        name: for logs.
        perform: carries out one piece of work in a worker's thread; must not raise.
        limit: pieces of work that may run at once.
        max_threads: threads that may exist at once, waiting ones included.
        idle_timeout: seconds after which an idle thread ends.
        border: the way to the loop.
        on_tick: called on the loop about 40 times a second while there is work; True asks to be called again.
    """

    def __init__(
        self,
        name: str,
        perform: Callable[[W], None],
        *,
        limit: int,
        max_threads: int,
        idle_timeout: float,
        border: Border,
        on_tick: Callable[[], bool] | None = None,
    ) -> None:
        self.name = name
        self.limit = limit
        self.max_threads = max_threads
        self.idle_timeout = idle_timeout
        self._perform = perform
        self._border = border
        self._on_tick = on_tick or _no_tick
        self._queue: queue.SimpleQueue[W | None] = queue.SimpleQueue()
        self._places: deque[None] = deque([None] * limit)
        self._place_waiters: deque[Waiter] = deque()
        self._idle: list[None] = []
        self._threads: dict[int, None] = {}
        self._parked: dict[Run, None] = {}
        self._finished = 0
        self._bell: anyio.Event | None = None
        self._awake = False
        self._stopping = False
        self._complained = False
        self._tasks: TaskGroup | None = None
        self._backend: Backend | None = None
        self._context = contextvars.Context()
        self._next_id = 0
        self._hosted = 0
        self._all_ended: anyio.Event | None = None

    # --- any thread ---------------------------------------------------------------------------------------------

    def put(self, work: W) -> None:
        """Queue a piece of work."""
        self._queue.put(work)
        if not self._awake or (not self._idle and len(self._parked) >= len(self._threads)):
            if self._border.on_loop():
                self._ring()
            else:
                self._border.offer(self._ring)

    @property
    def waiting(self) -> int:
        """Pieces of work that nobody has taken yet."""
        return self._queue.qsize()

    @property
    def threads(self) -> int:
        """Threads alive."""
        return len(self._threads)

    @property
    def busy(self) -> int:
        """Threads that carry out work, waiting ones included."""
        return len(self._threads) - len(self._idle)

    def parked(self, run: Run, parked: bool) -> None:
        """``run`` begins or ends to wait without a place."""
        if parked:
            self._parked[run] = None
            if self._queue.qsize() and not self._idle:
                self._border.offer(self._ring)
        else:
            self._parked.pop(run, None)

    def take_place(self, scope: Scope | None) -> bool:
        """Take a place, waiting for one. False when ``scope`` ended meanwhile: go on without."""
        places = self._places
        try:
            places.pop()
        except IndexError:
            return self._wait_for_place(scope)
        return True

    def _wait_for_place(self, scope: Scope | None) -> bool:
        waiter = Waiter()
        if scope is not None:
            scope.enter(waiter)
        self._place_waiters.append(waiter)
        self._hand_over()
        waiter.wait()
        if scope is not None:
            scope.leave(waiter)
        return waiter.value is not CANCELLED

    def give_place(self) -> None:
        """Give a place back; who waits longest takes it."""
        self._places.append(None)
        self._hand_over()

    def _hand_over(self) -> None:
        """While there is both a free place and a waiter, bring them together; safe from many threads at once."""
        while self._place_waiters:
            try:
                self._places.pop()
            except IndexError:
                return
            try:
                waiter = self._place_waiters.popleft()
            except IndexError:
                self._places.append(None)
                continue
            if not waiter.wake():
                self._places.append(None)

    # --- a worker's thread --------------------------------------------------------------------------------------

    def _work(self, ident: int) -> None:
        thread = threading.current_thread()
        borrowed, thread.name = thread.name, f"trioflask_sio {self.name} {ident}"
        try:
            while (work := self._next()) is not None:
                try:
                    self._perform(work)
                except BaseException:
                    _log.exception("A worker of the %s met an error that nobody handled", self.name)
                self._finished += 1
                del work  # nothing of a client is kept while idle
        finally:
            thread.name = borrowed
            self._threads.pop(ident, None)
            if self._queue.qsize() and not self._stopping:
                self._border.offer(self._ring)  # it came while the last worker went

    def _next(self) -> W | None:
        """The next piece of work; None when there was none for ``idle_timeout`` seconds, or at the stop."""
        self._idle.append(None)
        try:
            work = self._queue.get(timeout=self.idle_timeout)
        except queue.Empty:
            return None
        finally:
            self._idle.pop()
        if not self._awake and work is not None:
            self._border.offer(self._ring)  # the watch went to sleep between the queueing and here
        return work

    # --- the loop -----------------------------------------------------------------------------------------------

    async def run(self, backend: Backend, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Host the threads and watch them until cancelled; a cancelled host abandons threads that are stuck."""
        self._backend = backend
        self._context = contextvars.copy_context()
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            task_status.started()
            await self._watch()

    async def stop(self) -> None:
        """Let every thread end after its present work and wait for that; cancel it to stop waiting."""
        self._stopping = True
        if self._hosted:
            self._all_ended = anyio.Event()
            for _ in range(self._hosted):
                self._queue.put(None)
            await self._all_ended.wait()

    def _ring(self) -> None:
        """There is work: see that somebody takes it."""
        if not self._threads:
            self._grow(1)
        elif self._queue.qsize() and len(self._parked) >= self.busy and not self._idle:
            self._grow(1)  # everybody waits: nobody would come back to the queue
        if not self._awake:
            self._awake = True
            if self._bell is not None:
                self._bell.set()

    async def _watch(self) -> None:
        """Look at queue and workers while there is work; sleep on the bell while there is none."""
        quiet = 0
        while True:
            if quiet > LINGER:
                quiet = 0
                await self._sleep_until_rung()
            seen, at = self._finished, time.perf_counter()
            queued = self._queue.qsize() > 0
            await anyio.sleep(GROWTH_DELAY if queued else TICK)
            if queued:
                self._grow_if_stuck(seen, at)
            again = self._on_tick()
            quiet = 0 if again or queued else quiet + 1

    async def _sleep_until_rung(self) -> None:
        self._bell = anyio.Event()
        self._awake = False
        if not self._queue.qsize() and self.busy <= len(self._parked):  # what came before the flag fell did not ring
            await self._bell.wait()
        self._bell = None
        self._awake = True

    def _grow_if_stuck(self, seen: int, at: float) -> None:
        """More threads where work is queued and nothing has finished for a while of real time."""
        if self._queue.qsize() and seen == self._finished and time.perf_counter() - at >= GROWTH_DELAY:
            self._grow(max(1, len(self._threads)))

    def _grow(self, most: int) -> None:
        """Start as many threads as the queue wants and the limits allow."""
        if self._tasks is None or self._stopping:
            return
        for _ in range(min(most, self._queue.qsize())):
            if len(self._threads) - len(self._parked) >= self.limit:
                return
            if len(self._threads) >= self.max_threads:
                self._complain()
                return
            self._next_id += 1
            self._threads[self._next_id] = None
            self._hosted += 1
            # Not in the context of whoever rang: the thread would keep it, and the client in it, as long as it lives.
            self._context.copy().run(self._tasks.start_soon, self._host, self._next_id)

    async def _host(self, ident: int) -> None:
        assert self._backend is not None
        limiter = anyio.CapacityLimiter(1)
        try:
            await self._backend.host_thread(lambda: self._work(ident), limiter)
        except RuntimeError:  # the system gives no more threads: the others go on
            self._threads.pop(ident, None)
            _log.exception("No thread could be started for the %s; it goes on with %d", self.name, self.threads)
        finally:
            self._hosted -= 1
            if not self._hosted and self._all_ended is not None:
                self._all_ended.set()

    def _complain(self) -> None:
        if not self._complained:
            self._complained = True
            _log.error(
                "All %d threads of the %s wait in sleep() or call(): further events wait until one ends. "
                "Raise max_threads, or make these handlers `async def`.",
                self.max_threads,
                self.name,
            )


def _no_tick() -> bool:
    return False
