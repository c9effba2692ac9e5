"""Answers that clients owe us (spec 2.3).

Rules:

* An id is an integer, counts from 1 per sid and is never used twice; an unknown or repeated one is ignored.
* An answer is handled when it is read, whatever the client's handlers are doing (design §8.2).
* What waits for a departed client is dropped at once: a plain callback silently (spec 2.3.4), a waiter is told.
* A callback emitted by a handler runs in the lane of that handler's socket and is dropped when that socket has left
  (spec 1.9.1); others run bare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from trioflask_sio.hub.jobs import Job, JobKind

if TYPE_CHECKING:
    from trioflask_sio.hub.socket import Socket
    from trioflask_sio.hub.wiring import Wiring

__all__ = ["AckWaiter", "Acks", "Callback", "Pending"]


@runtime_checkable
class AckWaiter(Protocol):
    """Somebody who sleeps until a client answers: what ``call()`` waits with. Called on the loop, must not raise."""

    def answered(self, args: tuple[object, ...]) -> None:
        """A client's answer. Once per receiver; ``call()`` takes the first."""

    def gone(self) -> None:
        """Nobody is left who could answer: every receiver has left unanswered, or there was none (decision 6.4 #10)."""


Callback: TypeAlias = Callable[..., object] | AckWaiter


class Pending:
    """One emit that waits for answers, shared by all its receivers.

    Args:
        callback: function or waiter.
        origin: the socket whose handler emitted, where there is one.
    """

    __slots__ = ("_callback", "_entries", "answered", "origin", "waiter")

    def __init__(self, callback: Callback, origin: Socket | None) -> None:
        self._callback = callback
        self._entries: dict[Socket, int] = {}
        self.waiter = callback if isinstance(callback, AckWaiter) else None
        self.origin = origin
        self.answered = False

    @property
    def fn(self) -> Callable[..., object] | None:
        """The plain function, or None for a waiter."""
        return None if isinstance(self._callback, AckWaiter) else self._callback

    @property
    def waiting(self) -> int:
        """How many receivers still owe an answer."""
        return len(self._entries)

    def enter(self, socket: Socket) -> int:
        """One more receiver; its id."""
        socket.last_ack = ack_id = socket.last_ack + 1
        if socket.acks is None:
            socket.acks = {}
        socket.acks[ack_id] = self
        self._entries[socket] = ack_id
        return ack_id

    def leave(self, socket: Socket) -> None:
        """This receiver owes nothing any more."""
        ack_id = self._entries.pop(socket, None)
        if ack_id is not None and socket.acks is not None:
            socket.acks.pop(ack_id, None)

    def withdraw(self) -> None:
        """No answer is wanted any more; late ones are then unknown ids."""
        for socket in tuple(self._entries):
            self.leave(socket)


class Acks:
    """The book of what clients owe."""

    __slots__ = ("_waiters", "_wiring")

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._waiters: dict[int, Pending] = {}

    def open(self, callback: Callback, origin: Socket | None) -> Pending:
        """Begin to wait for the answers to one emit."""
        pending = Pending(callback, origin)
        if pending.waiter is not None:
            # By identity: a waiter need not be hashable, and lives as long as its entry.
            self._waiters[id(pending.waiter)] = pending
        return pending

    def sent(self, pending: Pending) -> None:
        """All receivers have been entered; a waiter that waits for nobody hears it now."""
        self._settle(pending)

    def answer(self, socket: Socket, ack_id: int | None, args: tuple[object, ...]) -> None:
        """An acknowledgement was read."""
        pending = socket.acks.get(ack_id) if socket.acks is not None and ack_id is not None else None
        if pending is None:
            self._wiring.count("acks_unknown")
            return
        pending.leave(socket)
        pending.answered = True
        if pending.waiter is not None:
            pending.waiter.answered(args)
            self._settle(pending)
        elif pending.fn is not None:
            self._run(pending.fn, pending.origin, args)

    def forget(self, socket: Socket) -> None:
        """``socket`` has left: nothing it owes will come."""
        owed, socket.acks = socket.acks, None
        for pending in tuple(owed.values()) if owed else ():
            pending.leave(socket)
            self._settle(pending)

    def withdraw(self, waiter: AckWaiter) -> None:
        """``waiter`` has given up (a timeout, a cancelled handler)."""
        pending = self._waiters.pop(id(waiter), None)
        if pending is not None:
            pending.withdraw()

    def __len__(self) -> int:
        """Waiters that still wait."""
        return len(self._waiters)

    def _settle(self, pending: Pending) -> None:
        waiter = pending.waiter
        if waiter is None or pending.waiting:
            return
        if self._waiters.pop(id(waiter), None) is not None and not pending.answered:
            waiter.gone()

    def _run(self, fn: Callable[..., object], origin: Socket | None, args: tuple[object, ...]) -> None:
        if origin is None:
            self._wiring.executor.run_callback(fn, args)
        elif origin.ended or not origin.lane.post(Job(JobKind.CALLBACK, origin, None, None, args, callback=fn)):
            self._wiring.count("callbacks_dropped")
