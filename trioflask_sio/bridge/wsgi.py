"""Flask's HTTP views behind an ASGI interface: ``WsgiApplication`` runs a WSGI callable in resident threads.

The loop's side of a request is one task, the server's own: it spools the first part of the body before a thread is
taken, then carries out what the view's thread asks for (send this, read more) one thing at a time. While a view takes
long and its body has been read to the end, the same task watches for the client's leaving.

Rules:

* ``run()`` hosts the threads; it is started in the server's nursery before the first request and cancelled after the
  last. When it has ended no thread is left, except one stuck in foreign code for longer than the grace.
* A request runs in its own copy of the ``contextvars`` context in which ``run()`` was called.
* Cancelling a request's task leaves its view to itself: the view sees ``gone``, is not iterated further, and is closed.
* A response that cannot be finished ends without its last ASGI message; the server then breaks the connection.
"""

from __future__ import annotations

import contextvars
import io
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, TypeAlias

import anyio
import sniffio
from anyio.abc import TaskStatus

from trioflask_sio.bridge.portal import current_backend
from trioflask_sio.bridge.view_threads import ViewThreads
from trioflask_sio.bridge.waiting import Waiter
from trioflask_sio.exceptions import ConfigError, UsageError

from .environ import Environ, add_connection, assemble
from .wsgi_stream import DISCONNECTED, BodyStream, FileWrapper, Part, ViewCall, ViewScope, WsgiCallable, current_view

__all__ = ["ViewScope", "WsgiApplication", "current_view"]

SPOOL_BYTES = 64 * 1024
"""Bytes of a request body that are read before a thread is taken, so that a slow upload of a form holds none."""

PATIENCE = 0.02
"""Seconds that a view may take before its client is watched: watching costs more than most views."""

STOP_GRACE = 5.0
"""Seconds that running views get to end when the server stops, the same as a handler's disconnect grace."""

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_log = logging.getLogger("trioflask_sio")


class WsgiApplication:
    """An ASGI application for ``http`` scopes that runs a WSGI application.

    Args:
        wsgi_app: the WSGI callable, usually the Flask object.
        threads: how many views run at once; further requests wait for a free thread.
        stop_grace: seconds that running views get to end when ``run`` is cancelled.

    Raises:
        ConfigError: ``threads`` is less than 1, or ``stop_grace`` is negative.
    """

    def __init__(self, wsgi_app: WsgiCallable, *, threads: int = 40, stop_grace: float = STOP_GRACE) -> None:
        if threads < 1:
            raise ConfigError(f"threads={threads!r}: at least one thread is needed to run views.")
        if stop_grace < 0:
            raise ConfigError(f"stop_grace={stop_grace!r}: a time in seconds cannot be negative.")
        self.wsgi_app = wsgi_app
        self.threads = threads
        self.stop_grace = stop_grace
        self._context = contextvars.Context()
        self._pool: ViewThreads | None = None
        self._requests: set[_Request] = set()
        self._at_work: dict[ViewCall, None] = {}
        """Whose view is in a thread now; a request's task may be gone before that."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Host the threads until cancelled; then end the views and the threads.

        Raises:
            UsageError: it runs already.
        """
        if self._pool is not None:
            raise UsageError("This WsgiApplication runs already; one object is served once at a time.")
        self._context = contextvars.copy_context()
        # A view is in no event loop, whatever the task that called this is in.
        self._context.run(sniffio.current_async_library_cvar.set, None)
        self._pool = ViewThreads(self.threads, current_backend())
        try:
            task_status.started()
            await anyio.sleep_forever()
        finally:
            await self._stop(self._pool)
            self._pool = None

    async def _stop(self, pool: ViewThreads) -> None:
        for request in list(self._requests):
            request.leave()
            request.wake()
        pool.close()
        with anyio.move_on_after(self.stop_grace, shield=True) as grace:
            await pool.ended()
        if grace.cancelled_caught:
            stuck = list(self._at_work)
            _log.warning("%d thread(s) with views that do not end are left behind: %s", pool.count, stuck)

    def _work(self, call: ViewCall) -> None:
        """One view, in its thread."""
        self._at_work[call] = None
        try:
            call.run()
        finally:
            del self._at_work[call]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            UsageError: ``run()`` is not running, or the scope is not ``http``.
        """
        if scope["type"] != "http":
            raise UsageError(f"A WSGI application serves HTTP requests, not {scope['type']!r} scopes.")
        if self._pool is None:
            raise UsageError(
                "WsgiApplication.run() must be running in the server's nursery before requests are served."
            )
        spooled = await _spool(receive)
        if spooled is None:
            return
        request = _Request(self._pool, spooled[1])
        environ = _environ_of(scope)
        environ["wsgi.input"] = request.body(spooled[0])
        environ[DISCONNECTED] = request.scope
        request.call = ViewCall(self.wsgi_app, environ, request)
        self._requests.add(request)
        try:
            self._pool.submit(partial(self._context.copy().run, self._work, request.call))
            await request.serve(receive, send)
        except OSError:  # what ASGI servers raise from send() to a client that has left
            _log.debug("The client of %r left while its response was being sent", request)
        finally:
            self._requests.discard(request)
            request.leave()


class _Request:
    """One request between its task on the loop and its view's thread (the ``Link`` of that thread).

    At most one thing is asked for at a time: the thread waits for each but the last part.
    """

    __slots__ = ("_asked", "_event", "_more", "_part", "_pool", "_waiter", "_watch", "call", "scope")

    call: ViewCall

    def __init__(self, pool: ViewThreads, more: bool) -> None:
        self.scope = ViewScope()
        self._pool = pool
        self._more = more  # of the request body, which the server has not given yet
        self._part: Part | None = None
        self._asked = False  # the thread has asked; a part of None means: for more body, or for the end
        self._waiter: Waiter | None = None
        self._event = anyio.Event()
        self._watch: anyio.CancelScope | None = None

    def __repr__(self) -> str:
        return repr(self.call)

    def body(self, first: bytes) -> io.IOBase:
        """The ``wsgi.input``; ``first`` is what has been spooled."""
        return io.BufferedReader(BodyStream(first, self), SPOOL_BYTES) if self._more else io.BytesIO(first)

    # --- called by the thread -----------------------------------------------------------------------------------

    def deliver(self, part: Part) -> bool:
        """See ``Link``."""
        return self._ask(part, wait=not part.last) is not None

    def fetch(self) -> tuple[bytes, bool] | None:
        """See ``Link``."""
        answer = self._ask(None)
        return answer if isinstance(answer, tuple) else None

    def abort(self) -> None:
        """See ``Link``."""
        self.scope.leave()
        self._ask(None, wait=False)

    def _ask(self, part: Part | None, *, wait: bool = True) -> object:
        """Ask the loop; the answer, None when the client has gone."""
        self._waiter = waiter = Waiter() if wait else None
        self._part, self._asked = part, True
        self._pool.wake(self)
        if waiter is None:
            return True
        # The order matters: leave() sets the flag first and looks for the waiter then.
        if not self.scope.gone:
            waiter.wait()
        return waiter.value

    # --- called on the loop -------------------------------------------------------------------------------------

    def wake(self) -> None:
        """The thread has asked for something, or it never will again."""
        self._event.set()
        if self._watch is not None:
            self._watch.cancel()

    def leave(self) -> None:
        """The client has gone, or its request is over: the thread is not kept waiting. Idempotent."""
        self.scope.leave()
        if self._waiter is not None:
            self._waiter.wake(None)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Do what the thread asks for until the response is complete or the client has left."""
        while await self._asked_for_something(receive):
            part, waiter = self._part, self._waiter
            self._part, self._asked = None, False
            answer: object = True
            if part is None:
                answer = await self._read(receive)
                if answer is None:
                    return
            else:
                await _send_part(part, send)
                if part.last:
                    return
            if waiter is not None:
                waiter.wake(answer)

    async def _asked_for_something(self, receive: Receive) -> bool:
        """Wait for the thread. False when the client has left or the server stops."""
        while not self._asked:
            if self.scope.gone:
                return False
            # New each time: a wake-up may come late, for something that has been done already.
            self._event = anyio.Event()
            if self._more:
                await self._event.wait()
                continue
            with anyio.move_on_after(PATIENCE):
                await self._event.wait()
            if not self._event.is_set() and await self._client_left(receive):
                return False
        return not (self._part is None and self.scope.gone)

    async def _client_left(self, receive: Receive) -> bool:
        """Wait for a wake-up or for the client's leaving, whichever comes first; True for the latter."""
        left = False
        with anyio.CancelScope() as self._watch:
            while not left:
                left = (await receive())["type"] == "http.disconnect"
        self._watch = None
        return left

    async def _read(self, receive: Receive) -> tuple[bytes, bool] | None:
        message = await receive()
        if message["type"] != "http.request":
            return None
        self._more = message.get("more_body", False)
        return message.get("body", b""), self._more


async def _spool(receive: Receive) -> tuple[bytes, bool] | None:
    """The first part of the body and whether more follows; None when the client left meanwhile."""
    pieces: list[bytes] = []
    size = 0
    more = True
    while more and size < SPOOL_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        more = message.get("more_body", False)
    return b"".join(pieces), more


async def _send_part(part: Part, send: Send) -> None:
    if part.status:
        await send({"type": "http.response.start", "status": part.status, "headers": part.headers})
    await send({"type": "http.response.body", "body": part.data, "more_body": not part.last})


def _environ_of(scope: Scope) -> Environ:
    """The environ of an ASGI ``http`` scope, without ``wsgi.input``."""
    environ = assemble(
        scope["method"],
        scope["path"].encode("utf-8", "surrogateescape"),
        scope.get("raw_path") or b"",
        scope.get("root_path", "").encode("utf-8", "surrogateescape"),
        scope.get("query_string", b"").decode("latin-1"),
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
    )
    add_connection(
        environ,
        scope.get("scheme", "http"),
        scope.get("http_version", "1.1"),
        scope.get("client"),
        scope.get("server"),
    )
    # The stream ends where the body ends, so chunked uploads without a Content-Length can be read too.
    environ["wsgi.input_terminated"] = True
    environ["wsgi.file_wrapper"] = FileWrapper
    return environ
