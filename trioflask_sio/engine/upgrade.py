"""From polling to WebSocket: probe and upgrade, and every way it can fail (spec 3.7).

The probe lives in the task that brought the WebSocket. Rules:

* Until the upgrade packet the session belongs to polling: messages keep flowing to its polls, and whatever goes wrong
  here closes the WebSocket and nothing else.
* A noop is a reply to a parked poll, never an item in the outbox, so none can leak onto the WebSocket (spec 3.7.2).
* Frames behind the upgrade packet are handed up after the packets of a POST that was in flight (spec 3.7.4).
* A session that closes with packets left and no poll to carry them gives them to the upgrade if it completes, or to the
  next poll, whichever comes first.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio

from trioflask_sio.engine.registry import short
from trioflask_sio.engine.timers import Timer
from trioflask_sio.engine.transport import TransportFailed, WebSocketTransport
from trioflask_sio.engine.websocket import WebSocketCarrier
from trioflask_sio.exceptions import PacketError
from trioflask_sio.protocol.eio_machine import Effect, Input, State, probe_input
from trioflask_sio.protocol.eio_packet import Pong
from trioflask_sio.protocol.ws_frames import frame

if TYPE_CHECKING:
    from trioflask_sio.engine.engine import Engine
    from trioflask_sio.engine.polling import PollingCarrier
    from trioflask_sio.engine.session import Session
    from trioflask_sio.engine.transport import WebSocketUpgrade

__all__ = ["NOOP_EVERY", "Probe"]

NOOP_EVERY = 0.1
"""Seconds between two noops to a writable poll while probing (spec 3.7.2)."""


class Probe:
    """One WebSocket that asks to take a polling session over.

    Args:
        engine: for its options, timers and nursery.
        session: the polling session; its table has admitted this probe.
        carrier: that session's polling side.
    """

    __slots__ = ("_carrier", "_deadline", "_early", "_engine", "_scope", "_session", "_timer")

    def __init__(self, engine: Engine, session: Session, carrier: PollingCarrier) -> None:
        self._engine = engine
        self._session = session
        self._carrier = carrier
        self._early: deque[str | bytes] = deque()
        """Messages received and not yet looked at."""
        self._scope: anyio.CancelScope | None = None
        self._timer: Timer | None = None
        carrier.probe = self

    async def run(self, upgrade: WebSocketUpgrade) -> None:
        """Accept, probe, and on success carry the session until it ends."""
        session = self._session
        wire: WebSocketTransport | None = None
        effect = Effect.DROP_PROBE
        try:
            with anyio.move_on_after(self._engine.config.upgrade_timeout) as self._scope:
                wire = await self._engine.accept(upgrade)
                effect = await self._converse(wire)
            if self._scope.cancelled_caught:
                effect = session.step(Input.PROBE_TIMEOUT)
        except TransportFailed:
            effect = session.step(Input.PROBE_GONE)
        finally:
            self._over()
            if wire is not None and effect not in (Effect.SWITCH, Effect.FAREWELL):
                await self._close(wire)
        if wire is not None and effect in (Effect.SWITCH, Effect.FAREWELL):
            await self._take_over(wire, effect)

    def session_closed(self, *, held: bool) -> None:
        """The session has closed. Its WebSocket goes too, unless packets are left that the upgrade may still fetch."""
        if self._scope is not None and not held:
            self._scope.cancel()

    def release_poll(self) -> None:
        """Let a waiting GET finish with a noop, now and as often as one comes back while this goes on."""
        self._carrier.flush()
        self._timer = self._engine.timers.call_later(NOOP_EVERY, self.release_poll)

    async def _converse(self, wire: WebSocketTransport) -> Effect:
        """Up to the packet that decides. Cancelled: the WebSocket is left to ``run``, which closes it."""
        session = self._session
        while True:
            happening = self._happening(await self._next(wire))
            if happening is Input.PROBE_UPGRADE and session.state is State.PROBING:
                await self._carrier.wait_posted()
            effect = session.step(happening)
            if effect is not Effect.ANSWER_PROBE:
                if effect is Effect.DROP_PROBE:
                    self._engine.logger.info(
                        "client %s offered a WebSocket and then broke the upgrade; polling goes on",
                        short(session.eio_sid),
                    )
                return effect
            pong = session.revision.to_ws(Pong("probe"))
            await (wire.send_bytes(frame(pong)) if wire.framed else wire.send_message(pong))
            if self._timer is None and not session.closed:
                self.release_poll()

    async def _next(self, wire: WebSocketTransport) -> str | bytes:
        if not self._early:
            self._early.extend(await wire.receive())
        return self._early.popleft()

    def _happening(self, message: str | bytes) -> Input:
        try:
            return probe_input(self._session.revision.from_ws(message))
        except PacketError:
            return Input.PROBE_OTHER

    def _over(self) -> None:
        """The probe has ended, whichever way: polling is as it was, or no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._carrier.probe = None
        if self._session.state in (State.OFFERED, State.PROBING):  # cancelled from outside
            self._session.step(Input.PROBE_GONE)

    async def _close(self, wire: WebSocketTransport) -> None:
        """Close a WebSocket that did not take over, under a shield: a cancelled connection gets its close frame too."""
        with anyio.move_on_after(self._engine.config.goodbye_timeout, shield=True):
            await wire.close()
            return
        wire.abort()

    async def _take_over(self, wire: WebSocketTransport, effect: Effect) -> None:
        """Nothing awaits between the table's step and the change of carrier."""
        session = self._session
        if effect is Effect.FAREWELL and not self._engine.fetch_farewell(session.eio_sid):
            await self._close(wire)
            return
        carrier = WebSocketCarrier(self._engine, session, wire)
        session.carrier = carrier
        self._carrier.flush()  # a poll that came back too late gets its noop
        session.flush()
        await carrier.run(tuple(self._early))
