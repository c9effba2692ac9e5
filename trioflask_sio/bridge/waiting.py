"""How a thread waits for one answer.

A ``Waiter`` is a lock used as a one-shot latch: waiting costs no polling, and waking costs no system call when nobody
waits yet.
"""

from __future__ import annotations

import threading

__all__ = ["Waiter"]


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

    def wait(self, timeout: float = -1) -> bool:
        """Wait for the answer, ``timeout`` seconds at most (-1: for ever). True when it has come.

        After True the latch stays open: waiting again returns at once.
        """
        if not self._lock.acquire(timeout=timeout):
            return False
        self._lock.release()
        return True
