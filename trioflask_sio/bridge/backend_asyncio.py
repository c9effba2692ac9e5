"""What the thread border needs of an asyncio loop: wake it, read its clock, host a thread.

Threads are our own daemons here: AnyIO's asyncio threads are joined when the interpreter exits, so a handler stuck in
foreign code would hold up the end of the process (design §8.7).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

from anyio import CapacityLimiter

__all__ = ["AsyncioBackend"]


class AsyncioBackend:
    """One running asyncio loop, seen from its own thread at construction and from every thread afterwards."""

    name = "asyncio"

    def __init__(self) -> None:
        self.thread_id = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._asked: deque[Callable[[], None]] = deque()
        self._bell = asyncio.Event()

    def wake(self, fn: Callable[[], None]) -> bool:
        """Call ``fn`` on the loop soon, outside of any task; callable from every thread. False: the loop has ended."""
        try:
            self._loop.call_soon_threadsafe(fn)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def ask(self, fn: Callable[[], None]) -> bool:
        """Call ``fn`` soon in the task of ``pump``; callable from every thread. False: the loop has ended."""
        self._asked.append(fn)
        try:
            self._loop.call_soon_threadsafe(self._bell.set)
        except RuntimeError:  # the loop is closed
            return False
        return True

    async def pump(self) -> None:
        """Do what ``ask`` asked for, until cancelled.

        A callback of the loop is in no task, and what is called there starts tasks and sets deadlines, which belong to
        one: so a task of ours does the calling.
        """
        while True:
            await self._bell.wait()
            self._bell.clear()
            while self._asked:  # one by one: swapping the queue would lose what a thread is just adding to the old one
                self._asked.popleft()()

    def now(self) -> float:
        """The loop's clock in seconds, readable from every thread."""
        return self._loop.time()

    async def host_thread(self, fn: Callable[[], None], limiter: CapacityLimiter) -> None:
        """Run ``fn`` in a daemon thread until it returns; cancelled, the thread is abandoned."""
        done: asyncio.Future[None] = self._loop.create_future()
        async with limiter:
            threading.Thread(target=partial(self._run, fn, done), name="trioflask_sio worker", daemon=True).start()
            await done

    def _run(self, fn: Callable[[], None], done: asyncio.Future[None]) -> None:
        error: BaseException | None = None
        try:
            fn()
        except BaseException as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, done, error)


def _settle(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
