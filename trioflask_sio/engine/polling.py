"""A session on HTTP long-polling (spec 3.5). A parked GET is its request's own task and nothing else.

Rules:

* A GET with nothing to fetch waits in ``exchange.wait_gone()`` under a scope; whatever has news for it cancels the
  scope.
* From the moment a GET's reply is being written, the next GET is welcome: the client may have the bytes before we know.
* A reply is 200 only when everything that was posted was taken (spec 3.4.5).
* Methods return the reply; writing it is the engine's, which closes the session when that fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.registry import short
from trioflask_sio.engine.transport import BodyTooBig, HttpExchange, HttpResponse, PeerGone
from trioflask_sio.exceptions import PayloadError
from trioflask_sio.protocol.eio_machine import Input, poll_input
from trioflask_sio.protocol.eio_packet import Close, Noop
from trioflask_sio.protocol.eio_request import BAD_REQUEST, UNKNOWN_SESSION, refusal
from trioflask_sio.protocol.limits import INPUT_CHUNK
from trioflask_sio.protocol.outgoing import Outgoing

if TYPE_CHECKING:
    from trioflask_sio.engine.engine import Engine
    from trioflask_sio.engine.session import Session
    from trioflask_sio.engine.upgrade import Probe

__all__ = ["PollingCarrier"]

_OUR_WISH: Final = frozenset((CloseReason.SERVER_DISCONNECT, CloseReason.SERVER_SHUTDOWN, CloseReason.CONNECT_TIMEOUT))
"""Reasons that say nothing against the POST in which they struck."""


class PollingCarrier:
    """The polling side of one session.

    Args:
        engine: for its options and replies.
        session: whose.
    """

    __slots__ = ("_engine", "_get_open", "_parked", "_posted", "_posting", "_reading", "_session", "probe")

    name = "polling"

    def __init__(self, engine: Engine, session: Session) -> None:
        self._engine = engine
        self._session = session
        self._parked: anyio.CancelScope | None = None
        self._get_open = False
        """A GET is here whose reply has not been composed: it will carry what comes now."""
        self._posting = False
        """A POST is here that has not been answered."""
        self._reading = False
        """Its packets have not been handed up yet."""
        self._posted: anyio.Event | None = None
        self.probe: Probe | None = None
        """The WebSocket that asks to take over, while it does."""

    # --- what a carrier offers ----------------------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        """A GET is parked."""
        return self._parked is not None

    @property
    def current(self) -> bool:
        """Still the session's carrier: not upgraded. What happens to a request afterwards no longer concerns it."""
        return self._session.carrier is self

    def send_now(self, item: Outgoing) -> bool:
        """A poll is always answered through the outbox."""
        return False

    def flush(self) -> None:
        """Wake the parked GET, if there is one: it takes everything that waits."""
        if self._parked is not None:
            self._parked.cancel()
            self._parked = None

    def session_closed(self) -> None:
        """Let the parked GET carry the goodbye, or hold it for the next poll (spec 3.5.6)."""
        session = self._session
        held = session.flushing and not self._get_open and session.close_reason is not CloseReason.CLIENT_CLOSE
        if held:
            self._engine.hold_farewell(session)
        if self.probe is not None:
            self.probe.session_closed(held=held)
        self.flush()

    def drop_probe(self) -> None:
        """The last packets have been fetched by a poll: an upgrade has nothing to bring any more."""
        if self.probe is not None:
            self.probe.session_closed(held=False)

    # --- GET ----------------------------------------------------------------------------------------------------

    def open(self, exchange: HttpExchange) -> HttpResponse:
        """The handshake's reply: the open packet, and whatever the layer above sends or does at once."""
        self._get_open = True
        self._engine.session_opened(self._session)
        response = self.reply(exchange, self._session.eio_sid)
        self._get_open = False
        return response

    async def get(self, exchange: HttpExchange) -> HttpResponse:
        """Wait for something to fetch, and fetch it.

        Raises:
            RequestRefused: another GET is open; the session is closed (spec 3.5.3).
            PeerGone: the client left while waiting; the session is closed.
        """
        session = self._session
        if self._get_open:
            session.step(Input.POLL_OVERLAP)
            raise refusal(BAD_REQUEST, "OVERLAP: a second GET while the first is open")
        self._get_open = True
        try:
            if not session.outbox and not session.closed:
                await self._park(exchange)
            return self.reply(exchange)
        finally:
            self._get_open = False

    async def _park(self, exchange: HttpExchange) -> None:
        """Wait for news. Cancelled from outside (the server stops) it still delivers the goodbye, under a deadline."""
        session = self._session
        scope = anyio.CancelScope()
        self._parked = scope
        try:
            with scope:
                await exchange.wait_gone()
        except anyio.get_cancelled_exc_class():
            self._parked = None
            if not self.current:
                raise
            session.close(CloseReason.SERVER_SHUTDOWN)
            with anyio.move_on_after(self._engine.config.goodbye_timeout, shield=True):
                await self._engine.deliver(exchange, self.reply(exchange), session)
            raise
        finally:
            self._parked = None
        if not scope.cancelled_caught:
            self._broken_off()
            raise PeerGone

    def _broken_off(self) -> None:
        if self.current:
            self._session.step(Input.POLL_GONE)

    def reply(self, exchange: HttpExchange, new_sid: str | None = None) -> HttpResponse:
        """Everything that waits, and the goodbye of a closed session; a noop when there is nothing.

        Args:
            exchange: what is answered.
            new_sid: the session's id when this answers its handshake, which may set the cookie.
        """
        session = self._session
        elements: list[str | bytes] = []
        if self.current:  # else it has been upgraded meanwhile, and what waits is the WebSocket's
            elements = session.outbox.take_elements(session.revision)
        if session.close_reason is CloseReason.CLIENT_CLOSE:
            elements = [session.revision.element(Noop())]  # the client said goodbye itself (spec 3.5.5)
        elif session.closed and self.current:
            elements.append(session.revision.element(Close()))
        elif not elements:
            elements.append(session.revision.element(Noop()))
        body, content_type = session.revision.payload(elements)
        return self._engine.replies.payload(exchange.request, body, content_type, new_sid)

    # --- POST ---------------------------------------------------------------------------------------------------

    async def post(self, exchange: HttpExchange) -> HttpResponse:
        """Take the packets of one POST.

        Raises:
            RequestRefused: overlap, too big, unreadable, or not taken to its end; the session is closed.
            PeerGone: the client left in the middle; the session is closed.
        """
        session = self._session
        if self._posting:
            session.step(Input.POLL_OVERLAP)
            raise refusal(BAD_REQUEST, "OVERLAP: a second POST while the first is open")
        self._posting = self._reading = True
        try:
            body = await exchange.read_body(self._engine.config.max_http_buffer_size)
            await self._take_body(exchange, body)
            self._dispatched()
            await session.pause(exchange.wait_gone)
        except BodyTooBig as error:
            self._engine.logger.info(
                "client %s posted too much: %s (max_http_buffer_size)", short(session.eio_sid), error
            )
            session.step(Input.POLL_TOO_BIG)
            return self._engine.replies.too_big(exchange.request)
        except PeerGone:
            self._broken_off()
            raise
        except anyio.get_cancelled_exc_class():
            if self.current:
                session.close(CloseReason.SERVER_SHUTDOWN)
            raise
        finally:
            self._posting = False
            self._dispatched()
        return self._engine.replies.taken(exchange.request)

    async def _take_body(self, exchange: HttpExchange, body: bytes) -> None:
        session = self._session
        if session.closed:
            raise refusal(UNKNOWN_SESSION, "SESSION_CLOSED while its POST was read")
        complete = False
        try:
            complete = await self._take_packets(body, exchange.request.header("content-type") or "")
        except PayloadError as error:
            self._engine.logger.info("client %s posted a bad payload: %s", short(session.eio_sid), error)
            session.step(Input.POLL_INVALID)
        except Exception:
            self._engine.session_failed(session)
        if not complete:
            raise refusal(BAD_REQUEST, "NOT_TAKEN: the session was closed before the end of its POST")

    async def _take_packets(self, body: bytes, content_type: str) -> bool:
        """Hand the packets up, giving way in between; False when some were dropped that no rule drops."""
        session = self._session
        packets = session.revision.from_payload(body, content_type)
        for number, packet in enumerate(packets, 1):
            session.take(packet, poll_input(packet, server_pings=session.revision.server_pings))
            if session.close_reason is CloseReason.CLIENT_CLOSE:
                return True  # what follows a close packet is dropped by rule (spec 3.4.8)
            if session.closed:
                return session.close_reason in _OUR_WISH and next(packets, None) is None
            if number % INPUT_CHUNK == 0 and not await self._give_way():
                return next(packets, None) is None
        return True

    async def _give_way(self) -> bool:
        """Let others run in the middle of a long body; whether the session is still there afterwards."""
        await anyio.lowlevel.checkpoint()
        return self._session.close_reason is None

    def _dispatched(self) -> None:
        self._reading = False
        if self._posted is not None:
            self._posted.set()
            self._posted = None

    async def wait_posted(self) -> None:
        """Return when no POST's packets are on their way (spec 3.7.4). Cancelled: nothing is left behind."""
        if self._reading:
            if self._posted is None:
                self._posted = anyio.Event()
            await self._posted.wait()
