"""One HTTP/1.1 connection: h11 below, requests above.

Rules:

* What a client does wrong is answered with a status, ``Connection: close`` and one log line at INFO, never a traceback.
* Every wait has a deadline: for the head, the next request, each piece of a body, the client to take a reply.
* A reply says ``Connection: close`` whenever the connection will not carry another request.
* Before closing on a client that may still be sending, the write side is shut and what comes is thrown away for a
  moment: else the reply is lost to a reset.
* Bytes after an upgrade request belong to the WebSocket (pains P7).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import h11
import trio

from trioflask_sio.engine.transport import BodyTooBig, HttpRequest, HttpResponse, PeerGone
from trioflask_sio.server.site import Peer, Site, logger
from trioflask_sio.server.streams import ByteStream

__all__ = ["Exchange", "HttpConnection", "RequestEnded"]

_LINGER: Final = 2.0
"""Seconds in which a refused client may go on sending so that it gets to read the reply."""

_SEND_PIECE: Final = 65_536
"""Bytes of a reply per ``send_timeout``: a slow client is fine, one that takes nothing is not."""

_NO_BODY: Final = frozenset((204, 304))

Headers = Sequence[tuple[bytes, bytes]]


_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
"""What people read behind the number, in curl and in logs; clients ignore it."""


class RequestEnded(Exception):
    """No further request on this connection. Private to this room."""


class HttpConnection:
    """h11 and a stream: requests in, replies out, one at a time.

    Args:
        site: what all connections share.
        stream: the bytes.
        peer: both ends.
        initial: bytes that somebody else has read from the stream already (design §8.20).
    """

    __slots__ = (
        *("_fed", "_h11", "_status", "_written"),
        *("close_soon", "fault", "left", "peer", "request", "site", "started", "stream"),
    )

    def __init__(self, site: Site, stream: ByteStream, peer: Peer, initial: bytes = b"") -> None:
        self.site = site
        self.stream = stream
        self.peer = peer
        self.request: HttpRequest | None = None
        self.started = 0.0
        self.close_soon = False
        self.fault: tuple[int, str] | None = None
        """What the client did wrong in its request body, as status and text; it ends the connection."""
        self.left = False
        """The client was seen to leave while its request waited."""
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=site.config.max_header_size)
        if initial:
            self._h11.receive_data(initial)
        self._fed = bytearray(initial)
        """What h11 was given since the last request ended: begins with the next head."""
        self._status = 0
        self._written = 0

    # -- requests ----------------------------------------------------------------------------------------------------

    async def next_request(self, *, first: bool) -> HttpRequest:
        """The next request's head.

        Raises:
            RequestEnded: there is none; what had to be said to the client has been said.
            PeerGone: the stream broke.
        """
        config = self.site.config
        wait = config.header_timeout if first else config.keep_alive_timeout
        try:
            with self.site.idling(wait) as scope:
                if self._fed:
                    self.site.busy(scope, config.header_timeout)
                return await self._read_head(scope)
        except h11.RemoteProtocolError as error:
            await self._refuse_malformed(error)
        if self._fed:
            logger.info("%s did not finish its request head in %g s", self.peer, config.header_timeout)
            await self.refuse(408, "the request head did not arrive in time")
        raise RequestEnded

    async def _read_head(self, scope: trio.CancelScope) -> HttpRequest:
        while True:
            event = self._h11.next_event() if self._fed else h11.NEED_DATA
            if type(event) is h11.Request:
                return self._begin(event)
            if event is not h11.NEED_DATA:
                raise RequestEnded
            data = await self.stream.receive_some()
            if not data:
                if self._fed:
                    logger.debug("%s left in the middle of a request head", self.peer)
                raise RequestEnded
            if not self._fed:
                self.site.busy(scope, self.site.config.header_timeout)
            self._fed += data
            self._h11.receive_data(data)

    def _begin(self, event: h11.Request) -> HttpRequest:
        """The request h11 has read, with its raw bytes. Raises RemoteProtocolError over the head limit."""
        size = len(self._fed) - len(self._h11.trailing_data[0])
        raw_head = bytes(memoryview(self._fed)[:size])
        self._fed = bytearray()
        raw_path, _, query = _origin_form(event.target).partition(b"?")
        self.request = HttpRequest(
            method=event.method.decode("ascii"),
            path=unquote(raw_path.decode("latin-1"), errors="replace"),
            query_string=query.decode("latin-1"),
            # Names are interned: an idle client keeps its request, and they are the same for everybody.
            headers=tuple((sys.intern(name.decode("ascii")), value.decode("latin-1")) for name, value in event.headers),
            scheme=self.peer.scheme,
            http_version=event.http_version.decode("ascii"),
            client=self.peer.client,
            server=self.peer.server,
            raw_path=raw_path,
            raw_head=raw_head,
        )
        self.started = trio.current_time()
        self._status = self._written = 0
        if size > self.site.config.max_header_size:
            raise h11.RemoteProtocolError("request head too long", error_status_hint=431)
        if not event.http_version.startswith(b"1."):
            raise h11.RemoteProtocolError("this server speaks HTTP/1.1", error_status_hint=505)
        return self.request

    @property
    def answered(self) -> bool:
        """Whether a reply was begun."""
        return self._status != 0

    async def read_chunk(self) -> bytes:
        """The next piece of the request body, ``b""`` when it is complete. Cancelled, it has lost nothing.

        Raises:
            PeerGone: the client left, stopped sending, or broke the framing.
        """
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                logger.info("%s sent a malformed request body: %s", self.peer, error)
                raise self._body_fault(400, f"malformed request body: {error}") from None
            if type(event) is h11.Data:
                return bytes(event.data)
            if event is not h11.NEED_DATA:
                return b""  # EndOfMessage, or PAUSED behind it
            await self._receive_body()

    async def _receive_body(self) -> None:
        if self._h11.they_are_waiting_for_100_continue:
            await self._send(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])))
        with trio.move_on_after(self.site.config.body_timeout) as scope:
            data = await self.stream.receive_some()
            self._h11.receive_data(data)
        if scope.cancelled_caught:
            raise self._body_fault(408, f"no piece of the request body came for {self.site.config.body_timeout:g} s")
        if not data:
            raise self._body_fault(400, "the client left in the middle of its request body")

    def _body_fault(self, status: int, text: str) -> PeerGone:
        self.close_soon = True
        self.fault = (status, text)
        return PeerGone(text)

    async def wait_gone(self) -> None:
        """Return when the client has left, also when it has only shut its sending side."""
        await self.stream.wait_gone()
        self.left = True

    def upgrade_bytes(self) -> bytes:
        """What came behind an upgrade request: the WebSocket's first input.

        Raises:
            h11.RemoteProtocolError: the request has a body, which an upgrade request must not have.
        """
        event: object = None
        while event is not h11.PAUSED:
            event = self._h11.next_event()
            if type(event) is h11.Data or event is h11.NEED_DATA:
                raise h11.RemoteProtocolError("an upgrade request must not have a body")
        return self._h11.trailing_data[0]

    # -- replies -----------------------------------------------------------------------------------------------------

    async def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """One whole reply; Content-Length is ours. Raises PeerGone."""
        kept = [pair for pair in headers if pair[0].lower() != b"content-length"]
        if status not in _NO_BODY:
            kept.append((b"content-length", b"%d" % len(body)))
        out = self.start_reply(status, kept) + self.body_bytes(body) + self.end_reply()
        await self._send(out)
        self.log_answered()

    def start_reply(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The bytes of a reply's head.

        Raises:
            h11.LocalProtocolError: a header cannot be sent, or a reply was begun already.
        """
        lines = [*self.site.common_headers(), *headers]
        if self.close_soon or self.site.draining or not self._body_is_over():
            self.close_soon = True
            lines = [line for line in lines if line[0].lower() != b"connection"]
            lines.append((b"connection", b"close"))
        out = self._h11.send(h11.Response(status_code=status, headers=lines, reason=_REASONS.get(status, b""))) or b""
        self._status = status
        return out

    def body_bytes(self, data: bytes) -> bytes:
        """The bytes of a piece of the reply's body; none where the reply has no body (HEAD, 204, 304)."""
        assert self.request is not None
        if not data or self.request.method == "HEAD" or self._status in _NO_BODY:
            return b""
        self._written += len(data)
        return self._h11.send(h11.Data(data=data)) or b""

    def end_reply(self) -> bytes:
        """The bytes that end a reply. Raises h11.LocalProtocolError when its body is shorter than it said."""
        return self._h11.send(h11.EndOfMessage()) or b""

    async def send(self, data: bytes) -> None:
        """Send bytes made by the methods above. Raises PeerGone."""
        await self._send(data)

    async def switch(self, reply: bytes) -> None:
        """Send the 101 reply: from here on the stream is no longer ours. Raises PeerGone."""
        self._status = 101
        await self._send(reply)
        self.log_answered()

    def log_answered(self) -> None:
        """The access log's line, when the reply is complete."""
        if self.site.access_log and self.request is not None:
            seconds = trio.current_time() - self.started
            self.site.log_request(self.peer, self.request, self._status, self._written, seconds)

    async def refuse(self, status: int, text: str) -> None:
        """An error reply of our own, after which the connection closes. Does nothing where a reply was begun."""
        self.close_soon = True
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        body = text.encode() + b"\n"
        if self.request is None:  # nothing was understood: h11 does not know what it answers
            lines = [*self.site.common_headers(), *headers, (b"content-length", b"%d" % len(body))]
            lines.append((b"connection", b"close"))
            out = (
                self._h11.send(h11.Response(status_code=status, headers=lines, reason=_REASONS.get(status, b""))) or b""
            )
            out += (self._h11.send(h11.Data(data=body)) or b"") + (self._h11.send(h11.EndOfMessage()) or b"")
            await self._send(out)
        else:
            await self.respond(status, headers, body)

    async def refuse_unanswered(self) -> None:
        """A request was left without a reply: the client's own fault is told to it, anything else is ours: 500.

        Raises:
            PeerGone: the client has left; there is nobody to tell.
        """
        if self.left:
            raise PeerGone("the client left before it was answered")
        await self.refuse(*(self.fault or (500, "Internal Server Error")))

    async def _refuse_malformed(self, error: h11.RemoteProtocolError) -> None:
        hint = ""
        if self._fed[:2] == b"\x16\x03":
            hint = " (it speaks TLS; this port speaks plain HTTP)"
        logger.info("%s sent a malformed request: %s%s", self.peer, error, hint)
        await self.refuse(error.error_status_hint, str(error))
        raise RequestEnded

    async def _send(self, data: bytes) -> None:
        stream = self.stream
        sent = stream.try_send(data) if stream.can_try_send else 0
        if sent == len(data):
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        rest = memoryview(data)[sent:]
        seconds = self.site.config.send_timeout
        while rest:
            with trio.move_on_after(seconds) as scope:
                await stream.send_all(rest[:_SEND_PIECE])
            if scope.cancelled_caught:
                logger.info("%s took nothing of a reply for %g s", self.peer, seconds)
                stream.abort()
                raise PeerGone(f"the client took nothing of the reply for {seconds:g} s")
            rest = rest[_SEND_PIECE:]

    # -- between requests --------------------------------------------------------------------------------------------

    def _body_is_over(self) -> bool:
        """Whether the request body has been read, or is so small that it lies in the buffer: then it is skipped."""
        state = self._h11.their_state
        while state is h11.SEND_BODY and not self._h11.they_are_waiting_for_100_continue:
            try:
                if self._h11.next_event() is h11.NEED_DATA:
                    return False
            except h11.RemoteProtocolError:
                return False
            state = self._h11.their_state
        return state not in (h11.SEND_BODY, h11.ERROR)

    def next_cycle(self) -> bool:
        """Ready for the next request? False means: close."""
        ours, theirs = self._h11.our_state, self._h11.their_state
        if self.close_soon or ours is not h11.DONE or theirs is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self._fed = bytearray(self._h11.trailing_data[0])
        self.request = None
        return True

    async def linger(self) -> None:
        """Where the client may still be sending: shut the write side and discard it for a moment.

        Bounded, never raises PeerGone.
        """
        over = self._h11.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        if over and not self._h11.trailing_data[0]:
            return
        try:
            with self.site.idling(_LINGER):  # a server that stops does not wait for it
                await self.stream.send_eof()
                while await self.stream.receive_some():
                    pass
        except PeerGone:
            pass


class Exchange:
    """One polling request and its reply: ``engine.transport.HttpExchange`` on h11."""

    __slots__ = ("_connection", "request")

    def __init__(self, connection: HttpConnection) -> None:
        assert connection.request is not None
        self._connection = connection
        self.request: HttpRequest = connection.request

    async def read_body(self, limit: int) -> bytes:
        """See ``HttpExchange.read_body``. A length that is announced too big is refused without reading."""
        announced = self.request.header("content-length")
        if announced is not None and int(announced) > limit:
            raise BodyTooBig(int(announced), limit)
        pieces: list[bytes] = []
        size = 0
        while piece := await self._connection.read_chunk():
            size += len(piece)
            if size > limit:
                raise BodyTooBig(size, limit)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def wait_gone(self) -> None:
        """See ``HttpExchange.wait_gone``."""
        await self._connection.wait_gone()

    async def respond(self, response: HttpResponse) -> None:
        """See ``HttpExchange.respond``."""
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
        await self._connection.respond(response.status, headers, response.body)


def _origin_form(target: bytes) -> bytes:
    """The path and query of a request target; an absolute one (RFC 9112 3.2.2) loses its scheme and authority."""
    if target.startswith(b"/"):
        return target
    _, found, rest = target.partition(b"://")
    if not found:
        return target
    _, slash, path = rest.partition(b"/")
    return slash + path if slash else b"/"
