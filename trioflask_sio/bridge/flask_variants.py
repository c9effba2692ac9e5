"""Flask's request context for one event, light where the Flask version is known (design §4, §8.21).

A request context built from the environ costs 35 µs per event. The light one takes the connection's request object (as
a copy), its URL adapter and its session, and leaves the rest to Flask's own ``push`` and ``pop``. This is the only
module that knows how a Flask release lays out its ``RequestContext``:

* ``_Context30`` – Flask 3.0 and 3.1.0 to 3.1.2: the session is the attribute ``session``.
* ``_Context31`` – Flask 3.1.3 and later 3.1: it is ``_session`` behind a property that marks it as accessed.
* ``PublicContext`` – any other Flask: built through the public ``app.request_context(environ)`` for every event.

Rules (spec 1.4.2, 1.8):

* Every event has its own application context, so its own ``g``, even when the caller has one pushed already.
* ``teardown_request`` and ``teardown_appcontext`` functions run at the end of every event, with its exception;
  ``before_request`` and ``after_request`` never do. The URL is not matched: ``request.endpoint`` is None.
* A ``push`` that fails leaves nothing pushed.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from flask import Flask, Request
from flask.ctx import AppContext, RequestContext
from flask.sessions import SessionMixin
from werkzeug.datastructures import EnvironHeaders

if TYPE_CHECKING:
    from werkzeug.routing import MapAdapter

    from .environ import Environ

__all__ = ["SAVED_SESSION", "EventContext", "LightContext", "ManagedSession", "PublicContext", "light_context_class"]

SAVED_SESSION = "saved_session"
"""The environ key of the connection's forked session (spec 1.8.1)."""


class ManagedSession(dict[str, Any], SessionMixin):
    """The session of one connection: forked from the cookie once, shared by its namespaces, never written back."""


class EventContext(Protocol):
    """What the dispatcher holds while a handler runs."""

    @property
    def request(self) -> Request: ...

    def push(self) -> None:
        """Make this the current context: ``request``, ``session``, ``g`` and ``current_app`` answer for the event."""

    def pop(self, exc: BaseException | None = None) -> None:
        """Run the teardown functions with ``exc`` and take the context away again."""

    def save_session(self) -> None:
        """After a handler that succeeded: store a session that Flask manages, if it changed (spec 1.8.2)."""


class _Borrowing(RequestContext):
    """A request context on a request object, a URL adapter and a session that exist already."""

    _slot: ClassVar[str] = "session"

    def __init__(self, app: Flask, request: Request, adapter: MapAdapter | None, session: SessionMixin | None) -> None:
        # Flask's own __init__ would bind the URL map again and cost a third of the whole.
        self.app = app
        self.request = request
        self.url_adapter = adapter
        self.flashes = None
        self._after_request_functions = []
        self._cv_tokens = []
        setattr(self, self._slot, session)

    def match_request(self) -> None:
        """Events have no endpoint."""

    def copy(self) -> RequestContext:
        """For ``copy_current_request_context``: nested, it shares the application context as Flask's copies do."""
        return _COPIES[self._slot](self.app, self.request, self.url_adapter, getattr(self, self._slot))


class LightContext(_Borrowing):
    """The context of one event.

    Args:
        app: the application.
        request: the event's own copy of the connection's request.
        adapter: the connection's URL adapter, for ``url_for``.
        managed: spec 1.8.1 when true, else spec 1.8.2.
    """

    def __init__(self, app: Flask, request: Request, adapter: MapAdapter | None, managed: bool) -> None:
        super().__init__(app, request, adapter, request.environ.get(SAVED_SESSION) if managed else None)
        self._managed = managed

    def push(self) -> None:
        first = self._managed and getattr(self, self._slot) is None
        self._app_ctx: AppContext = self.app.app_context()
        _push_app_context(self._app_ctx)
        try:
            super().push()  # opens the session where there is none
            if first:
                setattr(self, self._slot, _fork(self.request.environ, getattr(self, self._slot)))
        except BaseException as exc:
            self.pop(exc)
            raise

    def pop(self, exc: BaseException | None = None) -> None:
        try:
            super().pop(exc)
        finally:
            self._app_ctx.pop(exc)

    def save_session(self) -> None:
        if not self._managed:
            _store(self.app, getattr(self, self._slot))


class _Context30(LightContext):
    """Flask 3.0, and 3.1 before 3.1.3."""


class _Copy30(_Borrowing):
    """A copy of a ``_Context30``."""


class _Context31(LightContext):
    """Flask 3.1.3 and later."""

    _slot = "_session"


class _Copy31(_Borrowing):
    """A copy of a ``_Context31``."""

    _slot = "_session"


_COPIES: dict[str, type[_Borrowing]] = {"session": _Copy30, "_session": _Copy31}


class PublicContext:
    """The context of one event by public means alone, for a Flask whose inside is unknown.

    Args:
        app: the application.
        environ: the connection's.
        extras: attributes for the request object.
        managed: spec 1.8.1 when true, else spec 1.8.2.
    """

    def __init__(self, app: Flask, environ: Environ, extras: dict[str, Any], managed: bool) -> None:
        self._app = app
        self._context: Any = app.request_context(environ)
        self._managed = managed
        self._request: Request = self._context.request
        self._request.headers = EnvironHeaders(dict(environ))  # see Connection._make_base
        vars(self._request).update(extras)
        # Merged contexts (Flask 3.2) and 3.1.3 keep the session behind a property.
        self._slot = "_session" if hasattr(self._context, "_session") else "session"
        # Where contexts are two, Flask shares the outer application context; where they are merged, each has its own g.
        self._app_ctx = None if hasattr(self._context, "g") else app.app_context()

    @property
    def request(self) -> Request:
        return self._request

    def push(self) -> None:
        if self._app_ctx is not None:
            _push_app_context(self._app_ctx)
        try:
            self._context.push()
            if self._managed:
                setattr(self._context, self._slot, _fork(self._request.environ, getattr(self._context, self._slot)))
            self._request.url_rule = self._request.view_args = None
        except BaseException as exc:
            with suppress(LookupError):  # what Flask raises when it failed before the context was the current one
                self.pop(exc)
            raise

    def pop(self, exc: BaseException | None = None) -> None:
        try:
            self._context.pop(exc)
        finally:
            if self._app_ctx is not None:
                self._app_ctx.pop(exc)

    def save_session(self) -> None:
        if not self._managed:
            _store(self._app, getattr(self._context, self._slot))


def _push_app_context(context: AppContext) -> None:
    """Push it whole or not at all: Flask leaves it pushed when a receiver of its signal raises."""
    try:
        context.push()
    except BaseException as exc:
        context.pop(exc)
        raise


def _fork(environ: Environ, opened: SessionMixin) -> SessionMixin:
    """The connection's own session. Two first events may both open one: ``setdefault`` is atomic, the first stays."""
    saved: SessionMixin = environ.setdefault(SAVED_SESSION, ManagedSession(opened))
    return saved


def _store(app: Flask, session: SessionMixin) -> None:
    if app.session_interface.is_null_session(session) or not getattr(session, "modified", True):
        return
    app.session_interface.save_session(app, session, app.response_class())


def light_context_class(release: str) -> type[LightContext] | None:
    """The light context for a Flask release such as ``3.1.3``; None where its inside is unknown."""
    minor = release.split(".")[:2]
    if minor == ["3", "0"]:
        return _Context30
    if minor == ["3", "1"]:
        # Asked of the class, not of the third number: 3.1.3 moved the session behind a property.
        return _Context31 if isinstance(vars(RequestContext).get("session"), property) else _Context30
    return None


LIGHT = light_context_class(version("flask"))
"""The class for the installed Flask."""
