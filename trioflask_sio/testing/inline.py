"""An executor that runs jobs in the caller's thread: at once, or one at a time when told to.

For tests of the hub and for whoever wants handlers without Flask, threads and a loop. Handlers are called as the
application would see them, without a context; ``current`` names the job that runs. It keeps the contract of
``hub.jobs.JobKind``: every connect job is accepted or refused, every disconnect job ends with ``hub.disconnected``,
bytes are given back through ``hub.lane_rested``.

``async def`` handlers need a loop and are refused with a ``UsageError`` in ``errors``.
"""

from __future__ import annotations

import builtins
from collections import deque
from collections.abc import Callable

from trioflask_sio.exceptions import ConnectionRefusedError, UsageError
from trioflask_sio.hub.hub import Hub
from trioflask_sio.hub.jobs import Job, JobKind
from trioflask_sio.hub.lanes import Lane
from trioflask_sio.hub.socket import Socket

__all__ = ["InlineExecutor"]


class InlineExecutor:
    """Runs what the hub schedules.

    Args:
        stepwise: False runs every job before ``schedule`` returns (after the one that runs, if one does); True only
            queues lanes, and :meth:`step` runs one job of the lane that waits longest.

    A job in the middle can be staged with ``park``: the handler calls it, the lane goes to the next job as it would
    when a handler waits, and the parked job counts as running until :meth:`finish`.
    """

    def __init__(self, *, stepwise: bool = False) -> None:
        self.stepwise = stepwise
        self.ready: deque[Lane] = deque()
        self.current: Job | None = None
        self.cancelled: list[Socket] = []
        self.disconnecting: list[Job] = []
        """Disconnect jobs begun and, with ``hold_disconnects``, not ended."""
        self.hold_disconnects = False
        self.errors: list[BaseException] = []
        self.parked: list[Job] = []
        self._hub: Hub | None = None
        self._running = False
        self._park = False

    @property
    def hub(self) -> Hub:
        """The hub served. Raises UsageError before :meth:`attach`."""
        if self._hub is None:
            raise UsageError("this InlineExecutor serves no hub yet; call attach(hub) after making the hub")
        return self._hub

    def attach(self, hub: Hub) -> None:
        """Serve ``hub``."""
        self._hub = hub

    # The Executor protocol.

    def schedule(self, lane: Lane, /) -> None:
        """Queue the lane, and run it unless stepwise."""
        self.ready.append(lane)
        if not self.stepwise and not self._running:
            self.run()

    def cancel(self, socket: Socket, /) -> None:
        """Noted in ``cancelled``; inline handlers never wait."""
        self.cancelled.append(socket)

    def run_disconnect(self, job: Job, /) -> None:
        """Run it now, nested where a job runs."""
        self.disconnecting.append(job)
        if job.handler is not None:
            self._call(job, job.handler.disconnect_args(job.socket.reason))
        if not self.hold_disconnects:
            self.end_disconnects()

    def run_callback(self, fn: Callable[..., object], args: tuple[object, ...], /) -> None:
        """Call it now."""
        self._guard(fn, args)

    # For tests.

    def run(self) -> int:
        """Run until nothing is ready; returns how many jobs ran."""
        ran = 0
        while self.step():
            ran += 1
        return ran

    def step(self) -> bool:
        """Run one job. False when none was ready."""
        while self.ready:
            if self._run_one(self.ready.popleft()):
                return True
        return False

    def park(self) -> None:
        """Called by a handler: from its return on it counts as one that waits."""
        self._park = True

    def finish(self, job: Job) -> None:
        """A parked job ends."""
        self.parked.remove(job)
        job.socket.lane.ended(job)
        self.hub.lane_rested(job.socket.lane, job.size)

    def end_disconnects(self) -> None:
        """The disconnect handlers that were held end."""
        jobs, self.disconnecting = self.disconnecting, []
        for job in jobs:
            self.hub.disconnected(job.socket)

    def _run_one(self, lane: Lane) -> bool:
        job = lane.take(key := object())
        if job is None:
            lane.release()
            self.hub.lane_rested(lane, 0)
            return False
        was, self._running, self.current = self._running, True, job
        self._park = False
        try:
            self._run_job(job)
        finally:
            self._running, self.current = was, None
        if self._park:
            lane.running[job] = None
            self.parked.append(job)
        lane.ended(key)
        lane.release()
        self.hub.lane_rested(lane, 0 if self._park else job.size)
        self.hub.flush()
        return True

    def _run_job(self, job: Job) -> None:
        if job.kind is JobKind.CONNECT:
            self._connect(job)
        elif job.kind is JobKind.EVENT:
            self._event(job)
        elif job.callback is not None:
            self._guard(job.callback, job.args)

    def _connect(self, job: Job) -> None:
        if job.handler is None:
            raise UsageError("a connect job without a handler; the hub accepts such clients itself")
        try:
            result = _checked(job.handler.fn(*job.handler.connect_args(job.args[0])))
        except ConnectionRefusedError as error:
            self.hub.refuse(job.socket, error.error_args)
        except builtins.ConnectionRefusedError as error:
            self.hub.refuse(job.socket, ConnectionRefusedError(*error.args).error_args)
        except Exception as error:
            self.errors.append(error)
            self.hub.refuse(job.socket, {})
        else:
            if result is False:
                self.hub.refuse(job.socket, {})
            else:
                self.hub.accept(job.socket)

    def _event(self, job: Job) -> None:
        handler = job.handler
        args = (job.event, *job.args) if handler is not None and handler.catch_all else job.args
        failures = len(self.errors)
        result = self._call(job, args)
        if job.ack_id is not None and len(self.errors) == failures:
            answer = result if isinstance(result, tuple) else () if result is None else (result,)
            self.hub.send_ack(job.socket, self.hub.encode_ack(job.socket, job.ack_id, answer))

    def _call(self, job: Job, args: tuple[object, ...]) -> object:
        return self._guard(job.handler.fn, args) if job.handler is not None else None

    def _guard(self, fn: Callable[..., object], args: tuple[object, ...]) -> object:
        try:
            return _checked(fn(*args))
        except Exception as error:
            self.errors.append(error)
            return None


def _checked(result: object) -> object:
    close = getattr(result, "close", None)
    if hasattr(result, "cr_frame") and close is not None:
        close()
        raise UsageError("an async handler needs a running loop; InlineExecutor runs synchronous ones")
    return result
