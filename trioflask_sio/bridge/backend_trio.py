"""What the thread border needs of a Trio loop: wake it, read its clock, host a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio.to_thread
import trio
from anyio import CapacityLimiter

__all__ = ["TrioBackend"]


class TrioBackend:
    """One running Trio loop, seen from its own thread at construction and from every thread afterwards."""

    name = "trio"

    def __init__(self) -> None:
        self.thread_id = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()
        self._clock = trio.lowlevel.current_clock()

    def wake(self, fn: Callable[[], None]) -> bool:
        """Call ``fn`` on the loop soon, in a task of Trio's; callable from every thread. False: the loop has ended."""
        try:
            self._token.run_sync_soon(fn)
        except trio.RunFinishedError:
            return False
        return True

    ask = wake

    async def pump(self) -> None:
        """Nothing to do: Trio does what ``ask`` asked for in a task of its own."""

    def now(self) -> float:
        """The loop's clock in seconds, readable from every thread (a Mock clock too)."""
        return self._clock.current_time()

    async def host_thread(self, fn: Callable[[], None], limiter: CapacityLimiter) -> None:
        """Run ``fn`` in a thread until it returns; cancelled, the thread is abandoned (Trio's threads are daemons)."""
        await anyio.to_thread.run_sync(fn, abandon_on_cancel=True, limiter=limiter)
