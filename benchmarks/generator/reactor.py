"""One epoll loop for every socket of the load generator.

A callback belongs to a file descriptor and is called when it is readable. There is no write readiness: what a client
sends here is small and its send buffer is empty, so a send that would block means that the server stopped reading,
and that is an error of the run.
"""

import select
import time
from collections.abc import Callable


class Stalled(Exception):
    """A phase did not reach its goal in time."""


class Reactor:
    """Dispatches readable descriptors to their callbacks."""

    __slots__ = ("_epoll", "callbacks")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.callbacks: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, callback: Callable[[], None]) -> None:
        """Watch ``fd``."""
        self.callbacks[fd] = callback
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Stop watching ``fd``; must be called before it is closed."""
        del self.callbacks[fd]
        self._epoll.unregister(fd)

    def run_for(self, seconds: float) -> None:
        """Dispatch for ``seconds``."""
        clock = time.perf_counter
        end = clock() + seconds
        poll, callbacks = self._epoll.poll, self.callbacks
        while (left := end - clock()) > 0:
            for fd, _ in poll(left):
                callback = callbacks.get(fd)
                if callback is not None:
                    callback()

    def run_until(self, reached: Callable[[], bool], timeout: float, goal: str) -> None:
        """Dispatch until ``reached()``; raises Stalled, naming the ``goal``, after ``timeout`` seconds."""
        end = time.perf_counter() + timeout
        while not reached():
            left = end - time.perf_counter()
            if left <= 0:
                raise Stalled(f"not reached in {timeout:g} s: {goal}")
            for fd, _ in self._epoll.poll(min(left, 0.05)):
                callback = self.callbacks.get(fd)
                if callback is not None:
                    callback()

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._epoll.close()
