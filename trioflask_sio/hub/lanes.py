"""The order of one client's events in one namespace (design §3, §8.1).

A lane is a mailbox and one right to run it. The right is a token in a list: ``list.pop`` and ``list.append`` are atomic
in every CPython, so taking it needs no lock and works from every thread. Who holds the token and wants to work does,
until it gives the token back:

    job = lane.take(me)         # me now counts as running
    ... run it; hand the lane on early with lane.release() when the handler waits or runs long ...
    lane.ended(me)
    lane.release()              # only when the right was not handed on before
    border.post(hub.lane_rested, lane, job.size)      # after both, else the hub may see a lane that is still busy

Rules:

* Only the loop's thread posts and drops. Only the holder of the token takes.
* No lost wake-up: the poster appends, then tries the token; the holder puts the token back, then looks for jobs. One
  of the two sees the other.
* ``idle`` reads jobs, token, running in this order, the order in which a job moves; a job that exists during the whole
  look is seen in one of the three places.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from trioflask_sio.hub.jobs import Job

if TYPE_CHECKING:
    from trioflask_sio.hub.socket import Socket

__all__ = ["Executor", "Lane"]


class Executor(Protocol):
    """Whoever runs jobs: the bridge's worker pool, the test client, ``testing.inline``."""

    def schedule(self, lane: Lane, /) -> None:
        """Run this lane's jobs. Any thread; the caller has claimed the lane for us."""

    def cancel(self, socket: Socket, /) -> None:
        """The client left this namespace: wake and cancel what waits in its handlers. Loop; must not call the hub."""

    def run_disconnect(self, job: Job, /) -> None:
        """Run a disconnect handler, beyond every limit and outside the lane; then ``hub.disconnected``. Loop."""

    def run_callback(self, fn: Callable[..., object], args: tuple[object, ...], /) -> None:
        """Run a client's answer to an emit that no handler made (spec 1.9.1): bare, without a context. Loop."""


class Lane:
    """The jobs of one socket, in order.

    Args:
        socket: whose lane.
        executor: who is told when there is work.
        strict: ``async_handlers=False``: the right is kept while a handler waits, so nothing ever overlaps.
    """

    __slots__ = ("_executor", "_token", "closed", "jobs", "running", "socket", "strict")

    def __init__(self, socket: Socket, executor: Executor, *, strict: bool = False) -> None:
        self.socket = socket
        self.strict = strict
        # A list, not a deque: an empty deque is 600 bytes per idle client, and popping the first of even ten thousand
        # (max_pending_events) costs two microseconds. Both ends are atomic, as the module's rules want.
        self.jobs: list[Job] = []
        self.running: dict[object, None] = {}
        self.closed = False
        self._executor = executor
        self._token: list[None] = [None]

    def post(self, job: Job) -> bool:
        """Put a job in line. Loop. False when the lane has been closed: the job is not taken."""
        if self.closed:
            return False
        self.jobs.append(job)
        if self.claim():
            self._executor.schedule(self)
        return True

    def claim(self) -> bool:
        """Take the right to run this lane; True when it was free. Any thread."""
        try:
            self._token.pop()
        except IndexError:
            return False
        return True

    def release(self) -> None:
        """Give the right back; where jobs came meanwhile, claim it again and schedule. Any thread, holder only."""
        self._token.append(None)
        if self.jobs and self.claim():
            self._executor.schedule(self)

    def take(self, runner: object) -> Job | None:
        """The next job, with ``runner`` entered as running; None when nothing is left. Holder only."""
        # Asking first whether there is one would leave a gap for the other thread.
        try:
            job = self.jobs.pop(0)
        except IndexError:
            return None
        self.running[runner] = None
        return job

    def ended(self, runner: object) -> None:
        """``runner`` has finished its job. Any thread."""
        self.running.pop(runner, None)

    def drop(self) -> list[Job]:
        """Close the lane and take out everything that has not started. Loop.

        Each job goes to us or to a worker. We take from the end, so that what a worker still gets is the beginning and
        no job runs whose forerunner was dropped.
        """
        self.closed = True
        dropped = list(iter(self._last, None))
        dropped.reverse()
        return dropped

    def _last(self) -> Job | None:
        try:
            return self.jobs.pop()
        except IndexError:
            return None

    @property
    def idle(self) -> bool:
        """No job queued, nobody running, nobody holds the right. Exact on the loop's thread, the only poster."""
        return not self.jobs and bool(self._token) and not self.running

    def __repr__(self) -> str:
        held = "" if self._token else " held"
        return f"<Lane {len(self.jobs)} queued {len(self.running)} running{held}>"
