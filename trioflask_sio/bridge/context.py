"""One connection as Flask sees it: its environ, its request, and a request context for each of its events.

Rules:

* The environ is made when the first event needs it, is passed once through the application's WSGI middlewares, and is
  then the same dictionary for every event of every namespace (spec 1.4.3): applications keep things in it.
* Each event has its own request object, a shallow copy with ``sid``, ``namespace`` and ``event`` set, so two events
  of one client may run in two threads at once (spec 1.4.4).
* Sessions follow spec 1.8: see ``event_context``.

How the dispatcher uses it, inside the event's own ``contextvars`` context::

    context = connection.event_context(sid, namespace, event, manage_session=socketio.manage_session)
    context.push()
    error = None
    try:
        result = handler(*args)
        context.save_session()
    except BaseException as exc:
        error = exc
        raise
    finally:
        context.pop(error)
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from flask import Flask, Request
from werkzeug.datastructures import EnvironHeaders
from werkzeug.exceptions import HTTPException

from trioflask_sio._types import Sid
from trioflask_sio.engine.transport import HttpRequest

from .environ import FLASK_APP, Environ, build_environ
from .flask_variants import LIGHT, EventContext, LightContext, PublicContext
from .interception import through_middlewares
from .middleware import SioMiddleware

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter

__all__ = ["Connection"]

_WARNED = "trioflask_sio.middleware_warning"


class Connection:
    """What is kept per connection (one Engine.IO session) for its Flask contexts.

    Args:
        app: the application.
        request: the handshake, or a ready WSGI environ (the test client builds its own).
        light: the light context class; None builds each event's context by Flask's public means.
        logger: where a misbehaving middleware is named.

    Safe to use from several threads at once.
    """

    __slots__ = ("_answered", "_base", "_light", "_lock", "_logger", "_prepared", "_source", "app")

    def __init__(
        self,
        app: Flask,
        request: HttpRequest | Environ,
        *,
        light: type[LightContext] | None = LIGHT,
        logger: logging.Logger | None = None,
    ) -> None:
        self.app = app
        self._source = request
        # A subclass with its own idea of a request context keeps it.
        self._light = light if type(app).request_context is Flask.request_context else None
        self._logger = logger or logging.getLogger("trioflask_sio")
        self._lock = threading.Lock()
        self._prepared: Environ | None = None
        self._answered: str | None = None
        self._base: tuple[type[Request], dict[str, Any], MapAdapter | None] | None = None

    @property
    def environ(self) -> Environ:
        """The environ that handlers see; the first reading sends it through the middlewares (which may block)."""
        return self._prepared if self._prepared is not None else self._prepare()

    @property
    def may_block(self) -> bool:
        """The first reading of ``environ`` is still to come, and will run middlewares that are not ours."""
        if self._prepared is not None:
            return False
        outer: object = self.app.wsgi_app
        if isinstance(outer, SioMiddleware):
            outer = outer.wsgi_app
        return getattr(outer, "__self__", None) is not self.app

    @property
    def refusal(self) -> str | None:
        """The status line of a middleware that answered the handshake itself instead of calling on; usually None."""
        return self._answered if self._prepared is not None else (self._prepare(), self._answered)[1]

    def event_context(
        self, sid: Sid, namespace: str, event: dict[str, Any], *, manage_session: bool = True
    ) -> EventContext:
        """A Flask context for one event; push it, run the handler, pop it.

        Args:
            sid: becomes ``request.sid``.
            namespace: becomes ``request.namespace``.
            event: becomes ``request.event``: ``{"message": name, "args": tuple}``.
            manage_session: True: ``session`` is the connection's own, forked from the handshake's cookie at its first
                event, and never written back (spec 1.8.1). False: Flask opens it for each event and ``save_session``
                stores it (spec 1.8.2).
        """
        if self._light is None:
            extras = {"sid": sid, "namespace": namespace, "event": event}
            return PublicContext(self.app, self.environ, extras, manage_session)
        request_class, attributes, adapter = self._base or self._make_base()
        request = request_class.__new__(request_class)
        request.__dict__ = {**attributes, "sid": sid, "namespace": namespace, "event": event}
        return self._light(self.app, request, adapter, manage_session)

    def _make_base(self) -> tuple[type[Request], dict[str, Any], MapAdapter | None]:
        """The request that every event copies. Made twice by two first events at once: harmless, they are equal."""
        app = self.app
        request = app.request_class(self.environ)
        request.json_module = app.json
        # Headers of their own: the environ is shared, and it may grow in one event while another reads its headers.
        request.headers = EnvironHeaders({key: value for key, value in request.environ.items() if _is_header(key)})
        adapter = None
        try:
            adapter = app.create_url_adapter(request)
        except HTTPException as exc:
            request.routing_exception = exc  # a host that is not trusted: as Flask does, told when it is asked for
        request.environ["werkzeug.request"] = None  # set by the request class; it would be a reference cycle
        self._base = (type(request), vars(request), adapter)
        return self._base

    def _prepare(self) -> Environ:
        with self._lock:  # held while middlewares run: they act once per connection
            if self._prepared is None:
                source = self._source
                plain = build_environ(source, self.app) if isinstance(source, HttpRequest) else source
                plain[FLASK_APP] = self.app
                self._prepared = self._through_middlewares(plain)
            return self._prepared

    def _through_middlewares(self, plain: Environ) -> Environ:
        try:
            interception = through_middlewares(self.app, plain)
        except Exception:
            self._logger.exception(
                "A WSGI middleware of %r failed on a Socket.IO handshake; its handlers see the request unchanged",
                self.app.name,
            )
            return plain
        if interception.environ is not None:
            return interception.environ
        self._answered = interception.status
        if not self.app.extensions.setdefault(_WARNED, False):
            self.app.extensions[_WARNED] = True
            self._logger.warning(
                "A WSGI middleware of %r answered a Socket.IO handshake with %r instead of calling on; handlers see "
                "the request as it came in. (Further ones are not logged.)",
                self.app.name,
                interception.status,
            )
        return plain


def _is_header(key: str) -> bool:
    """Whether this key of an environ carries a request header."""
    return key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")
