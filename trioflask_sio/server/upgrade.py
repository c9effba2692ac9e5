"""From an upgrade request to an open WebSocket: wsproto is the authority for the handshake.

Rules:

* What is not a valid handshake is refused before the engine sees it: 400, or 426 with the version that is spoken.
* A refusal is a plain HTTP reply with ``Connection: close`` (spec 3.2.2), and the client gets to read it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace

import h11
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, RejectConnection
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from trioflask_sio.engine.transport import HttpRequest, HttpResponse, PeerGone
from trioflask_sio.server.http import HttpConnection
from trioflask_sio.server.site import logger
from trioflask_sio.server.websocket import Transport

__all__ = ["Upgrade", "check_handshake"]


async def check_handshake(connection: HttpConnection) -> Upgrade | None:
    """Let wsproto judge the connection's request; what is not valid is answered here, and None returned.

    Raises:
        PeerGone: the client left before it was answered.
    """
    request = connection.request
    assert request is not None
    path = connection.site.service.path
    if not request.path.startswith(path):
        await connection.refuse(404, f"there is no WebSocket at this address; Socket.IO is at {path}")
        return None
    handshake = H11Handshake(ConnectionType.SERVER)
    try:
        early = connection.upgrade_bytes()
        _validate(handshake, request)
    except (RemoteProtocolError, h11.RemoteProtocolError, h11.LocalProtocolError, UnicodeError) as error:
        logger.info("%s: bad WebSocket handshake: %s", connection.peer, error)
        hint = getattr(error, "event_hint", None)
        if not isinstance(hint, RejectConnection):
            hint = RejectConnection(status_code=400)
        connection.close_soon = True
        await connection.respond(hint.status_code, [*hint.headers, _TEXT], f"{error}\n".encode())
        return None
    return Upgrade(connection, handshake, early)


_TEXT = (b"content-type", b"text/plain; charset=utf-8")


def _validate(handshake: H11Handshake, request: HttpRequest) -> None:
    """wsproto's rules, and the three that it leaves to others. Raises RemoteProtocolError."""
    if request.method != "GET":
        raise RemoteProtocolError("a WebSocket handshake must be a GET request", RejectConnection(status_code=400))
    if request.http_version != "1.1":
        raise RemoteProtocolError("a WebSocket handshake needs HTTP/1.1", RejectConnection(status_code=400))
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in request.headers]
    handshake.initiate_upgrade_connection(headers, request.raw_path)
    key = request.header("sec-websocket-key") or ""
    try:
        decoded = base64.b64decode(key.strip(), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != 16:
        raise RemoteProtocolError("Sec-WebSocket-Key is not 16 bytes in base64", RejectConnection(status_code=400))


class Upgrade:
    """``engine.transport.WebSocketUpgrade`` on our own connection.

    Args:
        connection: where the request came from; let go once it is answered.
        handshake: wsproto's, which has accepted the request.
        early: bytes that came behind the request.
    """

    __slots__ = ("_connection", "_early", "_handshake", "_rejected", "_transport", "peer", "request")

    def __init__(self, connection: HttpConnection, handshake: H11Handshake, early: bytes) -> None:
        assert connection.request is not None
        self._connection: HttpConnection | None = connection
        self._handshake: H11Handshake | None = handshake
        self._early = early
        self._rejected: HttpConnection | None = None
        self._transport: Transport | None = None
        self.peer = connection.peer
        # The raw head is for handing a connection over before it is answered; an idle client need not keep it.
        self.request: HttpRequest = replace(connection.request, raw_head=b"")

    async def accept(
        self,
        *,
        max_message: int,
        headers: Sequence[tuple[str, str]] = (),
        deflate: bool = False,
        deflate_threshold: int = 1024,
    ) -> Transport:
        """See ``WebSocketUpgrade.accept``. Raises RuntimeError when the request was answered already."""
        connection = self._take()
        extra = [*connection.site.common_headers()]
        extra += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        reply, extension = self._negotiate(extra, deflate)
        await connection.switch(reply)
        self._transport = Transport(
            connection.stream,
            max_message=max_message,
            early=self._early,
            deflate=extension,
            deflate_threshold=deflate_threshold,
        )
        self._early = b""
        return self._transport

    def _negotiate(self, headers: list[tuple[bytes, bytes]], deflate: bool) -> tuple[bytes, PerMessageDeflate | None]:
        """The 101 reply, and the compression both sides agreed on."""
        handshake = self._handshake
        assert handshake is not None
        self._handshake = None
        # Without context takeover: a window kept between messages would cost each idle client some 300 KiB.
        offered = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
        extensions: list[Extension] = [offered] if deflate else []
        try:
            reply = handshake.send(AcceptConnection(extensions=extensions, extra_headers=headers))
        except ValueError:  # the client's parameters are no numbers: go on without
            return handshake.send(AcceptConnection(extra_headers=headers)), None
        return reply, offered if deflate and offered.enabled() else None

    async def reject(self, response: HttpResponse) -> None:
        """See ``WebSocketUpgrade.reject``."""
        connection = self._take()
        self._rejected = connection
        connection.close_soon = True
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        try:
            await connection.respond(response.status, headers, response.body)
        except PeerGone as error:
            logger.debug("%s left before its refusal: %s", self.peer, error)

    def _take(self) -> HttpConnection:
        if self._connection is None:
            raise RuntimeError("this upgrade request has been answered already")
        connection, self._connection = self._connection, None
        return connection

    async def finish(self, code: int) -> None:
        """Whatever the engine left: close the WebSocket with ``code``, or let the client read its refusal."""
        if self._transport is not None:
            await self._transport.close(code)
            return
        if self._connection is not None:
            await self.reject(HttpResponse(500, (("content-type", "text/plain"),), b"Internal Server Error\n"))
        if self._rejected is not None:
            await self._rejected.linger()
