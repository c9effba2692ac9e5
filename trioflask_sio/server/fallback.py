"""The ASGI side of one HTTP request, for the fallback application.

Rules:

* Bodies are streamed both ways: ``receive`` reads the socket only when it is called, ``send`` waits until the kernel
  has taken what it was given.
* The client's departure is ``http.disconnect`` from ``receive`` and ``ClientDisconnected`` (an OSError, as ASGI 2.4
  asks) from ``send``; the latter, coming back out of the application, is not an error.
* An application that leaves a client's departure or broken request body without a reply has done nothing wrong.
* An application that fails before its first byte gets a 500; later the connection is closed, so that the client sees
  that the reply is not whole. Both are programmer's mistakes and print a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import h11
import trio

from trioflask_sio.engine.transport import PeerGone
from trioflask_sio.server.http import HttpConnection
from trioflask_sio.server.service import AsgiApplication, Scope
from trioflask_sio.server.site import logger

__all__ = ["ClientDisconnected", "http_scope", "run_fallback"]


class ClientDisconnected(OSError):
    """The client has left; nothing more can be sent to it."""


async def run_fallback(application: AsgiApplication, connection: HttpConnection) -> None:
    """Let the application answer the connection's request. Raises PeerGone when the client left meanwhile."""
    request = connection.request
    assert request is not None
    exchange = _AsgiExchange(connection)
    try:
        await application(http_scope(connection), exchange.receive, exchange.send)
        problem = exchange.unfinished()
    except Exception as error:
        if _only_departure(error):
            raise PeerGone from None
        logger.exception("the application failed at %s %s", request.method, request.path)
        problem = "it raised an exception"
    else:
        if problem and not exchange.gone:
            logger.error("the application's reply to %s %s: %s", request.method, request.path, problem)
    if problem:
        connection.close_soon = True
        if connection.answered:
            connection.stream.abort()
        else:
            await connection.refuse_unanswered()


def http_scope(connection: HttpConnection) -> Scope:
    """The ASGI scope of the connection's request."""
    request = connection.request
    assert request is not None
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": request.http_version,
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.raw_path,
        "query_string": request.query_string.encode("latin-1"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers],
        "client": request.client,
        "server": request.server,
        "extensions": {},
    }


class _AsgiExchange:
    """``receive`` and ``send`` of one request."""

    __slots__ = ("_body_read", "_connection", "_ended", "_head", "_waiting", "gone")

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._body_read = False
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._ended = False
        self._waiting: trio.CancelScope | None = None
        self.gone = False

    def unfinished(self) -> str:
        """What the application has left undone, in words; empty when nothing."""
        if not self._connection.answered:
            return "it returned without a reply"
        return "" if self._ended else "it returned in the middle of the body"

    async def receive(self) -> dict[str, Any]:
        """The next ASGI message in."""
        if self._body_read or self.gone or self._ended:
            if not (self.gone or self._ended):
                await self._wait_gone()
            return {"type": "http.disconnect"}
        try:
            piece = await self._connection.read_chunk()
        except PeerGone:
            self.gone = True
            return {"type": "http.disconnect"}
        self._body_read = not piece
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def _wait_gone(self) -> None:
        """Until the client has left or the reply is complete, whichever is first."""
        with trio.CancelScope() as self._waiting:
            await self._connection.wait_gone()
            self.gone = True
        self._waiting = None

    async def send(self, message: Any) -> None:
        """The next ASGI message out.

        Raises:
            ClientDisconnected: the client has left.
            RuntimeError: the message is not one that can come here.
        """
        if self.gone:
            raise ClientDisconnected("the client has left")
        kind = message["type"]
        try:
            if kind == "http.response.start" and self._head is None:
                self._head = (message["status"], _clean(message.get("headers", ())))
            elif kind == "http.response.body" and self._head is not None and not self._ended:
                await self._send_body(bytes(message.get("body", b"")), bool(message.get("more_body", False)))
            else:
                raise RuntimeError(f"an ASGI application sent {kind!r} where it cannot stand")
        except PeerGone as error:
            self.gone = True
            raise ClientDisconnected(str(error)) from None
        except h11.LocalProtocolError as error:
            raise RuntimeError(f"the reply cannot be sent: {error}") from error

    async def _send_body(self, data: bytes, more: bool) -> None:
        connection = self._connection
        assert self._head is not None
        # The head waits for the first piece of the body: one packet, and a failure before it can still become a 500.
        out = b"" if connection.answered else connection.start_reply(*self._with_length(data, more))
        out += connection.body_bytes(data)
        if not more:
            out += connection.end_reply()
        await connection.send(out)
        if more:
            await trio.lowlevel.checkpoint()  # a quick client and a long body must not hold the loop
            return
        self._ended = True
        connection.log_answered()
        if self._waiting is not None:
            self._waiting.cancel()

    def _with_length(self, data: bytes, more: bool) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers; a body known as a whole gets its length where the application gave none."""
        assert self._head is not None
        status, headers = self._head
        framed = more or status < 200 or status in (204, 304) or self._is_head()
        if not framed and not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers):
            headers = [*headers, (b"content-length", b"%d" % len(data))]
        return status, headers

    def _is_head(self) -> bool:
        request = self._connection.request
        return request is not None and request.method == "HEAD"


def _only_departure(error: BaseException) -> bool:
    """Whether nothing but the client's departure came out of the application, perhaps in an exception group."""
    inner = getattr(error, "exceptions", None)
    if inner:
        return all(_only_departure(one) for one in inner)
    return isinstance(error, ClientDisconnected)


def _clean(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The application's headers in lower case, without those that are ours to say."""
    lowered = [(bytes(name).lower(), bytes(value)) for name, value in headers]
    return [pair for pair in lowered if pair[0] not in (b"transfer-encoding", b"date", b"keep-alive")]
