"""The same service under any ASGI server: Hypercorn, uvicorn, gunicorn's asgi worker.

Rules:

* AnyIO only: it runs on whatever loop the server runs.
* The body is counted by its real bytes, whatever the server or the client says of its length.
* Whatever a server raises or swallows after the client has left is ``PeerGone`` here.
* A server that cancels a connection (its way to stop, design §8.14) still sees a close frame, under a deadline.
* ``wait_gone`` can only hear of the end by receiving: what it receives besides is kept for the next reader, up to a
  limit; beyond it the end is no longer seen, but nothing is lost.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import MutableMapping, Sequence
from typing import Any, Final

import anyio
import sniffio
import trio

from trioflask_sio.engine.transport import (
    BodyTooBig,
    HttpRequest,
    HttpResponse,
    MessageTooBig,
    PeerGone,
    TransportFailed,
)
from trioflask_sio.server.service import Receive, Scope, Send, Service

__all__ = ["AsgiExchange", "AsgiUpgrade", "AsgiWebSocket", "asgi_app", "request_of"]

logger = logging.getLogger("trioflask_sio.server")

_CLOSE_DEADLINE: Final = 2.0
"""Seconds for a server to take our close."""

_READ_AHEAD: Final = 1_000_000
"""Bytes that ``wait_gone`` keeps for the next reader."""

_CLIENT_FIRST: Final = 0.25
"""Seconds for a client that has said goodbye to close first. Hypercorn's trio worker (0.18) ends the whole process when
it answers a client's close frame at the moment at which the application closes."""

_BROKEN: Final = (
    OSError,
    RuntimeError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    trio.BusyResourceError,
)
"""What servers raise from ``send`` after the client has left: OSError by the specification, the rest by habit (the last
from Hypercorn's trio worker, which shuts its stream while a send is on its way)."""

Headers = Sequence[tuple[str, str]]


async def asgi_app(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one ``http`` or ``websocket`` scope. The engine must be running; the lifespan is not ours.

    Args:
        service: engine, path and fallback.
        scope: ASGI's.
        receive: ASGI's.
        send: ASGI's.

    Raises:
        ValueError: a scope of another type.
    """
    kind = scope["type"]
    if kind not in ("http", "websocket"):
        raise ValueError(f"asgi_app serves http and websocket scopes, not {kind!r}")
    ours = _path_of(scope).startswith(service.path)
    if kind == "http":
        if ours:
            await _http(service, scope, receive, send)
        else:
            await service.fallback(scope, receive, send)
    elif ours:
        await _websocket(service, scope, receive, send)
    else:
        upgrade = AsgiUpgrade(scope, receive, send)
        text = f"there is no WebSocket at this address; Socket.IO is at {service.path}\n"
        await upgrade.reject(HttpResponse(404, (("content-type", "text/plain"),), text.encode()))


async def _http(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    exchange = AsgiExchange(scope, receive, send)
    try:
        await service.engine.handle_http(exchange)
    except PeerGone as error:
        logger.debug("the client left: %s", error)
        return
    except Exception:
        logger.exception("the engine failed at %s %s", exchange.request.method, exchange.request.path)
    if not exchange.answered:
        try:
            await exchange.respond(HttpResponse(500, (("content-type", "text/plain"),), b"Internal Server Error\n"))
        except PeerGone as error:
            logger.debug("the client left: %s", error)


async def _websocket(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    upgrade = AsgiUpgrade(scope, receive, send)
    code = 1000
    try:
        await service.engine.handle_websocket(upgrade)
    except PeerGone as error:
        logger.debug("the client left: %s", error)
    except Exception:
        logger.exception("the engine failed in a WebSocket")
        code = 1011
    except BaseException:
        await upgrade.farewell(1001)  # the server cancels us: it is stopping
        raise
    await upgrade.farewell(code)


def _path_of(scope: Scope) -> str:
    """The path below the mount point, with or without which servers report it."""
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


def request_of(scope: Scope) -> HttpRequest:
    """An ASGI scope as the engine's request."""
    client = scope.get("client")
    server = scope.get("server")
    query = scope.get("query_string") or b""
    scheme: str = scope.get("scheme") or "http"
    return HttpRequest(
        method=scope.get("method", "GET"),
        path=_path_of(scope),
        query_string=query.decode("latin-1"),
        headers=tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]),
        scheme={"ws": "http", "wss": "https"}.get(scheme, scheme),
        http_version=scope.get("http_version", "1.1"),
        client=None if client is None else (client[0], client[1] or 0),
        server=None if server is None else (server[0], server[1]),
        root_path=scope.get("root_path") or "",
        raw_path=scope.get("raw_path") or scope["path"].encode(),
    )


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _send_or_gone(send: Send, message: MutableMapping[str, Any]) -> None:
    """Send one message; whatever the server says about a client that has left becomes PeerGone."""
    try:
        await send(message)
    except _BROKEN as error:
        raise PeerGone(f"the server cannot send: {error}") from error


async def _respond(send: Send, prefix: str, response: HttpResponse) -> None:
    """A whole reply, by ``http.response`` or ``websocket.http.response`` messages."""
    headers = [pair for pair in _encoded(response.headers) if pair[0] != b"content-length"]
    if response.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(response.body)))
    await _send_or_gone(send, {"type": f"{prefix}.start", "status": response.status, "headers": headers})
    await _send_or_gone(send, {"type": f"{prefix}.body", "body": response.body, "more_body": False})


class AsgiExchange:
    """``engine.transport.HttpExchange`` on an ``http`` scope."""

    __slots__ = ("_ahead", "_ahead_size", "_gone", "_receive", "_send", "answered", "request")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request: HttpRequest = request_of(scope)
        self.answered = False
        self._receive = receive
        self._send = send
        self._ahead: deque[MutableMapping[str, Any]] = deque()
        self._ahead_size = 0
        self._gone = False

    async def read_body(self, limit: int) -> bytes:
        """See ``HttpExchange.read_body``."""
        pieces: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self._next()
            piece = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise BodyTooBig(size, limit)
            pieces.append(piece)
            more = message.get("more_body", False)
        return b"".join(pieces)

    async def _next(self) -> MutableMapping[str, Any]:
        """The next piece of the body. Raises PeerGone. Cancelled, it has lost nothing."""
        if self._ahead:
            message = self._ahead.popleft()
            self._ahead_size -= len(message.get("body", b""))
            return message
        if not self._gone:
            message = await self._receive()
            if message["type"] == "http.request":
                return message
            self._gone = True
        raise PeerGone("the client left in the middle of its request")

    async def wait_gone(self) -> None:
        """See ``HttpExchange.wait_gone``."""
        while not self._gone:
            if self._ahead_size > _READ_AHEAD:
                await anyio.sleep_forever()
            message = await self._receive()
            if message["type"] == "http.request":
                self._ahead.append(message)
                self._ahead_size += len(message.get("body", b""))
            else:
                self._gone = True

    async def respond(self, response: HttpResponse) -> None:
        """See ``HttpExchange.respond``."""
        self.answered = True
        if self._gone:
            raise PeerGone
        await _respond(self._send, "http.response", response)


class AsgiUpgrade:
    """``engine.transport.WebSocketUpgrade`` on a ``websocket`` scope."""

    __slots__ = ("_answered", "_can_reply", "_receive", "_send", "_transport", "request")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request: HttpRequest = request_of(scope)
        self._can_reply = "websocket.http.response" in (scope.get("extensions") or {})
        self._receive = receive
        self._send = send
        self._answered = False
        self._transport: AsgiWebSocket | None = None

    async def accept(
        self,
        *,
        max_message: int,
        headers: Headers = (),
        deflate: bool = False,
        deflate_threshold: int = 1024,
    ) -> AsgiWebSocket:
        """See ``WebSocketUpgrade.accept``. Compression is the server's own affair."""
        await self._connect()
        await _send_or_gone(self._send, {"type": "websocket.accept", "headers": _encoded(headers)})
        self._transport = AsgiWebSocket(self._receive, self._send, max_message)
        return self._transport

    async def _connect(self) -> None:
        """The first message of a websocket scope. Raises PeerGone, or RuntimeError when answered already."""
        if self._answered:
            raise RuntimeError("this upgrade request has been answered already")
        self._answered = True
        message = await self._receive()
        if message["type"] != "websocket.connect":
            raise PeerGone("the client left before its WebSocket was answered")

    async def reject(self, response: HttpResponse) -> None:
        """See ``WebSocketUpgrade.reject``. A server without the extension answers 403 in our place."""
        try:
            await self._connect()
            if self._can_reply:
                await _respond(self._send, "websocket.http.response", response)
            else:
                await _send_or_gone(self._send, {"type": "websocket.close", "code": 1000, "reason": ""})
        except PeerGone as error:
            logger.debug("the client left before its refusal: %s", error)

    async def farewell(self, code: int) -> None:
        """Whatever the engine left, also when we are being cancelled: close or refuse, within a deadline."""
        with anyio.move_on_after(_CLOSE_DEADLINE, shield=True):
            if self._transport is not None:
                await self._transport.close(code)
            elif not self._answered:
                await self.reject(HttpResponse(503 if code == 1001 else 500))


class AsgiWebSocket:
    """``engine.transport.WebSocketTransport`` on an accepted ``websocket`` scope."""

    __slots__ = ("_ahead", "_ahead_size", "_closed", "_failure", "_max_message", "_receive", "_send", "_waiting")

    framed = False
    can_try_send = False

    def __init__(self, receive: Receive, send: Send, max_message: int) -> None:
        self._receive = receive
        self._send = send
        self._max_message = max_message
        self._ahead: list[str | bytes] = []
        self._ahead_size = 0
        self._failure: TransportFailed | None = None
        """Why nothing more will come."""
        self._closed = False
        self._waiting: anyio.CancelScope | None = None

    async def receive(self) -> Sequence[str | bytes]:
        """See ``WebSocketTransport.receive``."""
        if self._ahead:
            messages, self._ahead = self._ahead, []
            self._ahead_size = 0
            return messages
        return [await self._next()]

    async def _next(self) -> str | bytes:
        """The next message. Raises TransportFailed. Cancelled, it has lost nothing."""
        if self._failure is None:
            message: MutableMapping[str, Any] = {"type": "aborted"}
            with anyio.CancelScope() as self._waiting:
                message = await self._receive()
            self._waiting = None
            if message["type"] == "websocket.receive":
                return self._checked(message)
            code = message.get("code") or 1005
            self._failure = self._failure or PeerGone(f"the client closed the WebSocket with code {code}", code)
        raise self._failure

    def _checked(self, message: MutableMapping[str, Any]) -> str | bytes:
        """A message's content. Raises MessageTooBig."""
        text = message.get("text")
        data: str | bytes = message.get("bytes") or b"" if text is None else text
        size = _size(data)
        if size > self._max_message:
            self._failure = MessageTooBig(size, self._max_message)
            raise self._failure
        return data

    def try_send(self, data: bytes | memoryview) -> int:
        """Nothing can be sent without waiting here."""
        return 0

    async def send_bytes(self, data: bytes | memoryview) -> None:
        """Frames are the server's affair (``framed`` is False). Raises RuntimeError."""
        raise RuntimeError("this transport frames messages itself: use send_message")

    async def send_message(self, message: str | bytes) -> None:
        """See ``WebSocketTransport.send_message``."""
        if self._closed or isinstance(self._failure, PeerGone):
            raise PeerGone("the WebSocket is closed")
        key = "text" if isinstance(message, str) else "bytes"
        await _send_or_gone(self._send, {"type": "websocket.send", key: message})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """See ``WebSocketTransport.close``. The closing handshake is the server's affair."""
        if self._closed or isinstance(self._failure, PeerGone):
            return
        self._closed = True
        if code == 1000 and sniffio.current_async_library() == "trio" and await self._closed_by_client():
            return
        with anyio.move_on_after(_CLOSE_DEADLINE):
            try:
                await _send_or_gone(self._send, {"type": "websocket.close", "code": code, "reason": reason})
            except PeerGone as error:
                logger.debug("closing a WebSocket that has gone: %s", error)

    async def _closed_by_client(self) -> bool:
        """Let a client that is about to close do it; True when it has. What it sends meanwhile is not wanted."""
        with anyio.move_on_after(_CLIENT_FIRST):
            try:
                while True:
                    await self._next()
            except TransportFailed:
                return isinstance(self._failure, PeerGone)
        return False

    async def wait_gone(self) -> None:
        """See ``WebSocketTransport.wait_gone``."""
        try:
            while self._ahead_size <= _READ_AHEAD:
                message = await self._next()
                self._ahead.append(message)
                self._ahead_size += _size(message)
        except PeerGone:
            return
        except TransportFailed as error:
            logger.debug("reading ahead ended: %s", error)  # the next ``receive`` raises it
        await anyio.sleep_forever()

    def abort(self) -> None:
        """See ``WebSocketTransport.abort``. ASGI cannot drop a connection: the application leaves, the server drops."""
        self._closed = True
        if self._failure is None:
            self._failure = PeerGone("the WebSocket was aborted")
        if self._waiting is not None:
            self._waiting.cancel()


def _size(message: str | bytes) -> int:
    """Bytes of a message on the wire."""
    if isinstance(message, str) and not message.isascii():
        return len(message.encode("utf-8", "surrogatepass"))
    return len(message)
