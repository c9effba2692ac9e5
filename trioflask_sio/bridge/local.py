"""A serving without a loop: everything happens in the caller's thread, at once (design §8.11).

``SocketIO.test_client`` runs on it. The parts are the real ones (hub, dispatcher, Flask contexts); what is replaced is
what would wait: the border acts at once, the executor runs jobs when the hub has come to rest, and time is slept away
by whoever waits. Asynchronous handlers get a Trio loop in a thread of their own for as long as they run.

Rules:

* An exception that no error handler takes is not logged: it is kept and raised to the test.
* The hub is never entered twice at once: acts of other threads (background tasks) take their turn by a lock, which no
  handler holds while it runs.
"""

from __future__ import annotations

import heapq
import inspect
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from trioflask_sio.bridge.background import BackgroundTask
from trioflask_sio.bridge.dispatch import Application, Dispatcher
from trioflask_sio.bridge.portal import Border, BorderState
from trioflask_sio.bridge.runs import Run, current_run
from trioflask_sio.bridge.waiting import Scope, Waiter
from trioflask_sio.hub.handlers import HandlerTable
from trioflask_sio.hub.hub import Hub
from trioflask_sio.hub.jobs import JobKind

if TYPE_CHECKING:
    from trioflask_sio.bridge.options import Options
    from trioflask_sio.bridge.runtime import Runtime
    from trioflask_sio.hub.jobs import Job
    from trioflask_sio.hub.lanes import Lane
    from trioflask_sio.hub.ports import EnginePort
    from trioflask_sio.hub.socket import Socket

__all__ = ["LocalRuntime", "local_runtime"]

T = TypeVar("T")


class LocalTimer:
    """One call that waits for its time."""

    __slots__ = ("fn",)

    def __init__(self, fn: Callable[[], object]) -> None:
        self.fn: Callable[[], object] | None = fn

    def cancel(self) -> None:
        """Forget it. Idempotent."""
        self.fn = None


class LocalTimers:
    """Deadlines that are met by the thread that waits: it sleeps until the next one and makes the call."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, LocalTimer]] = []
        self._count = itertools.count()

    def call_later(self, seconds: float, fn: Callable[..., object], *args: object) -> LocalTimer:
        """Call ``fn(*args)`` in ``seconds``, provided that somebody waits then."""
        timer = LocalTimer(partial(fn, *args))
        heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._count), timer))
        return timer

    def wait(self, waiter: Waiter) -> None:
        """Sleep and make calls until one of them wakes ``waiter``, or another thread does."""
        while not waiter.woken:
            if not self._heap:
                waiter.wait(0.01)
                continue
            at, _, timer = self._heap[0]
            if timer.fn is not None and waiter.wait(max(0.0, at - time.monotonic())):
                return
            heapq.heappop(self._heap)
            if timer.fn is not None:
                timer.fn()


class LocalBorder(Border):
    """A border with nobody behind it: what is handed over is done at once, in the caller's thread."""

    def __init__(self, timers: LocalTimers) -> None:
        super().__init__()
        self.state = BorderState.RUNNING
        self._turn = threading.RLock()
        self._timers = timers
        self.rest: Callable[[], None] = _nothing
        """Called when an act has been done: disconnect handlers that it caused run before the caller goes on."""

    def now(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()

    def put(self, fn: Callable[..., object], args: tuple[object, ...], size: int = 0) -> None:
        """Do it now."""
        self.call(fn, *args)

    def wake(self) -> None:
        """Nobody sleeps."""

    def call(self, fn: Callable[..., T], *args: object) -> T:
        """Do it now and return what it returned."""
        with self._turn:
            result = fn(*args)
        self.rest()
        return result

    def wait_for(self, waiter: Waiter) -> None:
        """Sleep the time away."""
        self._timers.wait(waiter)

    def drain(self) -> None:
        """Nothing is ever queued."""

    def lend(self, thread_id: int) -> None:
        """The thread ``thread_id`` runs an asynchronous handler: to it, this is the event loop. 0 ends that."""
        self._thread_id = thread_id


class LocalExecutor:
    """Runs jobs in the caller's thread, when it is told to."""

    def __init__(self, border: LocalBorder) -> None:
        self._border = border
        self._ready: deque[Lane] = deque()
        self._farewells: deque[tuple[Job, Callable[[], object] | None]] = deque()
        self._callbacks: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._scopes: dict[Socket, Scope] = {}
        self.runtime: LocalRuntime | None = None

    def schedule(self, lane: Lane) -> None:
        """See ``hub.Executor``."""
        self._ready.append(lane)

    def cancel(self, socket: Socket) -> None:
        """See ``hub.Executor``."""
        scope = self._scopes.pop(socket, None)
        if scope is not None:
            scope.end()

    def run_disconnect(self, job: Job, done: Callable[[], object] | None = None) -> None:
        """See ``hub.Executor``; it runs as soon as the hub has finished what it is at."""
        self._farewells.append((job, done))

    def run_callback(self, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        """See ``hub.Executor``."""
        self._callbacks.append((fn, args))

    def say_farewells(self) -> None:
        """Run the disconnect handlers that are due."""
        while self._farewells:
            job, done = self._farewells.popleft()
            run = Run(self._border, Scope(), job.socket.lane, None)
            run.pass_on()
            self._perform(job, run, cancels=False)
            if self.runtime is not None:
                self._border.call(self.runtime.hub.disconnected, job.socket)
            if done is not None:
                done()

    def run_all(self) -> None:
        """Run everything that is due, and what comes of it, until nothing is."""
        self.say_farewells()
        while self._ready or self._callbacks:
            if self._ready:
                self._run_lane(self._ready.popleft())
            else:
                fn, args = self._callbacks.popleft()
                if self.runtime is not None:
                    self.runtime.dispatcher.context.copy().run(fn, *args)
            self.say_farewells()

    def _run_lane(self, lane: Lane) -> None:
        scope = self._scopes.setdefault(lane.socket, Scope())
        scope.ended = lane.socket.ended
        run = Run(self._border, scope, lane, None)
        while (job := lane.take(run)) is not None:
            run.taken += job.size
            self._perform(job, run, cancels=True)
        lane.ended(run)
        run.let_go()
        if self.runtime is not None:
            self._border.call(self.runtime.hub.lane_rested, lane, run.taken)
        if lane.socket.ended:
            self._scopes.pop(lane.socket, None)

    def _perform(self, job: Job, run: Run, *, cancels: bool) -> None:
        if self.runtime is None:
            return
        dispatcher = self.runtime.dispatcher
        run.begin(job, cancels and dispatcher.cancels(job))
        try:
            if job.handler is None or not job.handler.is_async:
                dispatcher.perform(job, run)
                return
            thread = threading.Thread(target=self._perform_in_loop, args=(job, run), name="trioflask_sio test loop")
            thread.start()
            thread.join()
        finally:
            self.runtime.background.release()

    def _perform_in_loop(self, job: Job, run: Run) -> None:
        """An asynchronous handler: a loop of its own in a thread of its own, while the caller's thread waits."""
        assert self.runtime is not None
        run.thread_id = threading.get_ident()
        self._border.lend(run.thread_id)
        try:
            trio.run(self.runtime.dispatcher.perform_async, job, run)
        finally:
            self._border.lend(0)


class LocalEngine:
    """What the hub asks of an engine: there is nothing to flush, packets reach the test client when they are queued."""

    def __init__(self, timers: LocalTimers) -> None:
        self.timers = timers
        self.sessions: dict[str, object] = {}

    def flush_soon(self, session: object) -> None:
        """Nothing waits."""

    def flush(self) -> None:
        """Nothing waits."""


class LocalBackground:
    """Background tasks of a test: daemon threads, since nothing hosts them; asynchronous ones get a loop each.

    What a connect handler starts begins when that handler has ended: its client is reached by nobody else before it is
    let in (spec 2.5.2), and a task that emits at once is to reach it (spec 1.13.12).
    """

    def __init__(self) -> None:
        self._held: list[Callable[[], None]] = []

    def start(self, target: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, Any]) -> BackgroundTask:
        """Start it now, or at the end of the connect handler that asks."""
        task = BackgroundTask(getattr(target, "__qualname__", repr(target)))
        context = copy_context()
        call = partial(trio.run, partial(target, *args, **kwargs))
        if not inspect.iscoroutinefunction(target):
            call = partial(target, *args, **kwargs)
        begin = partial(task.begin, partial(context.run, call))
        run = current_run()
        if run is not None and run.job is not None and run.job.kind is JobKind.CONNECT:
            self._held.append(begin)
        else:
            begin()
        return task

    def release(self) -> None:
        """A handler has ended: begin what it has started."""
        held, self._held = self._held, []
        for begin in held:
            begin()

    def adopt(self, other: object) -> None:
        """Tasks that wait for a server go on waiting: a test starts none."""


class LocalRuntime:
    """One serving of one ``SocketIO`` to its test clients.

    Args:
        options: the checked options; handlers run strictly one after another whatever they say (spec 1.12.2).
        handlers: the application's handlers.
        application: error handlers, sessions, connections.
        context: the contextvars context that events start from.
    """

    local = True
    serving = True
    request_stop = None
    service = None

    def __init__(self, options: Options, handlers: HandlerTable, application: Application, context: Context) -> None:
        self.options = options
        self.timers = LocalTimers()
        self.border = LocalBorder(self.timers)
        self.pool = LocalExecutor(self.border)
        config = replace(options.hub, async_handlers=False)
        self.hub = Hub(config, handlers, self.pool, clock=time.monotonic, logger=options.logger)
        self.engine = LocalEngine(self.timers)
        self.hub.attach(cast("EnginePort", self.engine))
        self.errors: list[BaseException] = []
        self.dispatcher = Dispatcher(application, self.hub, self.border, context, report=self._keep)
        self.background = LocalBackground()
        self.pool.runtime = self
        self.border.rest = self.pool.say_farewells

    def _keep(self, job: Job, error: BaseException) -> None:
        self.errors.append(error)

    def settle(self) -> None:
        """Run what is due, then raise the first exception that no error handler took."""
        self.pool.run_all()
        if self.errors:
            error, self.errors[:] = self.errors[0], []
            raise error


def local_runtime(options: Options, handlers: HandlerTable, application: Application, context: Context) -> Runtime:
    """A ``LocalRuntime`` where a ``Runtime`` is expected: ``Operations`` uses only what both have."""
    return cast("Runtime", LocalRuntime(options, handlers, application, context))


def _nothing() -> None:
    """Nothing to do between acts before there is a runtime."""
