"""The worker's side of one HTTP view: PEP 3333 towards the application, one ``Link`` towards the loop.

Rules:

* The worker never touches the client's connection. It hands over one part at a time and waits until the loop has sent
  it (backpressure), except for the last part, which it does not wait for.
* A response whose end is known from its Content-Length, or because it is one chunk, costs one hop to the loop.
* ``close()`` of the iterable is called always, by the worker, between chunks and never during one.
* When the client has left, nothing more is iterated; ``environ["trioflask_sio.disconnected"]`` says so meanwhile.
* A programmer's mistake is logged with its traceback; a client that left is not worth a line.
"""

from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Protocol, TypeAlias
from wsgiref.util import is_hop_by_hop

from werkzeug.exceptions import ClientDisconnected

from trioflask_sio.exceptions import HandlerCancelled

from .environ import Environ

__all__ = ["DISCONNECTED", "BodyStream", "FileWrapper", "Link", "Part", "ViewCall", "ViewScope", "current_view"]

DISCONNECTED = "trioflask_sio.disconnected"
"""The environ key of the request's ``ViewScope``."""

FILE_BLOCK = 64 * 1024
"""Bytes per chunk of a file that is sent; Werkzeug asks for 8 KiB, which is eight times as many hops."""

_STATUS = re.compile(r"([2-9]\d\d)(?: [^\x00-\x1f\x7f]*)?\Z")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_BODYLESS = (204, 304)

_log = logging.getLogger("trioflask_sio")

ExcInfo: TypeAlias = "tuple[type[BaseException], BaseException, TracebackType | None]"
WsgiCallable: TypeAlias = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Headers: TypeAlias = list[tuple[bytes, bytes]]


class ViewScope:
    """Whether the client of a view is still there; read from the view's thread.

    ``gone`` turns true once and stays so: the client has left, or the server stops.
    """

    __slots__ = ("_event", "gone")

    def __init__(self) -> None:
        self.gone = False
        self._event: threading.Event | None = None

    def is_set(self) -> bool:
        """The same as ``gone``, so that the object passes for an event."""
        return self.gone

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the client has gone, ``timeout`` seconds at most; True when it has."""
        if self._event is None:
            self._event = threading.Event()
        # Looked at after the event is in place: leave() sets the flag first and looks for the event then.
        return self.gone or self._event.wait(timeout)

    def leave(self) -> None:
        """The client has gone. Idempotent, callable from every thread."""
        self.gone = True
        if self._event is not None:
            self._event.set()


current_view: ContextVar[ViewScope | None] = ContextVar("trioflask_sio_view", default=None)
"""The scope of the view that the calling code works for; None outside views."""


@dataclass(slots=True)
class Part:
    """What the loop is asked to send.

    ``status`` 0: the response has been started by an earlier part.
    """

    status: int
    headers: Headers
    data: bytes
    last: bool


class Link(Protocol):
    """The way from the worker to the request's task on the loop."""

    scope: ViewScope

    def deliver(self, part: Part) -> bool:
        """Send ``part`` and, unless it is the last, wait until that is done. False when the client has gone."""

    def fetch(self) -> tuple[bytes, bool] | None:
        """The next piece of the request body and whether more follows; None when the client has gone."""

    def abort(self) -> None:
        """The response cannot be finished: break the connection, so that the client does not take it for whole."""


class BodyLost(ClientDisconnected, OSError):
    """The client left while its request body was being read: Flask answers 400, other applications see an OSError."""


class BodyStream(io.RawIOBase):
    """A request body that arrives while it is read; wrapped in ``io.BufferedReader`` it is a ``wsgi.input``.

    Args:
        first: what has been read already.
        link: where more comes from.
    """

    def __init__(self, first: bytes, link: Link) -> None:
        self._rest = memoryview(first)
        self._link = link
        self._more = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with what is there, waiting only when nothing is; 0 at the end."""
        while not self._rest and self._more:
            got = self._link.fetch()
            if got is None:
                raise BodyLost("the client left while its request body was being read")
            self._rest, self._more = memoryview(got[0]), got[1]
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class FileWrapper:
    """``wsgi.file_wrapper``: a file in blocks of at least ``FILE_BLOCK`` bytes."""

    def __init__(self, file: IO[bytes], block_size: int = FILE_BLOCK) -> None:
        self._file = file
        self._block_size = max(block_size, FILE_BLOCK)

    def __iter__(self) -> Iterator[bytes]:
        while block := self._file.read(self._block_size):
            yield block

    def close(self) -> None:
        """Close the file."""
        close = getattr(self._file, "close", None)
        if close is not None:
            close()


class ViewCall:
    """One call of a WSGI application.

    Args:
        wsgi_app: the application.
        environ: the request.
        link: towards the loop.
    """

    __slots__ = ("_app", "_complete", "_environ", "_headers", "_link", "_remaining", "_single", "_started", "_status")

    def __init__(self, wsgi_app: WsgiCallable, environ: Environ, link: Link) -> None:
        self._app = wsgi_app
        self._environ = environ
        self._link = link
        self._status = 0
        self._headers: Headers = []
        self._remaining: int | None = None  # bytes that the Content-Length still promises
        self._single = False  # the iterable is one chunk long
        self._started = False  # the head has been handed over
        self._complete = False  # the end has been handed over

    def __repr__(self) -> str:
        return f"{self._environ['REQUEST_METHOD']} {self._environ['SCRIPT_NAME']}{self._environ['PATH_INFO']}"

    def run(self) -> None:
        """Run the view to its end in the calling thread. Never raises."""
        scope = self._link.scope
        if scope.gone:
            return  # it left while it waited for a thread
        current_view.set(scope)
        try:
            self._iterate(self._app(self._environ, self._start_response))
        except BaseException as exc:
            # Everything: a SystemExit of a view ends that view, not the thread that others will need.
            self._failed(exc)

    def _iterate(self, chunks: Iterable[bytes]) -> None:
        try:
            self._single = isinstance(chunks, (list, tuple)) and len(chunks) == 1
            for chunk in chunks:
                if not self._write(chunk) or (self._complete and self._bodyless):
                    break
            else:
                self._finish()
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    # --- what the application calls -----------------------------------------------------------------------------

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333 ``start_response``.

        Raises:
            RuntimeError: called twice without ``exc_info``.
            TypeError, ValueError: status or headers that HTTP cannot carry.
        """
        if exc_info is not None:
            try:
                if self._started:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # a reference cycle through the frame otherwise
        elif self._status:
            raise RuntimeError("start_response() was called a second time without exc_info")
        code = _parse_status(status)
        self._headers, self._remaining = _parse_headers(headers, code)
        self._status = code
        return self._write_now

    def _write_now(self, data: bytes) -> None:
        """The ``write`` callable for applications from before iterables."""
        if not self._write(data):
            raise HandlerCancelled("the client has left")

    # --- the response -------------------------------------------------------------------------------------------

    @property
    def _bodyless(self) -> bool:
        return self._status in _BODYLESS or self._environ["REQUEST_METHOD"] == "HEAD"

    def _write(self, data: bytes) -> bool:
        """Hand one chunk over. False when the client has gone."""
        if not isinstance(data, bytes):
            raise TypeError(f"a WSGI response is made of bytes, not of {type(data).__name__}: {data!r:.60}")
        if not data:
            return not self._link.scope.gone
        if not self._status:
            raise RuntimeError("the application gave body data before it called start_response()")
        if self._bodyless:
            return self._complete or self._hand_over(b"", last=True)
        if self._remaining is not None:
            data = self._within_length(data)
            return self._complete or self._hand_over(data, last=self._remaining == 0)
        if self._single and not self._started:
            self._headers.append((b"content-length", b"%d" % len(data)))
        return self._hand_over(data, last=self._single)

    def _within_length(self, data: bytes) -> bytes:
        """What goes beyond the Content-Length is cut off: the client would take it for the next response."""
        promised = self._remaining or 0
        if len(data) > promised:
            over = len(data) - promised
            _log.error("The view of %r gave %d bytes more than its Content-Length; they are cut off", self, over)
            data = data[:promised]
        self._remaining = promised - len(data)
        return data

    def _finish(self) -> None:
        if self._complete or self._link.scope.gone:
            return
        if not self._status:
            raise RuntimeError("the application ended without calling start_response()")
        if self._remaining and not self._bodyless:
            _log.error("The view of %r ended %d bytes short of its Content-Length", self, self._remaining)
            self._link.abort()
            return
        if not self._started and self._remaining is None and not self._bodyless:
            self._headers.append((b"content-length", b"0"))
        self._hand_over(b"", last=True)

    def _hand_over(self, data: bytes, *, last: bool) -> bool:
        status = 0 if self._started else self._status
        self._started, self._complete = True, last
        return self._link.deliver(Part(status, self._headers, data, last))

    def _failed(self, exc: BaseException) -> None:
        gone = self._link.scope.gone
        if not (gone and isinstance(exc, (HandlerCancelled, ClientDisconnected))):
            _log.error("The view of %r failed", self, exc_info=exc)
        if gone or self._complete:
            return
        if self._started:
            self._link.abort()
            return
        text = b"Internal Server Error"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
        self._link.deliver(Part(500, headers, b"" if self._environ["REQUEST_METHOD"] == "HEAD" else text, last=True))


def _parse_status(status: str) -> int:
    if not isinstance(status, str):
        raise TypeError(f"the status is a str such as '200 OK', not {status!r}")
    match = _STATUS.match(status)
    if match is None:
        raise ValueError(f"the status is three digits and a reason such as '200 OK', not {status!r}")
    return int(match[1])


def _parse_headers(headers: list[tuple[str, str]], status: int) -> tuple[Headers, int | None]:
    """The headers as ASGI carries them, and the Content-Length among them.

    Headers that are the server's business (hop by hop) are left out: example code all over the world sets
    ``Connection`` and ``Transfer-Encoding``, and servers have always ignored that.
    """
    encoded: Headers = []
    length: int | None = None
    for name, value in headers:
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"a header is two strings, not {name!r}: {value!r}")
        if not _NAME.match(name) or _CONTROL.search(value):
            raise ValueError(f"a header that HTTP cannot carry: {name!r}: {value!r}")
        if is_hop_by_hop(name):
            continue
        lower = name.lower()
        if lower == "content-length":
            if status == 204:
                continue  # RFC 9110 8.6 forbids it there
            length = _parse_length(value)
        encoded.append((lower.encode("ascii"), value.encode("latin-1")))
    return encoded, length


def _parse_length(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"Content-Length is a count of bytes, not {value!r}")
    return int(value)
