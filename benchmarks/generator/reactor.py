"""One epoll loop for every socket of the load generator.

A callback belongs to a file descriptor and is called when it is readable. There is no write readiness: what a client
sends here is small and its send buffer is empty, so a send that would block means that the server stopped reading,
and that is an error of the run.
"""

import select
import time
from collections.abc import Callable

_LONGEST_SLEEP = 0.05
"""Seconds; what is waited for may also come true without a readable socket."""


class Stalled(Exception):
    """A phase did not reach its goal in time."""


class Reactor:
    """Dispatches readable descriptors to their callbacks.

    With ``busy_wait`` it never sleeps: waking a sleeping process on another core is paid for by who sends to it, so
    a server that answers each message at once pays it each time, and one that answers in bursts does not.
    """

    __slots__ = ("_busy_wait", "_epoll", "_worked", "callbacks")

    def __init__(self, *, busy_wait: bool = False) -> None:
        self._epoll = select.epoll()
        self._busy_wait = busy_wait
        self._worked = 0.0
        self.callbacks: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        """Watch ``fd``."""
        self.callbacks[fd] = callback
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Stop watching ``fd``; must be called before it is closed."""
        del self.callbacks[fd]
        self._epoll.unregister(fd)

    def worked_seconds(self) -> float:
        """Time spent at work so far: that of the process, or with ``busy_wait`` that of the callbacks."""
        return self._worked if self._busy_wait else time.process_time()

    def _dispatch(self, timeout: float) -> float:
        """Run the callbacks of what is readable within ``timeout`` seconds; returns the time afterwards."""
        events = self._epoll.poll(0.0 if self._busy_wait else timeout)
        began = time.perf_counter()
        if not events:
            return began
        callbacks = self.callbacks
        for fd, _ in events:
            callback = callbacks.get(fd)  # an earlier one of this batch may have closed it
            if callback is not None:
                callback()
        ended = time.perf_counter()
        self._worked += ended - began
        return ended

    def run_for(self, seconds: float) -> None:
        """Dispatch for ``seconds``."""
        end = time.perf_counter() + seconds
        left = seconds
        while left > 0:
            left = end - self._dispatch(left)

    def run_until(self, reached: Callable[[], bool], timeout: float, goal: str) -> None:
        """Dispatch until ``reached()``; raises Stalled, naming the ``goal``, after ``timeout`` seconds."""
        end = time.perf_counter() + timeout
        while not reached():
            left = end - self._dispatch(_LONGEST_SLEEP)
            if left <= 0 and not reached():
                raise Stalled(f"not reached in {timeout:g} s: {goal}")

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._epoll.close()
