"""How a thread waits for one answer, and what may end its waiting early.

A ``Waiter`` is a lock used as a one-shot latch: waiting costs no polling, and waking costs no system call when nobody
waits yet. A ``Scope`` is what ends (a client's stay, the server): it wakes everybody who waits in it.
"""

from __future__ import annotations

import threading

__all__ = ["CANCELLED", "Scope", "Waiter"]


class _Cancelled:
    def __repr__(self) -> str:
        return "CANCELLED"


CANCELLED = _Cancelled()
"""What a waiter is woken with when its scope ends."""


class Waiter:
    """One answer for one waiting thread. The first wake-up wins; later ones do nothing."""

    __slots__ = ("_lock", "_once", "value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._once = [True]
        self.value: object = None
        """What the first ``wake`` brought."""

    def wake(self, value: object = None) -> bool:
        """Give the answer; callable from every thread. False when it had been given already."""
        try:
            self._once.pop()
        except IndexError:
            return False
        self.value = value
        self._lock.release()
        return True

    @property
    def woken(self) -> bool:
        """The answer has been given, or is being given: who comes now comes too late."""
        return not self._once

    def wait(self, timeout: float = -1) -> bool:
        """Wait for the answer, ``timeout`` seconds at most (-1: for ever). True when it has come.

        After True the latch stays open: waiting again returns at once.
        """
        if not self._lock.acquire(timeout=timeout):
            return False
        self._lock.release()
        return True


class Scope:
    """What waiting ends with. Any thread."""

    __slots__ = ("ended", "waiters")

    def __init__(self) -> None:
        self.ended = False
        self.waiters: dict[Waiter, None] = {}

    def end(self) -> None:
        """Mark it ended and wake everybody who waits in it. Idempotent."""
        self.ended = True
        for waiter in list(self.waiters):
            waiter.wake(CANCELLED)

    def enter(self, waiter: Waiter) -> None:
        """``waiter`` is woken when this ends; at once when it has ended. ``leave`` it afterwards."""
        self.waiters[waiter] = None
        if self.ended:  # asked after entering: either we see the end, or the end sees us
            waiter.wake(CANCELLED)

    def leave(self, waiter: Waiter) -> None:
        """``waiter`` waits no more."""
        self.waiters.pop(waiter, None)
