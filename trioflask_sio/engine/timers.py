"""One heap of deadlines and one task for all sessions (design §8.13).

An idle client costs one heap entry and no task. Rules:

* Time is the event loop's clock and nothing else, so a mock clock drives everything.
* A timer never fires early; timers of the same moment fire in the order they were set.
* Cancelling is lazy: the entry stays in the heap, empty, and lets go of what it would have called. When most entries
  are empty the heap is rebuilt, so a million cancelled timers hold no memory.
* A callback is synchronous. One that raises is logged with its traceback and hurts no other timer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from logging import Logger

import anyio
import anyio.lowlevel

__all__ = ["Timer", "Timers"]

_COMPACT_FROM = 64
"""Empty entries below this count are never worth a rebuild."""

_FIRED_AT_ONCE = 256
"""Callbacks before the loop may do something else: ten thousand clients may share one deadline."""


class Timer:
    """One appointment. Made by :meth:`Timers.call_at` only."""

    __slots__ = ("_args", "_fn", "_timers", "when")

    def __init__(self, timers: Timers, when: float, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        self.when = when
        self._timers = timers
        self._fn: Callable[..., object] | None = fn
        self._args = args

    @property
    def active(self) -> bool:
        """True until it has fired or was cancelled."""
        return self._fn is not None

    def cancel(self) -> None:
        """Let it never fire. Harmless afterwards and twice."""
        if self._fn is not None:
            self._release()
            self._timers._one_cancelled()

    def _release(self) -> None:
        self._fn = None
        self._args = ()

    def _fire(self) -> None:
        fn, args = self._fn, self._args
        if fn is not None:
            self._release()
            fn(*args)

    def __repr__(self) -> str:
        return f"<Timer at {self.when:.3f}{'' if self.active else ' (over)'}>"


class Timers:
    """The heap and its task.

    Args:
        logger: where a callback's exception goes.
    """

    def __init__(self, logger: Logger) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._made = 0
        self._cancelled = 0
        self._logger = logger
        self._sleep: anyio.CancelScope | None = None

    def __len__(self) -> int:
        """How many timers may still fire."""
        return len(self._heap) - self._cancelled

    @property
    def held(self) -> int:
        """Entries in the heap, cancelled ones included: what bounds the memory."""
        return len(self._heap)

    def call_at(self, when: float, fn: Callable[..., object], *args: object) -> Timer:
        """Call ``fn(*args)`` on the loop at ``when`` (the loop's clock, seconds)."""
        timer = Timer(self, when, fn, args)
        self._made += 1
        heappush(self._heap, (when, self._made, timer))
        sleep = self._sleep
        if sleep is not None and when < sleep.deadline:
            sleep.deadline = when
        return timer

    def call_later(self, seconds: float, fn: Callable[..., object], *args: object) -> Timer:
        """Call ``fn(*args)`` in ``seconds``."""
        return self.call_at(anyio.current_time() + seconds, fn, *args)

    def call_soon(self, fn: Callable[..., object], *args: object) -> Timer:
        """Call ``fn(*args)`` after the code that runs now, from the timers' own task."""
        return self.call_at(anyio.current_time(), fn, *args)

    def clear(self) -> None:
        """Forget every timer."""
        for _, _, timer in self._heap:
            timer._release()
        self._heap.clear()
        self._cancelled = 0

    async def run(self) -> None:
        """Fire what is due, for ever. Cancelled: the heap stays as it is and nothing fires any more."""
        while True:
            while self._fire_due():
                await anyio.lowlevel.checkpoint()
            # Nothing awaits between the look at the heap and the sleep, so no new deadline can be missed.
            with anyio.CancelScope(deadline=self._heap[0][0] if self._heap else math.inf) as self._sleep:
                try:
                    await anyio.sleep_forever()
                finally:
                    self._sleep = None

    def _fire_due(self) -> bool:
        """Fire one batch; True when more may be due."""
        now = anyio.current_time()
        heap = self._heap
        for _ in range(_FIRED_AT_ONCE):
            if not heap or heap[0][0] > now:
                return False
            timer = heappop(heap)[2]
            if not timer.active:
                self._cancelled -= 1
                continue
            try:
                timer._fire()
            except Exception:
                self._logger.exception("a timer's callback failed; the other timers go on")
        return True

    def _one_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled > _COMPACT_FROM and self._cancelled * 2 > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if entry[2].active]
            heapify(self._heap)
            self._cancelled = 0
