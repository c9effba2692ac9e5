"""A session on a WebSocket: reading in the task that brought it, writing without a task where the socket lets us.

Who does what:

* The reader is the caller's own task (``handle_websocket``); an idle client is that task and nothing else. It also says
  goodbye, under a shield with a deadline.
* Writing happens synchronously by ``try_send`` while nothing waits. What the kernel does not take, and everything on
  transports without ``try_send``, is written by a writer task in the engine's nursery that ends when the outbox is
  empty.
* A write error is noticed by whoever writes and closes the session soon, never inside a fan-out (design §8.4).
* A write cancelled in the middle leaves a torn stream: it is aborted, nothing more is written to it (design §8.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.registry import short
from trioflask_sio.engine.transport import MessageTooBig, PeerGone, TransportFailed, WebSocketTransport
from trioflask_sio.exceptions import PacketError
from trioflask_sio.protocol.eio_machine import Input, socket_input
from trioflask_sio.protocol.limits import INPUT_CHUNK
from trioflask_sio.protocol.outgoing import Outgoing

if TYPE_CHECKING:
    from trioflask_sio.engine.engine import Engine
    from trioflask_sio.engine.session import Session

__all__ = ["WebSocketCarrier"]

_MESSAGE: Final = "4"
"""The type digit of a text message, the same in every revision: the reader's shortcut past the packet classes."""

_HOPELESS: Final = frozenset((CloseReason.PING_TIMEOUT, CloseReason.SLOW_CONSUMER, CloseReason.TRANSPORT_CLOSE))
"""Reasons after which a write that is stuck gets no more time."""


class WebSocketCarrier:
    """The WebSocket side of one session.

    Args:
        engine: for its nursery and options.
        session: whose.
        wire: the open WebSocket; from now on this carrier's to close.
    """

    __slots__ = ("_closing", "_direct", "_drained", "_engine", "_scope", "_session", "_torn", "_wire", "_writing")

    name = "websocket"

    def __init__(self, engine: Engine, session: Session, wire: WebSocketTransport) -> None:
        self._engine = engine
        self._session = session
        self._wire = wire
        self._direct = wire.framed and wire.can_try_send
        """``try_send`` is legal now."""
        self._writing: anyio.CancelScope | None = None
        self._torn = False
        self._closing = False
        self._scope: anyio.CancelScope | None = None
        self._drained: anyio.Event | None = None

    @property
    def writable(self) -> bool:
        """No write is stuck."""
        return self._writing is None and not self._torn

    # --- out ----------------------------------------------------------------------------------------------------

    def send_now(self, item: Outgoing) -> bool:
        """Hand the shared frames to the socket if nothing stands in front of them."""
        session = self._session
        if not self._direct or session.outbox:
            return False
        data = item.frames(session.revision)
        try:
            sent = self._wire.try_send(data)
        except TransportFailed:
            self._broken()
            return True
        if sent < len(data):
            session.outbox.put_rest(data, sent)
            self._start_writer()
        return True

    def flush(self) -> None:
        """Write what waits until the socket would block; a writer task does the rest."""
        session = self._session
        outbox = session.outbox
        if not self._direct:
            if outbox and self._writing is None and not self._torn:
                self._start_writer()
            return
        while outbox:
            data = outbox.take_bytes(session.revision)
            try:
                sent = self._wire.try_send(data)
            except TransportFailed:
                self._broken()
                return
            if sent < len(data):
                outbox.put_rest(data, sent)
                self._start_writer()
                return

    def _start_writer(self) -> None:
        self._direct = False
        self._writing = anyio.CancelScope()
        self._engine.start_writer(self._write_out)

    def _broken(self) -> None:
        self._direct = False
        self._torn = True
        self._session.close_soon(CloseReason.TRANSPORT_CLOSE)

    async def _write_out(self) -> None:
        """The writer task: everything that waits, until nothing does. Cancelled in a write, the stream is torn."""
        scope = self._writing
        if scope is None:
            return
        self._torn = True
        try:
            with scope:
                await self._write_queued()
                self._torn = False
        except TransportFailed:
            self._broken()
        finally:
            self._writing = None
            self._direct = self._wire.framed and self._wire.can_try_send and not self._torn and not self._closing
            if self._drained is not None:
                self._drained.set()

    async def _write_queued(self) -> None:
        outbox, revision, wire = self._session.outbox, self._session.revision, self._wire
        while outbox:
            if wire.framed:
                await wire.send_bytes(outbox.take_bytes(revision))
            else:
                for message in outbox.take_messages(revision):
                    await wire.send_message(message)

    # --- in -----------------------------------------------------------------------------------------------------

    async def run(self, early: Sequence[str | bytes] = ()) -> None:
        """Read until the session has ended, then say goodbye. The session is closed when this returns or raises.

        Args:
            early: messages that were received with the upgrade packet, behind it.
        """
        session = self._session
        try:
            with anyio.CancelScope() as self._scope:
                if not session.closed:
                    await self._read(early)
        except MessageTooBig as error:
            self._engine.logger.info(
                "client %s sent %s; raise max_http_buffer_size if it should be taken", short(session.eio_sid), error
            )
            session.step(Input.SOCKET_TOO_BIG)
        except PeerGone:
            session.step(Input.SOCKET_GONE)
        except TransportFailed as error:
            self._engine.logger.info("client %s broke the WebSocket protocol: %s", short(session.eio_sid), error)
            session.close(CloseReason.TRANSPORT_ERROR, flush=False)
        except Exception:
            self._engine.session_failed(session)
        finally:
            # Still open only when the task itself was cancelled from outside: the server is stopping.
            session.close(CloseReason.SERVER_SHUTDOWN)
            await self._goodbye()

    async def _read(self, early: Sequence[str | bytes]) -> None:
        session, receive = self._session, self._wire.receive
        limit = self._engine.config.max_inbound_bytes
        messages = early
        taken = 0
        while True:
            for message in messages:
                taken += 1
                if taken == INPUT_CHUNK:  # a flood must not keep the loop from other clients
                    taken = 0
                    await anyio.lowlevel.checkpoint()
                if type(message) is str and message[:1] == _MESSAGE:
                    session.deliver(message[1:])
                else:
                    self._take(message)
                if session.close_reason is not None:
                    return
            if session.held > limit:
                await session.pause(self._wire.wait_gone)
            messages = await receive()

    def _take(self, message: str | bytes) -> None:
        session = self._session
        try:
            packet = session.revision.from_ws(message)
        except PacketError as error:
            self._engine.logger.info("client %s sent a bad packet: %s", short(session.eio_sid), error)
            session.step(Input.SOCKET_INVALID)
        else:
            session.take(packet, socket_input(packet, server_pings=session.revision.server_pings))

    # --- the end ------------------------------------------------------------------------------------------------

    def session_closed(self) -> None:
        """Wake the reader: it says goodbye. A stuck write of a hopeless client ends now."""
        self._direct = False
        self._closing = True
        if self._scope is not None:
            self._scope.cancel()
        if self._writing is not None and self._session.close_reason in _HOPELESS:
            self._writing.cancel()

    async def _goodbye(self) -> None:
        """Deliver what is left, then close. Cancelled from outside it still has its deadline, and then aborts."""
        reason = self._session.close_reason or CloseReason.TRANSPORT_ERROR
        with anyio.move_on_after(self._engine.config.goodbye_timeout, shield=True):
            if self._writing is not None:
                self._drained = anyio.Event()
                await self._drained.wait()
            if not self._torn:
                await self._finish(reason)
                return
        if self._writing is not None:
            self._writing.cancel()
        self._wire.abort()

    async def _finish(self, reason: CloseReason) -> None:
        try:
            await self._write_queued()
        except TransportFailed:
            self._wire.abort()
        else:
            await self._wire.close(reason.ws_code, reason.detail)
