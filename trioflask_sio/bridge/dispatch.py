"""One job's passage through Flask: context, handler, error handler, acknowledgement (spec 1.4 to 1.7).

The way is the same for threads and tasks; only the call in the middle differs. Every event runs in its own copy of the
contextvars context that the server was started in, so what a handler sets is gone in the next event.

What a result means:

* connect: ``False`` refuses, everything else accepts; ``ConnectionRefusedError`` (ours or the builtin one) refuses with
  its data; any other exception refuses, unless an error handler returns exactly ``True`` (spec 6.4 #3).
* event: the result answers the client's acknowledgement, where it asked for one; an error handler's result replaces
  it; an error nobody handles is logged with its traceback and nothing is answered.
* disconnect, callback: the result is not used.
"""

from __future__ import annotations

import builtins
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

import anyio.to_thread

from trioflask_sio.bridge.coroutines import drive
from trioflask_sio.bridge.operations import unsendable
from trioflask_sio.bridge.runs import Run, enter
from trioflask_sio.exceptions import ConnectionRefusedError, HandlerCancelled, NotServing
from trioflask_sio.hub.jobs import Job, JobKind

if TYPE_CHECKING:
    from flask import Flask

    from trioflask_sio.bridge.context import Connection
    from trioflask_sio.bridge.flask_variants import EventContext
    from trioflask_sio.bridge.portal import Border
    from trioflask_sio.hub.handlers import Handler
    from trioflask_sio.hub.hub import Hub

__all__ = ["Application", "Dispatcher", "call_by_trial"]

_log = logging.getLogger("trioflask_sio")

REFUSED = "Connection rejected by server"


class Application(Protocol):
    """What the dispatcher asks of the ``SocketIO`` object."""

    app: Flask | None
    manage_session: bool

    @property
    def cancel_on_disconnect(self) -> bool: ...
    def error_handler(self, namespace: str) -> Callable[[BaseException], object] | None: ...
    def connection(self, job: Job) -> Connection: ...


class _Failure:
    """An exception that nobody handled."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Dispatcher:
    """Carries jobs through the application's handlers (``pool.Performer``).

    Args:
        application: error handlers, sessions, connections.
        hub: where outcomes go.
        border: the way there.
        context: the contextvars context every event starts from.
        report: told of exceptions that nobody handled; None logs them.
        logger: where.
    """

    def __init__(
        self,
        application: Application,
        hub: Hub,
        border: Border,
        context: Context,
        report: Callable[[Job, BaseException], None] | None = None,
        logger: logging.Logger = _log,
    ) -> None:
        self._application = application
        self._hub = hub
        self._border = border
        self.context = context
        self._report = report or partial(_report, logger)
        self._logger = logger

    def cancels(self, job: Job) -> bool:
        """Whether the departure of its client cancels this job."""
        if job.kind is JobKind.DISCONNECT:
            return False
        handler = job.handler
        if handler is not None and handler.options.cancel_on_disconnect is not None:
            return handler.options.cancel_on_disconnect
        return self._application.cancel_on_disconnect

    # --- threads ------------------------------------------------------------------------------------------------

    def perform(self, job: Job, run: Run) -> None:
        """Run one job in the calling thread."""
        self.context.copy().run(self._perform, job, run)

    def _perform(self, job: Job, run: Run) -> None:
        enter(run)
        outcome: object
        try:
            context = self._open(job)
        except Exception as error:
            self._settle(job, _Failure(error))
            return
        raised: BaseException | None = None
        try:
            outcome = _no_coroutine(_invoke(job.handler, job), job)
            context.save_session()
        except BaseException as error:
            raised = error
            outcome = self._failed(job, error)
        self._settle(job, outcome)
        self._close(context, job, raised if isinstance(outcome, _Failure) else None)

    def run_callback(self, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        """Run an acknowledgement's callback that belongs to no client (emitted from a view or a foreign thread)."""
        try:
            self.context.copy().run(fn, *args)
        except (Exception, HandlerCancelled, SystemExit):
            self._logger.exception("The callback %s of an emit failed", _name(fn))

    # --- tasks --------------------------------------------------------------------------------------------------

    async def perform_async(self, job: Job, run: Run) -> None:
        """Run one job in the calling task, in a context of its own. Its emits are flushed when it waits or ends."""
        connection = self._application.connection(job)
        if connection.may_block:  # somebody's WSGI middlewares, once per connection: they were written for threads
            await anyio.to_thread.run_sync(getattr, connection, "environ")

        def waits() -> None:
            run.flushes = False  # tasks that the handler has started emit meanwhile, and nobody flushes for them
            self._hub.flush()
            run.overlap()

        def goes_on() -> None:
            run.flushes = True

        run.flushes = True
        try:
            await drive(self._perform_async(job, run), self.context.copy(), waits, goes_on)
        finally:
            run.flushes = False

    async def _perform_async(self, job: Job, run: Run) -> None:
        enter(run)
        outcome: object
        try:
            context = self._open(job)
        except Exception as error:
            self._settle(job, _Failure(error))
            return
        raised: BaseException | None = None
        finished = False
        try:
            outcome = _invoke(job.handler, job)
            if inspect.isawaitable(outcome):
                outcome = await _wait_for(outcome)
            context.save_session()
            finished = True
        except (Exception, HandlerCancelled, SystemExit) as error:  # the loop's own cancellation passes through
            raised = error
            outcome = self._failed(job, error)
            finished = True
        finally:
            if not finished:  # cancelled: the exception is the scope's, not ours
                self._settle_cancelled(job)
                self._close(context, job, None)
        self._settle(job, outcome)
        self._close(context, job, raised if isinstance(outcome, _Failure) else None)

    # --- the parts ----------------------------------------------------------------------------------------------

    def _open(self, job: Job) -> EventContext:
        connection = self._application.connection(job)
        socket = job.socket
        context = connection.event_context(
            socket.sid,
            socket.namespace,
            {"message": _message(job), "args": _visible_args(job, connection)},
            manage_session=self._application.manage_session,
        )
        context.push()
        return context

    def _close(self, context: EventContext, job: Job, error: BaseException | None) -> None:
        """Pop the Flask context; what a teardown function raises is the programmer's mistake."""
        try:
            context.pop(error)
        except Exception as second:
            self._report(job, second)

    def _failed(self, job: Job, error: BaseException) -> object:
        """What an exception comes to: the error handler's result, or the failure itself."""
        if isinstance(error, (HandlerCancelled, ConnectionRefusedError, builtins.ConnectionRefusedError)):
            return _Failure(error)
        if not isinstance(error, Exception):
            return _Failure(error)
        handle = self._application.error_handler(job.socket.namespace)
        if handle is None:
            return _Failure(error)
        try:
            result = handle(error)
        except (Exception, HandlerCancelled, SystemExit) as second:
            return _Failure(second)
        if job.kind is JobKind.CONNECT and result is not True:
            return _Failure(ConnectionRefusedError())
        return result

    def _settle(self, job: Job, outcome: object) -> None:
        """Tell the hub what came of the job."""
        try:
            if job.kind is JobKind.CONNECT:
                self._settle_connect(job, outcome)
            elif isinstance(outcome, _Failure):
                self._report(job, outcome.error)
            elif job.kind is JobKind.EVENT and job.ack_id is not None:
                self._acknowledge(job, outcome)
        except NotServing:
            _log.debug("The server stopped before the outcome of %r could be told", job.event)

    def _settle_connect(self, job: Job, outcome: object) -> None:
        if isinstance(outcome, _Failure):
            self._tell(self._hub.refuse, job.socket, self._refusal(job, outcome.error))
        elif outcome is False:
            self._tell(self._hub.refuse, job.socket, {"message": REFUSED})
        else:
            self._tell(self._hub.accept, job.socket)

    def _refusal(self, job: Job, error: BaseException) -> dict[str, Any]:
        if isinstance(error, ConnectionRefusedError):
            return dict(error.error_args)
        if isinstance(error, builtins.ConnectionRefusedError):
            return dict(ConnectionRefusedError(*error.args).error_args)
        self._report(job, error)
        return {"message": REFUSED}

    def _settle_cancelled(self, job: Job) -> None:
        """A cancelled connect handler refuses; other cancelled handlers answer nothing."""
        if job.kind is JobKind.CONNECT:
            self._tell(self._hub.refuse, job.socket, {"message": REFUSED})

    def _acknowledge(self, job: Job, result: object) -> None:
        if result is None:
            args: tuple[object, ...] = ()
        elif isinstance(result, tuple):
            args = result
        else:
            args = (result,)
        assert job.ack_id is not None
        try:
            outgoing = self._hub.encode_ack(job.socket, job.ack_id, args)
        except Exception as error:  # TypeError and ValueError; whatever else a json module of the user's raises
            self._report(job, unsendable(f"the answer to {job.event!r}", error))
            return
        self._tell(self._hub.send_ack, job.socket, outgoing, size=outgoing.size)

    def _tell(self, fn: Callable[..., object], *args: Any, size: int = 0) -> None:
        """In order with what the handler emitted: behind it in the queue, or at once on the loop."""
        border = self._border
        if border.on_loop():
            border.drain()
            fn(*args)
        else:
            border.put(fn, args, size)


def _no_coroutine(outcome: object, job: Job) -> object:
    """A plain decorator around an async handler returns the coroutine to a thread that cannot run it."""
    if isinstance(outcome, CoroutineType):
        outcome.close()
        raise TypeError(
            f"the handler of {job.event!r} is not `async def`, but returned a coroutine: "
            "let the decorator around it be `async def` too"
        )
    return outcome


async def _wait_for(outcome: Awaitable[object]) -> object:
    return await outcome


def _invoke(handler: Handler | None, job: Job) -> Any:
    """Call the handler with the arguments its signature takes (learned at registration)."""
    if job.kind is JobKind.CALLBACK:
        assert job.callback is not None
        return job.callback(*job.args)
    assert handler is not None
    if job.kind is JobKind.CONNECT:
        return call_by_trial(handler, handler.connect_args(job.args[0] if job.args else None))
    if job.kind is JobKind.DISCONNECT:
        return call_by_trial(handler, handler.disconnect_args(str(job.args[0])))
    if handler.catch_all:
        return handler.fn(job.event, *job.args)
    return handler.fn(*job.args)


def call_by_trial(handler: Handler, args: tuple[object, ...]) -> Any:
    """Call; where a wrapper without ``wraps`` could not bind what it passed on, call once more without arguments."""
    try:
        return handler.fn(*args)
    except TypeError as error:
        if not args or not handler.failed_to_bind(error):
            raise
    return handler.fn()


def _message(job: Job) -> str | None:
    if _caught(job):
        return "*"
    return None if job.kind is JobKind.CALLBACK else str(job.event)


def _caught(job: Job) -> bool:
    return job.kind is JobKind.EVENT and job.handler is not None and job.handler.catch_all


def _visible_args(job: Job, connection: Connection) -> tuple[object, ...]:
    """What ``request.event['args']`` shows (spec 1.4.4)."""
    if job.kind is JobKind.CONNECT:
        auth = job.args[0] if job.args else None
        return (connection.environ,) if auth is None else (connection.environ, auth)
    return (job.event, *job.args) if _caught(job) else job.args


def _report(logger: logging.Logger, job: Job, error: BaseException) -> None:
    """A programmer's mistake prints its traceback, a cancellation nothing, a refusal outside connect one line."""
    socket = job.socket
    if isinstance(error, HandlerCancelled):
        logger.debug("The handler of %r was cancelled: client %s left %s", job.event, socket.sid, socket.namespace)
    elif isinstance(error, (ConnectionRefusedError, builtins.ConnectionRefusedError)):
        logger.error(
            "ConnectionRefusedError raised in the handler of %r for client %s in %s refuses nothing: "
            "raise it in a connect handler, or call disconnect().",
            job.event,
            socket.sid,
            socket.namespace,
        )
    else:
        logger.error(
            "The handler of %r failed for client %s in namespace %s, function %s%s",
            job.event,
            socket.sid,
            socket.namespace,
            _name(job.handler.fn if job.handler is not None else job.callback),
            _sent(job, error),
            exc_info=error,
        )


def _sent(job: Job, error: BaseException) -> str:
    """What the client sent, where the function could not be called with it: its traceback shows only our own call."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if type(error) is not TypeError or trace is None or trace.tb_frame.f_code is not _invoke.__code__:
        return ""
    count = len(job.args)
    return f"\nThe client sent {count} argument{'' if count == 1 else 's'} with {job.event!r}."


def _name(fn: Callable[..., object] | None) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)
