"""One Engine.IO session: its state, its outbox, its one close reason.

A session has no task of its own. What moves is its *carrier*: the parked poll's request task, or the task that reads
the WebSocket. Rules:

* What is legal is decided by the table of ``protocol.eio_machine``; :meth:`Session.step` is the one way to move in it.
* There is one way to die: :meth:`Session.close`. The first reason stays, the registry entry goes at once, the layer
  above is told exactly once before ``close`` returns. Saying goodbye on the wire is the carrier's business afterwards.
* Everything here is synchronous and runs on the loop, except :meth:`Session.pause`.
* Hot: ``send``, ``deliver``. They make no objects but what travels.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from trioflask_sio.engine.heartbeat import Heartbeat
from trioflask_sio.engine.outbox import Outbox
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.registry import short
from trioflask_sio.engine.timers import Timer
from trioflask_sio.engine.transport import HttpRequest, PeerGone
from trioflask_sio.protocol.eio_machine import Effect, Input, State, step
from trioflask_sio.protocol.eio_packet import Message, Packet
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.protocol.revision import Revision

if TYPE_CHECKING:
    from trioflask_sio.engine.engine import Engine

__all__ = ["Carrier", "Session", "SessionListener"]

REASONS: Final = {
    Effect.CLOSE_CLIENT: CloseReason.CLIENT_CLOSE,
    Effect.CLOSE_GONE: CloseReason.TRANSPORT_CLOSE,
    Effect.CLOSE_TIMEOUT: CloseReason.PING_TIMEOUT,
    Effect.CLOSE_PARSE: CloseReason.PARSE_ERROR,
    Effect.CLOSE_TOO_BIG: CloseReason.MESSAGE_TOO_BIG,
    Effect.CLOSE_ERROR: CloseReason.TRANSPORT_ERROR,
}
"""What each closing effect of the table is called in the log and in handlers (spec 2.9)."""


class SessionListener(Protocol):
    """What the layer above offers. Called on the loop; one that raises closes the session it was called for."""

    def session_opened(self, session: Session) -> None:
        """A client has shaken hands. It may be sent to already."""

    def message_received(self, session: Session, data: str | bytes) -> None:
        """One message, in order."""

    def session_closed(self, session: Session, reason: CloseReason) -> None:
        """The session has ended; exactly once."""


class Carrier(Protocol):
    """What brings a session's packets out: polling or a WebSocket."""

    @property
    def name(self) -> str: ...

    @property
    def writable(self) -> bool:
        """Something sent now would leave now."""

    def send_now(self, item: Outgoing) -> bool:
        """Send past the outbox if it is empty and nothing is being written. False: queue it."""

    def flush(self) -> None:
        """Bring out what waits in the outbox, as far as that goes without waiting; the rest follows by itself."""

    def session_closed(self) -> None:
        """The session has just been closed: wake whoever has to say goodbye."""


def _nothing_awaited() -> bool:
    return False


class Session:
    """One client. Made by the engine only.

    Args:
        engine: whose session it is.
        eio_sid: its secret id.
        revision: how packets look on the wire.
        request: the handshake's; it stays the session's request after an upgrade (spec 3.7.5).
        state: ``POLLING`` or ``WEBSOCKET``, as the handshake came.
    """

    __slots__ = (
        "__weakref__",
        "_connect_timer",
        "_doomed",
        "_engine",
        "_held",
        "_pauses",
        "awaiting_answer",
        "carrier",
        "close_reason",
        "dirty",
        "eio_sid",
        "flushing",
        "heartbeat",
        "opened_at",
        "outbox",
        "request",
        "revision",
        "state",
        "upper",
    )

    carrier: Carrier

    def __init__(self, engine: Engine, eio_sid: str, revision: Revision, request: HttpRequest, state: State) -> None:
        config = engine.config
        self._engine = engine
        self.eio_sid = eio_sid
        self.revision = revision
        self.request = request
        self.state = state
        self.upper: object | None = None
        self.close_reason: CloseReason | None = None
        self.flushing = False
        """Closed, and what is queued is still to be delivered."""
        self.awaiting_answer: Callable[[], bool] = _nothing_awaited
        self.opened_at = anyio.current_time()
        self.outbox = Outbox(config.max_outbox_bytes, config.max_outbox_packets)
        self.dirty = False
        """It is on the engine's list of sessions to flush."""
        self._doomed = False
        """It will be closed soon; what is sent now would be lost."""
        self._held = 0
        self._pauses: list[anyio.CancelScope] | None = None
        """Who has stopped reading: the reader, and a POST that was held when the session was upgraded."""
        self.heartbeat = Heartbeat(self, engine.timers, config)
        self._connect_timer: Timer | None = None
        if config.connect_timeout is not None:
            self._connect_timer = engine.timers.call_at(
                self.opened_at + config.connect_timeout, self.close, CloseReason.CONNECT_TIMEOUT
            )

    # --- what it is ---------------------------------------------------------------------------------------------

    @property
    def transport(self) -> str:
        """``"polling"`` or ``"websocket"``, the current one."""
        return self.carrier.name

    @property
    def closed(self) -> bool:
        """True from the first line of the first ``close``."""
        return self.close_reason is not None

    def __repr__(self) -> str:
        state = self.close_reason.detail if self.close_reason else self.carrier.name
        return f"<Session {short(self.eio_sid)} {state}>"

    # --- out ----------------------------------------------------------------------------------------------------

    def send(self, item: Outgoing) -> bool:
        """Send one group, now where the socket takes it.

        Returns:
            False when the session is closed, or when its outbox is over the limit (it is then closed soon).
        """
        if self.carrier.send_now(item):
            return True
        if not self.enqueue(item):
            return False
        self.carrier.flush()
        return True

    def enqueue(self, item: Outgoing) -> bool:
        """Phase 1 of a fan-out: into the outbox, nothing else. ``Engine.flush_soon`` and ``flush`` bring it out."""
        if self.close_reason is not None or self._doomed:
            return False
        if self.outbox.put(item):
            return True
        self._overflowed(
            CloseReason.SLOW_CONSUMER,
            "client %s takes its packets too slowly: no place behind %d bytes in %d packets; closing it "
            "(max_outbox_bytes, max_outbox_packets)",
            *(self.outbox.size, self.outbox.packets),
        )
        return False

    def flush(self) -> None:
        """Phase 2: bring out what waits, as far as the socket takes it now."""
        if self.close_reason is None:
            self.carrier.flush()

    def send_control(self, packet: Packet) -> None:
        """Send a control packet ahead of the data that waits."""
        if self.close_reason is None:
            self.outbox.put_control(packet)
            self.carrier.flush()

    def can_take_now(self) -> bool:
        """True when something sent now would leave now: what a volatile emit asks."""
        return self.close_reason is None and self.carrier.writable

    # --- in -----------------------------------------------------------------------------------------------------

    def step(self, happening: Input) -> Effect:
        """Move in the table; an effect that closes has closed the session when this returns."""
        after, effect = step(self.state, happening)
        if after is not State.CLOSED:
            self.state = after
        else:
            reason = REASONS.get(effect)
            if reason is not None:
                self.close(reason, flush=False)
        return effect

    def take(self, packet: Packet, happening: Input) -> None:
        """Act on one packet that arrived over the session's own transport."""
        effect = self.step(happening)
        if effect is Effect.DELIVER and type(packet) is Message:
            self.deliver(packet.data)
        elif effect is Effect.BEAT:
            self.heartbeat.beat()

    def deliver(self, data: str | bytes) -> None:
        """Hand one message up."""
        self._engine.listener.message_received(self, data)

    def hold(self, size: int) -> None:
        """Count ``size`` bytes of received messages that wait above. ``hold(0)`` looks at the overflow rule again."""
        self._held += size
        if self._pauses:
            self._refuse_deadlock()

    def release(self, size: int) -> None:
        """Count ``size`` bytes as handled; reading goes on at half the limit, so that it does not stutter."""
        self._held -= size
        if self._pauses and self._held * 2 <= self._engine.config.max_inbound_bytes:
            self._resume()

    @property
    def held(self) -> int:
        """Bytes received and not yet handled by the layer above."""
        return self._held

    @property
    def paused(self) -> bool:
        """True while nothing is read from this client because of what is held."""
        return bool(self._pauses)

    async def pause(self, wait_gone: Callable[[], Awaitable[None]]) -> None:
        """Wait until the layer above has caught up; return at once when it has not fallen behind.

        The pong deadline is suspended meanwhile (design §8.2). Cancelled: nothing is left behind.

        Args:
            wait_gone: returns when the client has left.

        Raises:
            PeerGone: it left.
        """
        if self._held <= self._engine.config.max_inbound_bytes or self.close_reason is not None:
            return
        pauses = self._pauses = self._pauses or []
        with anyio.CancelScope() as scope:
            pauses.append(scope)
            try:
                self._refuse_deadlock()
                await wait_gone()
            finally:
                pauses.remove(scope)
                if not pauses:
                    self._pauses = None
                    self.heartbeat.resumed()
        if not scope.cancelled_caught:
            raise PeerGone

    def _resume(self) -> None:
        for scope in self._pauses or ():
            scope.cancel()

    def _refuse_deadlock(self) -> None:
        """Over the limit while an answer of this very client is waited for: it could never be read (design §8.2)."""
        if self.awaiting_answer():
            self._overflowed(
                CloseReason.INBOUND_OVERFLOW,
                "client %s has sent %d bytes that wait for handlers, and the answer that one of them waits for cannot "
                "be read behind them; closing it (max_inbound_bytes)",
                self._held,
            )

    # --- life ---------------------------------------------------------------------------------------------------

    def confirm(self) -> None:
        """The layer above has accepted this client: no connect timeout."""
        if self._connect_timer is not None:
            self._connect_timer.cancel()
            self._connect_timer = None

    def close_soon(self, reason: CloseReason) -> None:
        """Close after the code that runs now: safe inside a fan-out."""
        if self.close_reason is None and not self._doomed:
            self._doomed = True
            self._engine.timers.call_soon(self._close_now, reason)

    def _overflowed(self, reason: CloseReason, why: str, *sizes: int) -> None:
        if self.close_reason is None and not self._doomed:
            self._engine.logger.info(why, short(self.eio_sid), *sizes)
            self.close_soon(reason)

    def _close_now(self, reason: CloseReason) -> None:
        self.close(reason, flush=False)

    def close(self, reason: CloseReason, *, flush: bool = True) -> None:
        """End the session. Idempotent: the first reason stays.

        Args:
            reason: the cause.
            flush: deliver what is queued before the goodbye; False discards it (spec 3.9.3).
        """
        if self.close_reason is not None:
            return
        self.close_reason = reason
        self.state = State.CLOSED
        self.flushing = flush
        if not flush:
            self.outbox.discard()
        self.heartbeat.stop()
        self.confirm()
        self._resume()
        self._engine.session_ended(self, reason)
        self.carrier.session_closed()
