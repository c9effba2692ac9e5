"""Background tasks of the application: a thread or a task that ends with the server (spec 1.9.5).

A synchronous target runs in a thread of its own, hosted by a task of the server's nursery; an asynchronous one is such
a task itself. What is started before the server runs waits for the start. ``socketio.sleep`` in a background thread
raises ``HandlerCancelled`` when the server stops, so a loop that sleeps ends by itself.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup

from trioflask_sio.bridge.runs import Run, current_run, enter
from trioflask_sio.bridge.waiting import Scope, Waiter
from trioflask_sio.exceptions import HandlerCancelled, UsageError
from trioflask_sio.hub.jobs import JobKind

if TYPE_CHECKING:
    from trioflask_sio._types import Sid
    from trioflask_sio.bridge.portal import Backend, Border

__all__ = ["BackgroundTask", "BackgroundTasks"]

_log = logging.getLogger("trioflask_sio")


class BackgroundTask:
    """What ``start_background_task`` returns."""

    __slots__ = ("_done", "_origin", "_started", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._origin = _connecting_client()
        self._done = Waiter()
        self._started = False

    def begin(self, call: Callable[[], object]) -> None:
        """Run ``call`` in a daemon thread of its own, hosted by nobody (test clients have no server)."""
        self._started = True
        threading.Thread(target=self._run, args=(call,), name=f"background task {self.name}", daemon=True).start()

    def _run(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception:
            _log.exception("The background task %s failed", self.name)
        finally:
            self._done.wake()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the task has ended.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            UsageError: the server has not started, so the task has not either.
        """
        if not self._started and timeout is None:
            raise UsageError(
                f"The background task {self.name} starts when the server does: join() would wait for ever."
            )
        run = current_run()
        unpark = run.park() if run is not None else None
        try:
            self._done.wait(-1 if timeout is None else timeout)
        finally:
            if unpark is not None:
                unpark()

    def is_alive(self) -> bool:
        """True from the start of the task to its end."""
        return self._started and not self._done.wait(0)

    def __repr__(self) -> str:
        state = "running" if self.is_alive() else "ended" if self._started else "waiting for the server"
        return f"<BackgroundTask {self.name} {state}>"


class BackgroundTasks:
    """All background tasks of one serving.

    Args:
        border: the way to the loop.

    Each task runs in a copy of its starter's contextvars context.
    """

    def __init__(self, border: Border) -> None:
        self.border = border
        self.scope = Scope()
        self._waiting: list[tuple[BackgroundTask, Callable[[], Any], Context, bool]] = []
        self._alive: dict[BackgroundTask, anyio.CancelScope | None] = {}
        self._tasks: TaskGroup | None = None
        self._backend: Backend | None = None
        self._lock = threading.Lock()
        self._all_ended: anyio.Event | None = None

    def start(self, target: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, Any]) -> BackgroundTask:
        """Start ``target(*args, **kwargs)``, now or with the server; any thread."""
        if not callable(target):
            raise TypeError(f"the target of a background task must be callable, not {target!r}")
        task = BackgroundTask(getattr(target, "__qualname__", repr(target)))
        entry = (task, lambda: target(*args, **kwargs), copy_context(), inspect.iscoroutinefunction(target))
        with self._lock:
            if self._tasks is None:
                self._waiting.append(entry)
                return task
        if self.border.on_loop():
            self._launch(*entry)
        else:
            self.border.post(self._launch, *entry)
        return task

    def adopt(self, other: BackgroundTasks) -> None:
        """Take over what waits for a start that will not come; the options have changed meanwhile."""
        with other._lock:
            waiting, other._waiting = other._waiting, []
        with self._lock:
            self._waiting[:0] = waiting

    def open(self, tasks: TaskGroup, backend: Backend) -> None:
        """The server has started: what waited starts now; loop thread."""
        with self._lock:
            self._tasks, self._backend = tasks, backend
            waiting, self._waiting = self._waiting, []
        for entry in waiting:
            self._launch(*entry)

    def close(self) -> None:
        """The server stops: wake what sleeps, cancel the tasks; loop thread."""
        self.scope.end()
        for scope in tuple(self._alive.values()):
            if scope is not None:
                scope.cancel()

    async def ended(self) -> None:
        """Wait until every background task has ended."""
        if self._alive:
            self._all_ended = anyio.Event()
            await self._all_ended.wait()

    # --- the loop -----------------------------------------------------------------------------------------------

    def _launch(self, task: BackgroundTask, call: Callable[[], Any], context: Context, is_async: bool) -> None:
        if self._tasks is None:
            return
        task._started = True
        self._alive[task] = anyio.CancelScope() if is_async else None
        host = self._host_task if is_async else self._host_thread
        context.run(self._tasks.start_soon, host, task, call)

    async def _host_thread(self, task: BackgroundTask, call: Callable[[], Any]) -> None:
        assert self._backend is not None
        context = copy_context()
        try:
            await self._backend.host_thread(
                lambda: context.run(self._run_in_thread, task, call), anyio.CapacityLimiter(1)
            )
        finally:
            self._left(task)

    def _left(self, task: BackgroundTask) -> None:
        """The last of a task is gone; loop thread."""
        self._alive.pop(task, None)
        if not self._alive and self._all_ended is not None:
            self._all_ended.set()

    def _run_in_thread(self, task: BackgroundTask, call: Callable[[], Any]) -> None:
        run = Run(self.border, self.scope)
        run.origin = task._origin
        enter(run)
        try:
            call()
        except HandlerCancelled:
            _log.debug("The background task %s ended with the server", task.name)
        except BaseException:
            _log.exception("The background task %s failed", task.name)
        finally:
            task._done.wake()

    async def _host_task(self, task: BackgroundTask, call: Callable[[], Any]) -> None:
        scope = self._alive[task]
        assert scope is not None
        if self.scope.ended:
            scope.cancel()
        try:
            with scope:
                await call()
        except (Exception, HandlerCancelled, SystemExit):
            _log.exception("The background task %s failed", task.name)
        finally:
            task._done.wake()
            self._left(task)


def _connecting_client() -> Sid | None:
    """The client whose connect handler the calling code is."""
    run = current_run()
    if run is None or run.job is None or run.job.kind is not JobKind.CONNECT:
        return None
    return run.job.socket.sid
