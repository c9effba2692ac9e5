"""One serving of one ``SocketIO``: border, pool, hub and engine, born together and ended together (design §8.11).

``Runtime`` exists before a loop does, so that emits before the start have a place to go nowhere; ``running()`` binds it
to the loop it is entered on. Ending, in order: every session is closed and its disconnect handlers run (under the
shutdown deadline, shielded from whatever cancelled the server), the threads end, the border closes.

The tasks of the pool live in a host task that is shielded from the cancellation of the server: the farewell needs them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any, cast

import anyio
from anyio.abc import TaskGroup, TaskStatus

from trioflask_sio.bridge.background import BackgroundTasks
from trioflask_sio.bridge.dispatch import Application, Dispatcher
from trioflask_sio.bridge.pool import Pool, PoolConfig
from trioflask_sio.bridge.portal import Backend, Border, BorderState, current_backend
from trioflask_sio.bridge.runs import current_run
from trioflask_sio.bridge.wsgi import WsgiApplication
from trioflask_sio.engine.engine import Engine
from trioflask_sio.engine.timers import Timers
from trioflask_sio.exceptions import UsageError
from trioflask_sio.hub.handlers import HandlerTable
from trioflask_sio.hub.hub import Hub

if TYPE_CHECKING:
    from trioflask_sio.bridge.options import Options
    from trioflask_sio.engine.session import SessionListener
    from trioflask_sio.hub.ports import EnginePort
    from trioflask_sio.server.service import Service

__all__ = ["Runtime"]

THREAD_GRACE = 1.0
"""Seconds that threads get to end after the last disconnect handler; who is stuck is left behind and named."""

LAST_GRACE = 0.5
"""Seconds for disconnect handlers when there is no time left to wait for their clients' other handlers first, and for
views to end when there is none left to wait for them."""

_log = logging.getLogger("trioflask_sio")


class Runtime:
    """Everything that lives exactly as long as one serving.

    Args:
        options: the checked options.
        handlers: the application's handlers.
        application: error handlers, sessions, connections.
        context: the contextvars context that events start from.
    """

    local = False
    """Whether it serves test clients in their own thread (``local.LocalRuntime``)."""

    def __init__(self, options: Options, handlers: HandlerTable, application: Application, context: Context) -> None:
        own = options.own
        self.options = options
        self.border = Border()
        pool_config = PoolConfig(
            own["worker_threads"], own["max_threads"], own["thread_idle_timeout"], options.hub.overlap_after
        )
        self.pool = Pool(pool_config, self.border)
        self.hub = Hub(options.hub, handlers, self.pool, logger=options.logger)
        self.dispatcher = Dispatcher(application, self.hub, self.border, context, logger=options.logger)
        self.background = BackgroundTasks(self.border)
        # Hub and engine are typed against each other's Protocols; each sees more of the other than it asks for.
        listener = cast("SessionListener", self.hub)
        self.engine = Engine(options.engine, listener, logger=options.engine_logger)
        self.pool.hub = self.hub
        self.pool.performer = self.dispatcher
        self.hub.attach(cast("EnginePort", self.engine))
        self.timers = Timers(logging.getLogger("trioflask_sio"))
        """The clock of sleeping handlers; it goes on until the last disconnect handler has ended."""
        self.shutdown_timeout: float = own["shutdown_timeout"]
        self._deadline = math.inf
        """When the whole stop is over, on the loop's clock."""
        self._ending: anyio.CancelScope | None = None
        """What the stop waits for at the moment."""
        self.request_stop: Callable[[], None] | None = None
        """How our own server is told to stop; None where another server owns the process."""
        self.service: Service | None = None
        """What an ASGI server's requests are answered with, while its lifespan lasts."""
        self._application = application

    @property
    def serving(self) -> bool:
        """True between start and stop."""
        return self.border.state is BorderState.RUNNING

    @asynccontextmanager
    async def running(self, shutdown_timeout: float | None = None) -> AsyncIterator[WsgiApplication]:
        """Bind to the running loop for the time of the block. The engine itself is run by the server in the block.

        Args:
            shutdown_timeout: seconds for the farewell at the end; default: the option of the same name.

        Returns:
            The application's views, as an ASGI application that is being hosted.

        Raises:
            UsageError: it is running already, or has run.
        """
        if self.border.state is not BorderState.UNBOUND:
            raise UsageError("This SocketIO is being served already: one SocketIO is served once at a time.")
        if shutdown_timeout is not None:
            self.shutdown_timeout = shutdown_timeout
        backend = current_backend()
        views = WsgiApplication(self._flask_app, threads=self.options.own["view_threads"])
        ended = anyio.Event()
        try:
            async with anyio.create_task_group() as host:
                try:
                    with anyio.CancelScope(shield=True):  # a few steps of the loop: nothing in there waits for anybody
                        tasks = await host.start(self._host, backend, views, ended)
                    self.border.bind(backend, self.hub.flush, self._park)
                    self.background.open(tasks, backend)
                    yield views
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._wind_down()
                        left = self._deadline - anyio.current_time()
                    views.stop_grace = max(LAST_GRACE, min(views.stop_grace, left))
                    ended.set()
        finally:
            self.border.unbind()

    async def _host(
        self, backend: Backend, views: WsgiApplication, ended: anyio.Event, *, task_status: TaskStatus[TaskGroup]
    ) -> None:
        """The tasks of handlers and views, out of reach of what cancels the server."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(backend.pump)
                tasks.start_soon(self.timers.run)
                await tasks.start(self.pool.run, backend)
                await tasks.start(views.run)
                task_status.started(tasks)
                await ended.wait()
                tasks.cancel_scope.cancel()

    async def run_engine(self, *, task_status: TaskStatus[None]) -> None:
        """Host the engine in a task of a foreign server's lifespan."""
        await self.engine.run(task_status=task_status)

    def stop_within(self, seconds: float) -> None:
        """The server has begun to stop: everything is over in ``seconds``. The earliest end that was named counts."""
        self._deadline = min(self._deadline, anyio.current_time() + seconds)
        if self._ending is not None:
            self._ending.deadline = self._deadline

    async def farewell(self) -> None:
        """Close every session and wait for the disconnect handlers, ``shutdown_timeout`` seconds at most."""
        self.background.close()
        self.stop_within(self.shutdown_timeout)
        with anyio.CancelScope(deadline=self._deadline):
            await self.engine.shutdown(timeout=self.shutdown_timeout)
            await self._hub_empty()

    async def _wind_down(self) -> None:
        """Run the disconnect handlers that are left, end the threads; every step has a deadline."""
        self.background.close()
        self.border.drain()
        self.stop_within(self.shutdown_timeout)
        with anyio.CancelScope(deadline=self._deadline) as self._ending:
            await self._hub_empty()
        if self.hub.sockets:  # no time was left, or a second signal took it
            self.hub.hurry()
            with anyio.move_on_after(LAST_GRACE):
                await self._told_empty()
        self.pool.end_waiting()
        with anyio.move_on_after(THREAD_GRACE):
            await self.pool.stop()
            await self.background.ended()
        self._name_zombies()
        self.border.close()

    async def _hub_empty(self) -> None:
        """Wait until the last disconnect handler has ended; after the grace the stuck handlers are not waited for."""
        self.border.drain()
        left = self._deadline - anyio.current_time()
        with anyio.move_on_after(min(self.options.hub.disconnect_grace, left / 2)):
            await self._told_empty()
            return
        self.hub.hurry()
        await self._told_empty()

    async def _told_empty(self) -> None:
        """Wait until the hub knows no socket any more."""
        empty = anyio.Event()
        self.hub.when_empty(empty.set)
        if self.hub.sockets:
            await empty.wait()

    def _name_zombies(self) -> None:
        for run in self.pool.stuck():
            job = run.job
            if job is not None:
                _log.warning(
                    "The handler of %r for client %s in %s still runs after the stop (since %.1f s): its thread %d is "
                    "left behind.",
                    job.event,
                    job.socket.sid,
                    job.socket.namespace,
                    time.perf_counter() - run.started,
                    run.thread_id,
                )

    def _flask_app(self, environ: Any, start_response: Any) -> Any:
        """The application's views, with whatever middleware is around them by now."""
        assert self._application.app is not None
        return self._application.app(environ, start_response)

    @staticmethod
    def _park() -> Callable[[], None]:
        run = current_run()
        return run.park() if run is not None else _stay


def _stay() -> None:
    """A foreign thread holds no place."""
