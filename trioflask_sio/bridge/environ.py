"""WSGI environs made from requests: for event handlers (spec 3.15) and for HTTP views.

Rules:

* ``PATH_INFO``, ``SCRIPT_NAME`` and header values are "latin-1 text" as PEP 3333 wants them: each character is one byte
  of the wire.
* ``REMOTE_ADDR`` and ``REMOTE_PORT`` are the real peer's or absent (a Unix socket has none). Who stands behind a proxy
  is told by ProxyFix, never guessed here.
* Headers whose name holds an underscore are left out: ``X_Forwarded_For`` would pass for ``X-Forwarded-For``.
* Repeated headers are joined by ``,`` and repeated cookies by ``; ``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote_to_bytes

from trioflask_sio.engine.transport import HttpRequest

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["FLASK_APP", "Environ", "assemble", "build_environ"]

Environ: TypeAlias = dict[str, Any]

FLASK_APP = "flask.app"
"""The environ key under which applications find their Flask object (spec 1.2.4)."""

_BARE_NAMES = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def build_environ(request: HttpRequest, app: Flask) -> Environ:
    """The complete environ of a handshake request, as handlers see it (spec 3.15.1).

    Args:
        request: the handshake.
        app: the application; put under ``flask.app``.

    The body is empty, whatever its headers said: an Engine.IO body is not for handlers.
    """
    environ = assemble(
        request.method,
        request.path.encode("utf-8", "surrogateescape"),
        request.raw_path,
        request.root_path.encode("utf-8", "surrogateescape"),
        request.query_string,
        request.headers,
    )
    add_connection(environ, request.scheme, request.http_version, request.client, request.server)
    if "CONTENT_LENGTH" in environ:
        environ["CONTENT_LENGTH"] = "0"
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    environ["wsgi.input"] = BytesIO()
    environ[FLASK_APP] = app
    return environ


def assemble(
    method: str, path: bytes, raw_path: bytes, root_path: bytes, query_string: str, headers: Iterable[tuple[str, str]]
) -> Environ:
    """What one request line and its headers say.

    Args:
        method: upper case.
        path: percent-decoded.
        raw_path: as on the wire; where known it is what counts, since ``path`` may have lost bytes that are no UTF-8.
        root_path: where the application is mounted; cut off the path, since some servers leave it in and some do not.
        query_string: latin-1 text, without ``?``.
        headers: names lower case.
    """
    whole = unquote_to_bytes(raw_path.partition(b"?")[0]) if raw_path else path
    root = root_path.rstrip(b"/")
    if root and (whole == root or whole.startswith(root + b"/")):
        whole = whole[len(root) :]
    environ: Environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": root.decode("latin-1"),
        "PATH_INFO": whole.decode("latin-1"),
        "QUERY_STRING": query_string,
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in headers:
        if "_" in name:
            continue
        key = _BARE_NAMES.get(name) or sys.intern("HTTP_" + name.upper().replace("-", "_"))
        if key in environ:
            value = f"{environ[key]}{'; ' if name == 'cookie' else ','}{value}"
        environ[key] = value
    return environ


def add_connection(
    environ: Environ,
    scheme: str,
    http_version: str,
    client: tuple[str, int] | None,
    server: tuple[str, int | None] | None,
) -> None:
    """What the connection says: scheme, protocol version and both addresses.

    A server without a port listens on a Unix socket: it is ``localhost`` at the scheme's usual port, since both keys
    are mandatory and a request without a Host header must still give a valid URL.
    """
    environ["wsgi.url_scheme"] = scheme
    environ["SERVER_PROTOCOL"] = f"HTTP/{http_version}"
    host, port = server or ("localhost", None)
    if port is None:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = "localhost", _DEFAULT_PORTS.get(scheme, "80")
    else:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = host, str(port)
    if client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
