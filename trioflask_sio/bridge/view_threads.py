"""The resident threads in which HTTP views run, apart from the event handlers' workers (design §8.7).

Rules:

* A thread is started only when more jobs wait than threads are free, up to the limit, and ends after ``IDLE_SECONDS``
  without work. The count of free threads includes those that are just being started, so a burst starts no more than it
  needs and no job ever waits while a place is free.
* They are daemons: a view stuck in foreign code must not hold up the end of the process, on whichever loop.
* The loop is woken once per burst: threads put what they finished into one deque and set one flag.
* ``submit``, ``close`` and ``ended`` belong to the loop's thread; ``wake`` to every thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

import anyio

from trioflask_sio.bridge.portal import Backend
from trioflask_sio.exceptions import NotServing

__all__ = ["IDLE_SECONDS", "Sleeper", "ViewThreads"]

IDLE_SECONDS = 10.0
"""How long a thread stays without work: long enough to bridge the pauses between visitors."""

_JOIN_SECONDS = 0.1
"""A thread that has said it ended needs microseconds more; this is the bound for a machine that is swapping."""

_log = logging.getLogger("trioflask_sio")


class Sleeper(Protocol):
    """Something on the loop that waits for a thread."""

    def wake(self) -> None:
        """Called on the loop."""


class ViewThreads:
    """Up to ``limit`` threads fed from one queue.

    Args:
        limit: how many views run at once.
        backend: the running loop.
        idle_seconds: how long a thread stays without work.
    """

    def __init__(self, limit: int, backend: Backend, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._limit = limit
        self._backend = backend
        self._idle_seconds = idle_seconds
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._queued = 0  # jobs put and not yet taken
        self._free = 0  # threads that wait for a job or will in a moment
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._all_ended = anyio.Event()
        self._finished: deque[Sleeper] = deque()
        self._woken = False

    @property
    def count(self) -> int:
        """Threads that exist now."""
        return len(self._threads)

    def submit(self, job: Callable[[], None]) -> None:
        """Run ``job``, which may not raise, in one of the threads.

        Raises:
            NotServing: after ``close``.
            RuntimeError: the system gives no thread, and there is none at all.
        """
        if self._closed:
            raise NotServing("The server has stopped; no view is run any more.")
        with self._lock:
            self._queued += 1
            grow = self._queued > self._free and len(self._threads) < self._limit
        self._jobs.put(job)
        if grow:
            self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="trioflask_sio view", daemon=True)
        with self._lock:
            self._threads.add(thread)
            self._free += 1
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._threads.discard(thread)
                self._free -= 1
            if not self._threads:
                raise
            _log.warning("The system gives no further thread; views share the %d there are", len(self._threads))

    def _work(self) -> None:
        while (job := self._next()) is not None:
            job()
            del job  # it must not live on while the thread is free
            with self._lock:
                self._free += 1
        with self._lock:
            self._threads.discard(threading.current_thread())
            last = self._closed and not self._threads
        if last:
            self._backend.wake(self._all_ended.set)

    def _next(self) -> Callable[[], None] | None:
        """The next job; None when this thread is to end. The thread counts as free until this returns."""
        while True:
            try:
                job = self._jobs.get(timeout=self._idle_seconds)
            except Empty:
                with self._lock:
                    if self._queued >= self._free:
                        continue  # a job is on its way, and it was counted on this thread
                    self._free -= 1
                    return None
            with self._lock:
                self._free -= 1
                self._queued -= job is not None
            return job

    def wake(self, sleeper: Sleeper) -> None:
        """Call ``sleeper.wake()`` on the loop soon; callable from every thread."""
        self._finished.append(sleeper)
        if not self._woken:
            self._woken = True
            self._backend.wake(self._wake_all)

    def _wake_all(self) -> None:
        self._woken = False  # before looking: what is appended from here on wakes the loop again
        while self._finished:
            self._finished.popleft().wake()

    def close(self) -> None:
        """Take no more jobs; each thread ends when it has done what it is at. Idempotent."""
        if self._closed:
            return
        with self._lock:
            self._closed = True
            threads = len(self._threads)
        for _ in range(threads):
            self._jobs.put(None)
        if not threads:
            self._all_ended.set()

    async def ended(self) -> None:
        """After ``close``: return when the last thread is gone. Cancelled, it leaves the busy ones to themselves."""
        threads = list(self._threads)
        await self._all_ended.wait()
        for thread in threads:
            thread.join(_JOIN_SECONDS)
