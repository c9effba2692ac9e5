"""What a handler that runs belongs to, and how it waits.

A scope is what ends: a client's stay in one namespace, or the server. A ``Run`` is one lane (or one background
task) in the hands of one thread or one task. The run that executes the calling code is found in a context variable,
so the public functions need no argument to know for whom they work; a context copied into a foreign thread is noticed
by the thread's id and treated as foreign.

How a client's departure reaches a synchronous handler (design §3): the loop marks the scope and wakes its waiters; a
waiting call raises ``HandlerCancelled`` at once; a computing handler meets it at its next waiting call, or at an emit
addressed to the departed client alone once ``emit_grace`` is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from trioflask_sio.bridge.portal import BorderState
from trioflask_sio.bridge.waiting import CANCELLED, Scope, Waiter
from trioflask_sio.exceptions import HandlerCancelled
from trioflask_sio.hub.jobs import Job, JobKind

if TYPE_CHECKING:
    from anyio import CancelScope

    from trioflask_sio._types import Sid
    from trioflask_sio.bridge.portal import Border
    from trioflask_sio.hub.jobs import Job
    from trioflask_sio.hub.lanes import Lane
    from trioflask_sio.hub.socket import Socket

__all__ = ["Places", "Run", "current_run", "enter"]


QUIET = 0.001
"""Seconds that a handler may run before its emits wake the loop at once instead of at the end of its lane's turn."""


class Places(Protocol):
    """What counts the handlers that run (``workers.Crew``)."""

    def take_place(self, scope: Scope | None) -> bool: ...
    def give_place(self) -> None: ...
    def parked(self, run: Run, parked: bool) -> None: ...


class Run:
    """One lane, or one background task, in the hands of one thread or task.

    Args:
        border: the way to the loop.
        scope: what it ends with.
        lane: the lane whose jobs it runs; None for a background task.
        places: where its place in the worker limit is counted; None where it has none.
    """

    __slots__ = (
        "_hold",
        "border",
        "cancel_scope",
        "cancels",
        "flushes",
        "has_place",
        "job",
        "lane",
        "origin",
        "parked",
        "places",
        "scope",
        "started",
        "taken",
        "thread_id",
        "unwinding",
    )

    def __init__(self, border: Border, scope: Scope, lane: Lane | None = None, places: Places | None = None) -> None:
        self.border = border
        self.scope = scope
        self.lane = lane
        self.places = places
        self.thread_id = threading.get_ident()
        self.has_place = False
        self.cancels = True
        """Whether the end of the scope cancels what runs now."""
        self.unwinding = False
        """It has been cancelled: its emits are silent from here on (design §8.9)."""
        self.job: Job | None = None
        self.started = 0.0
        self.taken = 0
        """Bytes of the jobs it has run, to be released when it puts the lane down."""
        self.cancel_scope: CancelScope | None = None
        self.flushes = False
        """It is an asynchronous handler's: what it emits is flushed when it next waits or ends, all at once."""
        self.origin: Sid | None = None
        """It is a background task that this client's connect handler has started: what it emits may reach the client
        before it is let in, as what the handler itself emits does (spec 2.5.2, 1.13.12)."""
        self.parked = False
        """It waits without a place."""
        self._hold: list[None] = [None]
        """One token as long as the lane is ours; a new list for each job, so that an overlap decided for one job cannot
        hit the next one."""

    # --- the right to run the lane ------------------------------------------------------------------------------

    def begin(self, job: Job, cancels: bool) -> None:
        """The next job starts."""
        self.job = job
        self.cancels = cancels
        self.unwinding = job.kind is JobKind.DISCONNECT  # its client has left: emits to it are silent (design §8.9)
        self.started = time.perf_counter()

    def renew(self) -> bool:
        """Between two jobs: True when the lane is still ours."""
        try:
            self._hold.pop()
        except IndexError:
            return False
        self.started = 0.0  # before the new token: see overlap_since
        self._hold = [None]
        return True

    @property
    def holds(self) -> bool:
        """True while no other runner may take the lane."""
        return bool(self._hold)

    def let_go(self) -> bool:
        """Give the lane back, once: the next event may start although this one has not ended. Any thread."""
        return self._release(self._hold)

    def _release(self, hold: list[None]) -> bool:
        try:
            hold.pop()
        except IndexError:
            return False
        if self.lane is not None:
            self.lane.release()
        return True

    def pass_on(self) -> None:
        """The hold goes on to somebody else together with the lane; this run has it no more."""
        self._hold.clear()

    def overlap(self) -> None:
        """The handler waits or runs long: let the next one start, where order allows."""
        lane, job = self.lane, self.job
        if lane is None or lane.strict or job is None:
            return
        self.let_go()

    def overlap_since(self, moment: float) -> None:
        """As ``overlap`` where the present job began before ``moment``; called by the loop, beside the thread."""
        hold = self._hold  # read first: a token that is taken below belongs to the job whose start is read next
        started = self.started
        if hold and 0.0 < started < moment and self.lane is not None and not self.lane.strict:
            self._release(hold)

    # --- who ----------------------------------------------------------------------------------------------------

    @property
    def socket(self) -> Socket | None:
        """The client it works for."""
        return self.lane.socket if self.lane is not None else None

    @property
    def cancelled(self) -> bool:
        """True when its client has left (or the server stops) and that is to end it."""
        return self.ends_with.ended

    @property
    def ends_with(self) -> Scope:
        """What ends its waiting: its client's stay; the server's where that is not to cancel it."""
        return self.scope if self.cancels else self.border.stopping

    def check(self) -> None:
        """Raise ``HandlerCancelled`` when cancelled."""
        if self.cancelled:
            raise self.cancellation()

    def cancellation(self) -> HandlerCancelled:
        """The exception that ends this handler."""
        self.unwinding = True
        socket, job = self.socket, self.job
        if socket is None or job is None:
            return HandlerCancelled("the server is stopping")
        return HandlerCancelled(f"client {socket.sid} left {socket.namespace} while {job.event!r} was handled")

    # --- waiting ------------------------------------------------------------------------------------------------

    def post(self, fn: Callable[..., object], args: tuple[object, ...], size: int) -> None:
        """Queue for the loop. In a lane's turn it is woken at the end, unless the handler runs long."""
        self.border.put(fn, args, size)
        if self.places is None or time.perf_counter() - self.started > QUIET:
            self.border.wake()

    def wait(self, arm: Callable[[Waiter], object]) -> object:
        """Wait for an answer, holding no place meanwhile.

        Args:
            arm: runs on the loop and sees to it that the waiter is woken some time.

        Returns:
            What the waiter was woken with.

        Raises:
            HandlerCancelled: the scope ended first, or the server has stopped.
        """
        self.check()
        if self.border.state is not BorderState.RUNNING:
            raise self.cancellation()
        waiter = Waiter()
        scope = self.ends_with
        scope.enter(waiter)
        unpark = self.park()
        try:
            self.border.post(arm, waiter)
            self.border.wait_for(waiter)
        finally:
            scope.leave(waiter)
            unpark()
        if waiter.value is CANCELLED:
            raise self.cancellation()
        return waiter.value

    def park(self) -> Callable[[], None]:
        """Give back the lane and the place while this thread waits; call what it returns to go on."""
        self.overlap()
        places = self.places
        if places is None or self.parked:
            return _nothing
        self.parked = True
        places.parked(self, True)
        if self.has_place:
            self.has_place = False
            places.give_place()
        return self._unpark

    def _unpark(self) -> None:
        places = self.places
        if places is None:
            return
        self.has_place = places.take_place(self.ends_with)
        self.parked = False
        places.parked(self, False)


_current: ContextVar[Run | None] = ContextVar("trioflask_sio_run", default=None)


def enter(run: Run) -> None:
    """Make ``run`` the current one of the calling context."""
    _current.set(run)


def current_run() -> Run | None:
    """The run that executes the calling code, or None in a foreign thread, a view or plain code."""
    run = _current.get()
    if run is None or run.thread_id != threading.get_ident():
        return None
    return run


def _nothing() -> None:
    """No place to take again."""
