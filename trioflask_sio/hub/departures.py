"""How a socket leaves, exactly once, whatever the causes and however many of them there are (design §3, §8.8, §8.9).

    leave ──► out of every fan-out, ended, waiting handlers cancelled
      │
      └► settle, each time something about the socket changed:
           connect handler undecided ─► wait (refused: no trace, no disconnect handler)
           lane idle, or grace over  ─► what never started is dropped; the one DISCONNECT job
      │
      └► disconnected ─► rooms() stops answering, the sid is unknown

Rules:

* ``leave`` has an effect once; every later cause of an end finds the socket leaving.
* Events that a client sent before it left are run before the disconnect handler, within the grace. After the server's
  ``disconnect()`` they are dropped and counted.
* Nothing of a socket starts after its disconnect handler: the lane is closed first.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from trioflask_sio.hub.acks import Acks
from trioflask_sio.hub.jobs import Job, JobKind
from trioflask_sio.hub.socket import Socket, SocketState
from trioflask_sio.hub.wiring import Wiring

__all__ = ["Departures"]


class Departures:
    """The way out."""

    __slots__ = ("_acks", "_wiring")

    def __init__(self, wiring: Wiring, acks: Acks) -> None:
        self._wiring = wiring
        self._acks = acks

    def leave(
        self, socket: Socket, reason: str, detail: str, *, drop_queued: bool = False, run_handler: bool = True
    ) -> bool:
        """The client is no longer in the namespace. False when that was known already.

        Args:
            socket: who.
            reason: one of the five of spec 2.9.
            detail: the finer one.
            drop_queued: the server put it out: what it sent is not wanted any more.
            run_handler: False when the caller runs the disconnect handler itself and then calls ``disconnected``.
        """
        if socket.state not in (SocketState.CONNECTING, SocketState.CONNECTED):
            return False
        self._mark(socket, reason, detail)
        self._wiring.logger.debug("client %s has left %.100s: %s", socket.sid, socket.namespace, detail)
        if drop_queued:
            self._drop_queued(socket)
        self._acks.forget(socket)
        self._wiring.executor.cancel(socket)
        if run_handler:
            self.settle(socket)
        else:
            socket.finishing = True
            self._close_lane(socket)
        return True

    def settle(self, socket: Socket) -> None:
        """Go on with a leaving socket as far as it can go now."""
        if socket.state is not SocketState.LEAVING or socket.finishing or socket.decided is None:
            return
        if socket.lane.idle:
            self._finish(socket)
        elif socket.grace is None and self._wiring.engine is not None:
            timers = self._wiring.engine.timers
            socket.grace = timers.call_later(self._wiring.config.disconnect_grace, partial(self._finish, socket))

    def hurry(self, socket: Socket) -> None:
        """The server stops: its disconnect handler waits no longer for the client's other handlers."""
        if socket.decided is None:
            self.erase(socket)  # its connect handler is stuck: nobody was told that it is there
        else:
            self._finish(socket)

    def erase(self, socket: Socket) -> None:
        """Remove the last trace. Idempotent."""
        if socket.state is SocketState.GONE:
            return
        if not socket.ended:
            self._mark(socket, None, "refused", remember=self._wiring.config.always_connect)
            self._acks.forget(socket)
        socket.state = SocketState.GONE
        if socket.decided is None:
            # An outcome that still comes is nobody's business any more.
            socket.decided = False
        socket.rooms_left = None
        self._stop_grace(socket)
        self._close_lane(socket)
        self._wiring.remove(socket)

    def release(self, socket: Socket, jobs: Iterable[Job]) -> int:
        """Let go of the input bytes of dropped jobs; returns how many events were among them."""
        events = size = 0
        for job in jobs:
            size += job.size
            events += job.kind is JobKind.EVENT
        early, socket.early = socket.early, None
        for _, held in early or ():
            size += held
            events += 1
        if size:
            socket.client.session.release(size)
        return events

    def _mark(self, socket: Socket, reason: str | None, detail: str, *, remember: bool = True) -> None:
        wiring = self._wiring
        socket.reason = reason
        socket.reason_detail = detail
        socket.left_at = wiring.clock()
        socket.rooms_left = dict.fromkeys(wiring.adapter.rooms_of(socket.namespace, socket.sid))
        socket.state = SocketState.LEAVING
        # Last: whoever sees it in another thread may read the rest.
        socket.ended = True
        socket.client.part(socket, remember=remember)
        wiring.adapter.forget(socket.namespace, socket.sid)

    def _finish(self, socket: Socket) -> None:
        if socket.finishing or socket.state is not SocketState.LEAVING:
            return
        socket.finishing = True
        self._stop_grace(socket)
        self._close_lane(socket)
        handler = self._wiring.handlers.find(socket.namespace, "disconnect")
        if handler is None:
            self.erase(socket)
        else:
            job = Job(JobKind.DISCONNECT, socket, handler, "disconnect", (socket.reason,))
            self._wiring.executor.run_disconnect(job)

    def _drop_queued(self, socket: Socket) -> None:
        jobs = socket.lane.drop()
        self._count(self.release(socket, jobs))
        if any(job.kind is JobKind.CONNECT for job in jobs):
            # Put out before its connect handler began: it never will, so there is nothing to disconnect from either.
            self.erase(socket)

    def _close_lane(self, socket: Socket) -> None:
        self._count(self.release(socket, socket.lane.drop()))

    def _count(self, events: int) -> None:
        if events:
            self._wiring.count("events_dropped", events)

    def _stop_grace(self, socket: Socket) -> None:
        timer, socket.grace = socket.grace, None
        if timer is not None:
            timer.cancel()
