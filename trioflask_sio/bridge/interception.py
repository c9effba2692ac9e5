"""One environ through every WSGI middleware of an application, without dispatching a view (design §8.21).

The handshake's environ is given to ``app.wsgi_app`` with a marker in it. Every middleware acts on it as on any request,
whether it was installed before or after ``SocketIO(app)``; at the innermost end Flask asks itself for a request
context, and there the environ as it has become is taken down and an empty ``204`` goes back out.

Rules:

* Middlewares see an ordinary call with an ordinary end: nothing is raised through them (a raised signal would be
  reported as a crash by error trackers and would skip code that is not in a ``finally``).
* A request without the marker takes exactly the way it took before; the price is one dictionary lookup and one context
  variable.
* No hook of the application runs: no signal, no ``before_request``, no teardown.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from flask import Flask

    from .environ import Environ

__all__ = ["MARKER", "Interception", "ensure_hooks", "through_middlewares"]

MARKER = "trioflask_sio.interception"
"""The environ key that marks the pass; its value is the ``Interception`` that waits at the inner end."""

_PRESERVE = "werkzeug.debug.preserve_context"
"""Asks Flask to keep its contexts alive (the test client does); on this way there are none."""

_HOOKED = "trioflask_sio.hooks"
_at_the_end: contextvars.ContextVar[bool] = contextvars.ContextVar("trioflask_sio_interception", default=False)


class Interception:
    """What one pass found: the innermost environ, or the status of the middleware that answered itself."""

    __slots__ = ("environ", "status")

    def __init__(self) -> None:
        self.environ: Environ | None = None
        self.status = ""

    def arrived(self, environ: Environ) -> None:
        """The inner end is reached. A copy is kept, since a middleware may undo its changes on the way out."""
        self.environ = {key: value for key, value in environ.items() if key != MARKER}

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        """The outer end of the pass: notes the status, throws the rest away."""
        self.status = status
        return len


class _EndOfTheWay:
    """Stands in for Flask's request context while the marked call is at its inner end."""

    __slots__ = ("_interception", "_reset", "environ")

    def __init__(self, interception: Interception, environ: Environ) -> None:
        self._interception = interception
        self.environ = environ

    def push(self) -> None:
        self._reset = _at_the_end.set(True)
        self._interception.arrived(self.environ)

    def pop(self, exc: BaseException | None = None) -> None:
        _at_the_end.reset(self._reset)


def ensure_hooks(app: Flask) -> None:
    """Put the two hooks on this application object, once."""
    if _HOOKED in app.__dict__:
        return
    make_context = app.request_context
    dispatch = app.full_dispatch_request

    def request_context(environ: Environ) -> Any:
        interception = environ.get(MARKER)
        if isinstance(interception, Interception):
            return _EndOfTheWay(interception, environ)
        return make_context(environ)

    def full_dispatch_request(*args: Any) -> Any:
        if _at_the_end.get():
            return Response(status=204)
        return dispatch(*args)

    # Through __dict__: these are deliberate overrides of two methods for one object.
    app.__dict__.update({"request_context": request_context, "full_dispatch_request": full_dispatch_request})
    app.__dict__[_HOOKED] = True


def through_middlewares(app: Flask, environ: Environ) -> Interception:
    """Send a copy of ``environ`` once through ``app.wsgi_app``.

    Returns:
        The interception; ``environ`` is None when a middleware answered without calling on, and then ``status`` says
        what it answered.

    Raises:
        Exception: whatever a middleware raises.
    """
    ensure_hooks(app)
    interception = Interception()
    marked = {**environ, MARKER: interception}
    marked.pop(_PRESERVE, None)
    # Context variables that middlewares set belong to this pass alone.
    contextvars.copy_context().run(_run, app, marked, interception)
    return interception


def _run(app: Flask, environ: Environ, interception: Interception) -> None:
    body = app.wsgi_app(environ, interception.start_response)
    try:
        for _ in body:  # a generator as middleware calls on only when it is iterated
            pass
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
