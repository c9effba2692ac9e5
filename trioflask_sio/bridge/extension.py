"""``SocketIO``: the object that applications make, with Flask-SocketIO's names (spec 1.2, 1.3, 1.9).

It is thin: it keeps what was registered and configured, and hands every act to ``Operations``, every serving to
``Runtime``. Registrations and options outlive servings and applications: they are kept here and every serving starts
from them, so handlers registered in any order relative to ``init_app`` are never lost (spec 1.2.7).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar, overload

from trioflask_sio._types import Room
from trioflask_sio.bridge import functions
from trioflask_sio.bridge.asgi_entry import Receive, Send, asgi
from trioflask_sio.bridge.context import Connection
from trioflask_sio.bridge.facade import ServerFacade
from trioflask_sio.bridge.local import local_runtime
from trioflask_sio.bridge.middleware import SioMiddleware, install, refuse_wsgi
from trioflask_sio.bridge.namespace import Namespace
from trioflask_sio.bridge.operations import CALL_TIMEOUT, Operations, as_args, as_rooms, as_sids
from trioflask_sio.bridge.options import Options, warn_user
from trioflask_sio.bridge.portal import BorderState
from trioflask_sio.bridge.runtime import Runtime
from trioflask_sio.bridge.test_client import SocketIOTestClient
from trioflask_sio.exceptions import UsageError
from trioflask_sio.hub.handlers import HandlerOptions, HandlerTable

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

    from trioflask_sio.bridge.background import BackgroundTask
    from trioflask_sio.hub.client import Client
    from trioflask_sio.hub.jobs import Job

__all__ = ["DisconnectReason", "SocketIO"]

F = TypeVar("F", bound=Callable[..., object])
ErrorHandler = TypeVar("ErrorHandler", bound=Callable[[Any], object])

_log = logging.getLogger("trioflask_sio")


class DisconnectReason:
    """The reasons a disconnect handler may be given."""

    SERVER_DISCONNECT = "server disconnect"
    CLIENT_DISCONNECT = "client disconnect"
    PING_TIMEOUT = "ping timeout"
    TRANSPORT_CLOSE = "transport close"
    TRANSPORT_ERROR = "transport error"


class SocketIO:
    """A Socket.IO server for a Flask application.

    Args:
        app: the Flask application; None to give it to :meth:`init_app` later.
        **options: all are in ``docs/options.md`` with default, unit and meaning; times are seconds, sizes bytes. Those
            met most: ``cors_allowed_origins`` (None: the own origin only), ``ping_interval`` (25.0), ``ping_timeout``
            (20.0), ``max_http_buffer_size`` (1,000,000), ``async_handlers`` (True), ``manage_session`` (True),
            ``worker_threads`` (64), ``path`` (``"socket.io"``).

    Raises:
        UnknownOption: there is no such option; the message suggests one.
        ConfigError: a value that cannot be.

    The object itself is an ASGI application for other servers: ``hypercorn -k trio module:socketio``.
    """

    reason = DisconnectReason
    wsgi_server = None
    """Flask-SocketIO's gevent server object; there is none here."""

    def __init__(self, app: Flask | None = None, **options: Any) -> None:
        self.app: Flask | None = None
        self.handlers = HandlerTable()
        self.exception_handlers: dict[str, Callable[[Any], object]] = {}
        self.default_exception_handler: Callable[[Any], object] | None = None
        self.namespace_handlers: list[Namespace] = []
        self.sockio_mw: SioMiddleware | None = None
        self.options = Options(options, app=lambda: self.app)
        self.manage_session: bool = self.options.own["manage_session"]
        self._runtime: Runtime | None = None
        self._making = threading.Lock()
        self.server = ServerFacade(self)
        """What python-socketio's ``Server`` offers beyond these methods."""
        self.operations = Operations(lambda: self.runtime, self.options.own["emit_grace"])
        # Servers tell ASGI from WSGI by whether this attribute is a coroutine function; the call itself takes both.
        self.__dict__["__call__"] = self._asgi
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask | None, **options: Any) -> None:
        """Attach to an application; options given here win over those of the constructor.

        May be called again: the handlers stay, and on the same application the middleware is replaced.

        Args:
            app: the Flask application; None only merges the options.
            **options: as for the constructor.

        Raises:
            UsageError: called while serving.
        """
        if self._runtime is not None and self._runtime.serving and not self._runtime.local:
            raise UsageError("init_app() while the server runs: call it before serve().")
        if options:
            given = self.options.given
            self.options = Options({**given, **options}, said=given, app=lambda: self.app)
            if "manage_session" in options:
                self.manage_session = self.options.own["manage_session"]
            self.operations.emit_grace = self.options.own["emit_grace"]
            self._renew()
        if app is not None:
            self.app = app
            app.extensions["socketio"] = self
            self.sockio_mw = install(app, path=self.options.path.strip("/"))

    # --- what a serving is made of ------------------------------------------------------------------------------

    @property
    def async_mode(self) -> str:
        """The name of the event loop family; templates print it."""
        return "trio"

    @property
    def server_options(self) -> Mapping[str, Any]:
        """The options as they were given."""
        return self.options.given

    @property
    def cancel_on_disconnect(self) -> bool:
        """Whether the departure of a client cancels its handlers, where they do not say otherwise."""
        return self.options.hub.cancel_on_disconnect

    @property
    def runtime(self) -> Runtime:
        """The present serving; a new one is made after the last has ended and is served again."""
        if self._runtime is None:
            with self._making:  # two threads may ask at once, and what is given to one of two would be lost
                if self._runtime is None:
                    self._runtime = Runtime(self.options, self.handlers, self, copy_context())
        return self._runtime

    def local_runtime(self) -> Runtime:
        """The serving of the test clients, in the caller's thread.

        Raises:
            UsageError: a server runs.
        """
        if self._runtime is not None and self._runtime.local:
            return self._runtime
        if self._runtime is not None and self._runtime.border.state is BorderState.RUNNING:
            raise UsageError("A test client needs no server, and cannot be made while one runs.")
        self._runtime = local_runtime(self.options, self.handlers, self, copy_context())
        return self._runtime

    def _renew(self) -> None:
        """The next serving has other options; background tasks that wait for the start wait for that one."""
        old, self._runtime = self._runtime, None
        if old is not None:
            self.runtime.background.adopt(old.background)

    def next_runtime(self) -> Runtime:
        """The runtime of the serving that begins now.

        Raises:
            UsageError: it is being served already, or has no application.
        """
        if self.app is None:
            raise UsageError("This SocketIO has no Flask application: call socketio.init_app(app) before it is served.")
        if self._runtime is not None and self._runtime.local:
            self._runtime = None  # a test client's
        if self._runtime is not None and self._runtime.border.state is BorderState.RUNNING:
            raise UsageError("This SocketIO is being served already: one SocketIO is served once at a time.")
        if self._runtime is not None and self._runtime.border.state is BorderState.CLOSED:
            self._runtime = None
        runtime = self.runtime
        runtime.dispatcher.context = copy_context()
        return runtime

    def error_handler(self, namespace: str) -> Callable[[BaseException], object] | None:
        """The error handler of a namespace: its own, else the default one (spec 1.7.1)."""
        return self.exception_handlers.get(namespace, self.default_exception_handler)

    def connection(self, job: Job) -> Connection:
        """The Flask side of the job's client, made at its first event."""
        return self.connection_of(job.socket.client)

    def connection_of(self, client: Client) -> Connection:
        """The Flask side of a client."""
        if isinstance(client.upper, Connection):
            return client.upper
        if self.app is None:
            raise UsageError("No Flask application: call socketio.init_app(app).")
        with self._making:  # two threads may be first at once, and one connection has one environ
            if not isinstance(client.upper, Connection):
                client.upper = Connection(self.app, client.session.request, logger=_log)
            return client.upper

    # --- registering --------------------------------------------------------------------------------------------

    def on(
        self,
        message: str,
        namespace: str | None = None,
        *,
        cancel_on_disconnect: bool | None = None,
    ) -> Callable[[F], F]:
        """Decorator: handle an event.

        Args:
            message: the event's name; ``connect``, ``disconnect``, ``message``, ``json`` and ``*`` have their meaning.
            namespace: where; default ``/``; ``*`` is every namespace.
            cancel_on_disconnect: False lets this handler run on when its client leaves; None takes the server's option.

        Returns:
            A decorator that returns the function unchanged, so that decorators stack.

        Raises:
            TypeError: used without parentheses.
        """
        _needs_call(message, "on")
        options = HandlerOptions(cancel_on_disconnect=cancel_on_disconnect)

        def register(handler: F) -> F:
            self.handlers.add(_namespace_name(namespace), message, handler, options)
            return handler

        return register

    def on_event(self, message: str, handler: Callable[..., object], namespace: str | None = None) -> None:
        """Register ``handler`` for an event; the same as ``on(message, namespace)(handler)``."""
        self.on(message, namespace)(handler)

    @overload
    def event(self, function: F, /) -> F: ...

    @overload
    def event(self, function: str | None = None, /, *, namespace: str | None = None) -> Callable[[F], F]: ...

    def event(self, function: Any = None, /, *, namespace: str | None = None) -> Any:
        """Decorator: handle the event that is named like the function. Used bare or with ``namespace=``."""
        if callable(function):
            return self.on(function.__name__, namespace)(function)
        if isinstance(function, str) and namespace is None:
            namespace = function

        def register(handler: F) -> F:
            return self.on(handler.__name__, namespace)(handler)

        return register

    def on_error(self, namespace: str | None = None) -> Callable[[ErrorHandler], ErrorHandler]:
        """Decorator: handle the exceptions of the handlers of one namespace; its result replaces theirs.

        Raises:
            TypeError: used without parentheses.
            ValueError: what is decorated cannot be called.
        """
        _needs_call(namespace, "on_error")

        def register(handler: ErrorHandler) -> ErrorHandler:
            if not callable(handler):
                raise ValueError("exception_handler must be callable")  # noqa: TRY004 - Flask-SocketIO's type
            self.exception_handlers[_namespace_name(namespace)] = handler
            return handler

        return register

    def on_error_default(self, exception_handler: ErrorHandler) -> ErrorHandler:
        """Decorator: handle the exceptions of namespaces that have no error handler of their own.

        Raises:
            ValueError: what is decorated cannot be called.
        """
        if not callable(exception_handler):
            raise ValueError("exception_handler must be callable")  # noqa: TRY004 - Flask-SocketIO's type
        self.default_exception_handler = exception_handler
        return exception_handler

    def on_namespace(self, namespace_handler: Namespace) -> None:
        """Register a class-based namespace.

        Args:
            namespace_handler: an instance of a subclass of :class:`Namespace`.

        Raises:
            ValueError: anything else (a class instead of an instance, most often).
        """
        given: object = namespace_handler
        if not isinstance(given, Namespace):
            name = getattr(given, "__name__", "Namespace")
            raise ValueError(f"Not a namespace instance: write on_namespace({name}('/x')).")  # noqa: TRY004 - its type
        namespace_handler.namespace = _namespace_name(namespace_handler.namespace)
        namespace_handler.attach(self)
        self.namespace_handlers.append(namespace_handler)
        self.handlers.add_class(namespace_handler.namespace, namespace_handler.resolve)

    # --- acting -------------------------------------------------------------------------------------------------

    def emit(
        self,
        event: str,
        *args: object,
        namespace: str | None = "/",
        to: object = None,
        room: object = None,
        include_self: bool = True,
        skip_sid: object = None,
        callback: Callable[..., object] | None = None,
        broadcast: bool = True,
        ignore_queue: bool = False,
    ) -> None:
        """Emit an event; callable from every thread, with or without a request. Returns once it is queued.

        Args:
            event: the event's name.
            *args: at most one payload; a tuple is several event arguments.
            namespace: where; default ``/``.
            to: a sid, a room, or a list of them; default: everybody in the namespace.
            room: an alias of ``to``.
            include_self: False leaves the sender of the present event out.
            skip_sid: a sid or several that do not get it.
            callback: called with a receiver's acknowledgement, once per receiver.
            broadcast: accepted: without ``to`` this form always broadcasts.
            ignore_queue: this process only; without a message queue it changes nothing.

        Raises:
            TypeError: the payload cannot be sent; nothing has been sent then.
            NotServing: the server has stopped.
            HandlerCancelled: raised in a handler that emits to its own client alone, a second after that left.
        """
        skip = as_sids(skip_sid)
        if not include_self:
            skip = (*skip, functions._sid("emit"))
        self.operations.emit(
            event,
            as_args(args, "emit"),
            namespace=namespace or "/",
            rooms=as_rooms(room if to is None else to),
            skip=skip,
            callback=callback,
        )

    def send(
        self,
        data: object,
        json: bool = False,
        namespace: str | None = None,
        to: object = None,
        callback: Callable[..., object] | None = None,
        include_self: bool = True,
        skip_sid: object = None,
        room: object = None,
        **ignored: object,
    ) -> None:
        """Emit the event ``message`` (``json=True``: ``json``). Arguments and errors as :meth:`emit`."""
        self.emit(
            "json" if json else "message",
            data,
            namespace=namespace,
            to=room if to is None else to,
            include_self=include_self,
            skip_sid=skip_sid,
            callback=callback,
        )

    def call(
        self,
        event: str,
        *args: object,
        namespace: str | None = "/",
        to: object = None,
        room: object = None,
        timeout: float | None = CALL_TIMEOUT,
        ignore_queue: bool = False,
    ) -> Any:
        """Emit to one client and wait for its acknowledgement.

        Args:
            event: the event's name.
            *args: at most one payload; a tuple is several event arguments.
            namespace: where; default ``/``.
            to: the client's sid.
            room: an alias of ``to``.
            timeout: seconds; None waits as long as the client is there.
            ignore_queue: without a message queue it changes nothing.

        Returns:
            None, the one value, or a tuple of several.

        Raises:
            ValueError: no ``to``.
            TimeoutError: no answer in time.
            ClientGone: the client left before it answered.
            UsageError: ``async_handlers=False`` (the answer could never be read), or called where it cannot wait.
        """
        rooms = as_rooms(room if to is None else to)
        if not rooms:
            raise ValueError("Cannot use call() to broadcast.")
        if not self.runtime.hub.config.async_handlers:
            raise UsageError("Cannot use call() when async_handlers is False.")
        return self.operations.call(
            event, as_args(args, "call"), namespace=namespace or "/", rooms=rooms, timeout=timeout
        )

    def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Take everybody out of a room; nobody is told and nobody is disconnected."""
        self.operations.close_room(room, namespace or "/")

    def start_background_task(self, target: Callable[..., object], *args: object, **kwargs: Any) -> BackgroundTask:
        """Run ``target`` beside the handlers until it ends or the server stops.

        Args:
            target: a function, run in a thread of its own, or an ``async def`` function, run as a task.
            *args: its positional arguments.
            **kwargs: its keyword arguments.

        Returns:
            A handle with ``join(timeout=None)`` and ``is_alive()``. Started before the server, it waits for the start.
        """
        return self.runtime.background.start(target, args, kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """Wait in a synchronous handler or background task, holding no worker's place meanwhile.

        Args:
            seconds: how long.

        Raises:
            HandlerCancelled: the handler's client left, or the server stops.
            UsageError: called in an async handler (use ``await aio.sleep(…)``).
        """
        functions.pause(self, seconds)

    # --- serving ------------------------------------------------------------------------------------------------

    def run(self, app: Flask | None = None, host: str | None = None, port: int | None = None, **options: Any) -> None:
        """Serve the application until it is stopped; see :func:`trioflask_sio.serve`.

        Args:
            app: the application; default: the one given to ``init_app``.
            host: default ``127.0.0.1``.
            port: default: the port in ``SERVER_NAME``, else 5000.
            **options: those of ``serve``; and ``debug``, ``log_output``.
        """
        from trioflask_sio.bridge.serving import run

        run(self, app, host, port, options)

    def stop(self) -> None:
        """Stop the server that :meth:`run` or ``serve`` started; callable from a handler, a view and any thread.

        Raises:
            UsageError: another server (Hypercorn, uvicorn …) owns the process and must be stopped instead.
        """
        from trioflask_sio.bridge.serving import stop

        stop(self)

    def test_client(
        self,
        app: Flask,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: Any = None,
        auth: Any = None,
        flask_test_client: FlaskClient | None = None,
    ) -> SocketIOTestClient:
        """A client for tests, in this process and thread, without a server; see :class:`SocketIOTestClient`."""
        return SocketIOTestClient(app, self, namespace, query_string, headers, auth, flask_test_client)

    async def _asgi(self, scope: Any, receive: Receive, send: Send) -> None:
        await asgi(self, scope, receive, send)

    def __call__(self, scope: Any, receive: Callable[..., Any], send: Send | None = None) -> Any:
        """The ASGI application for other servers; it needs the server's lifespan events.

        A WSGI server calls it with two arguments: it is answered 500 with the ways to start the application.
        """
        if send is None:
            return refuse_wsgi(self.app, self.sockio_mw, receive)
        return self._asgi(scope, receive, send)


def _needs_call(argument: object, decorator: str) -> None:
    """Refuse ``@socketio.on`` without parentheses: the function would be taken for the name, and never be called."""
    if callable(argument):
        form = "on_error()" if decorator == "on_error" else f"on({getattr(argument, '__name__', 'name')!r})"
        also = "" if decorator == "on_error" else " or @socketio.event"
        raise TypeError(f"@socketio.{decorator} needs its parentheses: write @socketio.{form}{also}.")


def _namespace_name(namespace: str | None) -> str:
    """A namespace as clients name it: ``chat`` means ``/chat``, with a warning (spec 1.3.7)."""
    if not namespace:
        return "/"
    if namespace.startswith("/") or namespace == "*":
        return namespace
    warn_user(f"Namespace {namespace!r} is taken as '/{namespace}': names begin with a slash.")
    return f"/{namespace}"
