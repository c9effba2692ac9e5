"""The WSGI middleware that ``SocketIO(app)`` leaves on the application (spec 1.2.2 (j), 6.4 #17).

Socket.IO itself never comes this way: our servers hand its path to the engine before WSGI begins. What is left to do:

* every request finds the application under ``flask.app`` in its environ;
* a request for the Socket.IO path that still arrives means that the application runs on a plain WSGI server. It is
  answered 500 with the way to start it, once also in the log, since a page that merely "does not connect" tells nobody.
  Where the server was given the ``SocketIO`` object itself, every request is answered so (``refuse_wsgi``).

A second ``init_app`` on the same application adjusts the middleware it finds; it is never nested (spec 1.2.11).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from .environ import FLASK_APP, Environ
from .interception import MARKER, ensure_hooks

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["SioMiddleware", "install", "refuse_wsgi"]

_EXTENSION = "trioflask_sio.middleware"
_log = logging.getLogger("trioflask_sio")

StartResponse = Callable[..., Any]
WsgiCallable = Callable[[Environ, StartResponse], Iterable[bytes]]


class SioMiddleware:
    """Passes everything through, except a request for the Socket.IO path on a server that cannot serve it.

    Args:
        wsgi_app: what is wrapped.
        app: the application, put under ``flask.app``.
        path: of the Socket.IO endpoint, with or without slashes around it.
        object_name: the ``SocketIO`` object's name, for the commands shown where the module's own cannot be found.
    """

    def __init__(
        self, wsgi_app: WsgiCallable, app: Flask, path: str = "socket.io", object_name: str = "socketio"
    ) -> None:
        self.wsgi_app = wsgi_app
        self.app = app
        self.object_name = object_name
        self._told = False
        self.path = path

    @property
    def path(self) -> str:
        """The Socket.IO path without slashes around it."""
        return self._prefix[1:-1]

    @path.setter
    def path(self, path: str) -> None:
        self._prefix = f"/{path.strip('/')}/"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[FLASK_APP] = self.app
        if environ.get("PATH_INFO", "").startswith(self._prefix) and MARKER not in environ:
            return self.not_served(start_response)
        return self.wsgi_app(environ, start_response)

    def __repr__(self) -> str:
        return f"<SioMiddleware of {self.app.name!r} for {self._prefix}>"

    def not_served(self, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 500 with the ways to start the application; the first time say it in the log too."""
        text = self.instructions()
        if not self._told:
            self._told = True
            _log.error("%s", text)
        return _error(start_response, text)

    def instructions(self) -> str:
        """How this application is to be started, with the names it has."""
        module = _module_name(self.app)
        name = _name_in(self.app) or self.object_name
        return (
            "This server speaks plain WSGI, which cannot carry Socket.IO "
            f"(the path {self._prefix} of the application {self.app.name!r}).\n"
            "Start the application with one of:\n"
            f"  python -m trioflask_sio serve {module}:{name}\n"
            f"  hypercorn -k trio {module}:{name}\n"
            f"  uvicorn {module}:{name}\n"
            f"  gunicorn --worker-class asgi -w 1 {module}:{name}\n"
            f"({name} is the SocketIO object in {module}; in a program's main part: trioflask_sio.serve(app).)\n"
        )


def install(app: Flask, *, path: str = "socket.io", object_name: str = "socketio") -> SioMiddleware:
    """Put the middleware on ``app``, or adjust the one that is there already.

    Args:
        app: the application; its ``wsgi_app`` is wrapped.
        path: of the Socket.IO endpoint.
        object_name: see ``SioMiddleware``.
    """
    ensure_hooks(app)
    middleware: SioMiddleware | None = app.extensions.get(_EXTENSION)
    if middleware is None:
        middleware = SioMiddleware(app.wsgi_app, app, path, object_name)
        app.extensions[_EXTENSION] = middleware
        app.wsgi_app = middleware  # type: ignore[method-assign]  # Flask's documented way to add a middleware
    else:
        # Others may have been put around it meanwhile, so it is changed where it stands.
        middleware.path, middleware.object_name = path, object_name
    return middleware


def refuse_wsgi(app: Flask | None, middleware: SioMiddleware | None, start_response: StartResponse) -> Iterable[bytes]:
    """The ``SocketIO`` object was given to a WSGI server: answer every request as the middleware does its own path."""
    if app is None or middleware is None:
        return _error(start_response, "This SocketIO has no Flask application: call socketio.init_app(app).\n")
    return middleware.not_served(start_response)


def _error(start_response: StartResponse, text: str) -> Iterable[bytes]:
    body = text.encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("500 Internal Server Error", headers)
    return [body]


def _name_in(app: Flask) -> str | None:
    """The variable of the application's module that holds its ``SocketIO``."""
    found = app.extensions.get("socketio")
    names = vars(sys.modules[app.import_name]) if app.import_name in sys.modules else {}
    return next((name for name, value in names.items() if found is not None and value is found), None)


def _module_name(app: Flask) -> str:
    """The module to import; for a script run as ``__main__`` the name of its file."""
    if app.import_name != "__main__":
        return app.import_name
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return PurePath(file).stem if file else "your_module"
