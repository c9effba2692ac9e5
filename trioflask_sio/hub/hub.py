"""The hub: namespaces on top of an engine, and the one object the bridge talks to.

Everything here runs on the event loop's thread and never awaits, except ``encode`` and ``encode_ack``, which are pure
and run in the emitting thread. ``emit``, ``send_ack``, ``accept`` and ``refuse`` only fill outboxes or mark sessions;
after a batch of them call ``flush``.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping

import anyio

from trioflask_sio._types import Room, Sid
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.hub.acks import Acks, AckWaiter, Callback
from trioflask_sio.hub.adapter import Adapter, LocalAdapter
from trioflask_sio.hub.client import Client
from trioflask_sio.hub.config import HubConfig
from trioflask_sio.hub.departures import Departures
from trioflask_sio.hub.emission import Emission, Numbered
from trioflask_sio.hub.handlers import HandlerTable
from trioflask_sio.hub.inbound import Inbound
from trioflask_sio.hub.lanes import Executor, Lane
from trioflask_sio.hub.ports import EnginePort, SessionPort
from trioflask_sio.hub.socket import Socket, SocketState
from trioflask_sio.hub.wiring import Wiring
from trioflask_sio.protocol.limits import CLIENT_ATTACHMENTS, Limits
from trioflask_sio.protocol.outgoing import Outgoing

__all__ = ["Hub", "new_sid"]

_NOBODY: frozenset[Sid] = frozenset()
_SERVER_LEFT = "server namespace disconnect"


def new_sid() -> Sid:
    """A fresh sid: 15 random bytes as 20 url-safe characters, the length that Node's adapters test (spec 2.4.2)."""
    return secrets.token_urlsafe(15)


class Hub:
    """Socket.IO on the sessions of one engine.

    Args:
        config: the options.
        handlers: who handles what; may grow at any time.
        executor: who runs the handlers.
        adapter: rooms and broadcasts; None keeps them in this process.
        new_sid: source of sids, 20 url-safe characters each.
        clock: the loop's clock, seconds.
        logger: for clients' mistakes (warnings) and the application's (with traceback).
    """

    def __init__(
        self,
        config: HubConfig,
        handlers: HandlerTable,
        executor: Executor,
        *,
        adapter: Adapter | None = None,
        new_sid: Callable[[], Sid] = new_sid,
        clock: Callable[[], float] = anyio.current_time,
        logger: logging.Logger | None = None,
    ) -> None:
        self.config = config
        self.handlers = handlers
        self.adapter: Adapter = LocalAdapter() if adapter is None else adapter
        self._codec = config.codec()
        self._limits = Limits(max_attachments=config.max_attachments, strict_auth=config.strict_auth)
        self._logger = logger or logging.getLogger("trioflask_sio.hub")
        self._wiring = Wiring(
            config,
            handlers,
            executor,
            self.adapter,
            codec=self._codec,
            new_sid=new_sid,
            clock=clock,
            logger=self._logger,
        )
        self._acks = Acks(self._wiring)
        self._departures = Departures(self._wiring, self._acks)
        self._inbound = Inbound(self._wiring, self._acks, self._departures)
        self._warned: dict[str, None] = {}
        self.adapter.attach(self)

    def attach(self, engine: EnginePort) -> None:
        """The engine whose sessions this hub listens to. Call it before the first session opens."""
        self._wiring.engine = engine

    @property
    def sockets(self) -> Mapping[Sid, Socket]:
        """Every socket that is connecting, connected or leaving, by sid. Read only."""
        return self._wiring.sockets

    @property
    def stats(self) -> Mapping[str, int]:
        """Counters of what was dropped, ignored or refused. Read only."""
        return self._wiring.stats

    # The engine's listener: loop, never raises.

    def session_opened(self, session: SessionPort) -> None:
        """A connection; it is in no namespace yet."""
        client = Client(session, self._limits, self._codec, self.config.max_namespaces)
        session.upper = client
        session.awaiting_answer = client.awaiting_answer

    def message_received(self, session: SessionPort, data: str | bytes) -> None:
        """One message, in order."""
        client = session.upper
        if not isinstance(client, Client) or session.closed:
            return
        try:
            self._inbound.message(client, data)
        except Exception:
            # Not the client's doing: a resolver of a class-based namespace, an executor, or we.
            self._logger.exception("a message of session %s could not be handled; closing it", session.eio_sid[:6])
            session.close(CloseReason.SERVER_ERROR)

    def session_closed(self, session: SessionPort, reason: CloseReason) -> None:
        """The connection has ended, and with it its membership of every namespace (spec 2.8.2)."""
        client = session.upper
        if not isinstance(client, Client):
            return
        client.forget_partial()
        for socket in tuple(client.sockets.values()):
            self._departures.leave(socket, reason.app, reason.detail)

    # Emitting. The first two run in any thread.

    def encode(
        self,
        namespace: str,
        event: str,
        args: tuple[object, ...],
        *,
        callback: Callback | None = None,
        rooms: Iterable[Room] | str | None = None,
        skip: Iterable[Sid] | Sid = (),
        volatile: bool = False,
        sender: Sid | None = None,
    ) -> Emission:
        """Make an event ready to be delivered.

        Args:
            namespace: where the receivers are.
            event: its name.
            args: its arguments, JSON with bytes at any depth.
            callback: called with each receiver's answer (decision 6.4 #8), or a waiter.
            rooms: whose members receive it, each once; None is the whole namespace, an empty list nobody.
            skip: sids that do not receive it.
            volatile: only for receivers that can take it at once (spec 5.2).
            sender: the sid whose handler emits, if one does.

        Raises:
            TypeError: an argument cannot be sent.
            ValueError: it holds NaN, an infinity, or itself.
        """
        messages = self._codec.event(namespace, event, args)
        if len(messages) - 1 > CLIENT_ATTACHMENTS and event not in self._warned:
            self._warn_attachments(namespace, event, len(messages) - 1)
        without = frozenset((skip,) if isinstance(skip, str) else skip) if skip else _NOBODY
        outgoing = numbered = None
        if callback is None:
            outgoing = Outgoing(messages, event=event, volatile=volatile)
        else:
            numbered = Numbered(messages, self._codec.numbering(namespace, messages), event, volatile=volatile)
        targets = None if rooms is None else (rooms,) if isinstance(rooms, str) else tuple(rooms)
        return Emission(namespace, event, args, outgoing, targets, without, callback, volatile, sender, numbered)

    def encode_ack(self, socket: Socket, ack_id: int, args: tuple[object, ...]) -> Outgoing:
        """A handler's answer as a packet (spec 2.3.1). Raises as ``encode`` does."""
        return Outgoing(self._codec.ack(socket.namespace, ack_id, args))

    def emit(self, emission: Emission) -> None:
        """Put it into the outboxes of everybody it is for; ``flush`` sends."""
        if self._wiring.talks:
            to = "everybody" if emission.rooms is None else ", ".join(str(room)[:100] for room in emission.rooms)
            self._logger.debug("emitting %r in %s to %s", emission.event, emission.namespace, to or "nobody")
        self.adapter.broadcast(emission)

    def deliver(self, emission: Emission, sids: Iterable[Sid]) -> None:
        """The local part of a broadcast, called by the adapter: phase 1 of design §8.4, without a yield.

        A socket whose connect handler is still deciding receives only what that handler emits (spec 2.5.2).
        """
        receivers = self._receivers(emission, sids)
        if emission.volatile:
            ready = [socket for socket in receivers if socket.client.session.can_take_now()]
            self._wiring.count("volatile_dropped", len(receivers) - len(ready))
            receivers = ready
        if emission.outgoing is not None:
            self._enqueue_shared(receivers, emission.outgoing)
        elif emission.numbered is not None and emission.callback is not None:
            self._enqueue_numbered(receivers, emission.numbered, emission.callback, emission.sender)

    def flush(self) -> None:
        """Phase 2: send what the outboxes hold, as far as the engine does so in one go."""
        if self._wiring.engine is not None:
            self._wiring.engine.flush()

    def send_ack(self, socket: Socket, outgoing: Outgoing) -> None:
        """A handler's answer; nothing when its client has left. ``flush`` sends."""
        if not socket.ended:
            self._enqueue_shared((socket,), outgoing)

    def withdraw(self, waiter: AckWaiter) -> None:
        """A waiter has given up: its answer, should it come, is ignored and nothing is kept for it."""
        self._acks.withdraw(waiter)

    # Outcomes of jobs.

    def accept(self, socket: Socket) -> None:
        """A connect job ended well."""
        self._inbound.arrivals.accept(socket)

    def refuse(self, socket: Socket, data: Mapping[str, object]) -> None:
        """A connect job ended in a refusal (``data`` is what the client reads), failed, or was cancelled."""
        self._inbound.arrivals.refuse(socket, data)

    def lane_rested(self, lane: Lane, nbytes: int) -> None:
        """A runner has put the lane down: it is out of ``lane.running`` and has released it.

        Args:
            lane: whose.
            nbytes: the ``size`` of all jobs it has ended since it last said so.
        """
        socket = lane.socket
        if nbytes:
            socket.client.session.release(nbytes)
        if socket.state is SocketState.LEAVING:
            self._departures.settle(socket)

    def disconnected(self, socket: Socket) -> None:
        """Its disconnect handler has ended: the last trace goes. Idempotent."""
        self._departures.erase(socket)

    def hurry(self) -> None:
        """The grace of every leaving socket is over: the server stops and its timers with it."""
        for socket in tuple(self._wiring.sockets.values()):
            if socket.state is SocketState.LEAVING:
                self._departures.hurry(socket)

    def when_empty(self, tell: Callable[[], None] | None) -> None:
        """Call ``tell`` each time the last socket's last trace has gone; None stops that."""
        self._wiring.on_empty = tell

    # Rooms and membership.

    def find(self, sid: Sid, namespace: str) -> Socket | None:
        """The socket of ``sid`` in ``namespace`` while it is connecting, connected or leaving."""
        return self._wiring.find(sid, namespace)

    def enter_room(self, sid: Sid, namespace: str, room: Room) -> None:
        """Put a client into a room (spec 1.10.5). Nothing happens when it is leaving (design §8.16).

        Raises:
            ValueError: the namespace has no clients at all.
            KeyError: it has, but not this one.
        """
        socket = self._wiring.find(sid, namespace)
        if socket is None:
            if namespace not in self._wiring.population:
                raise ValueError(f"sid is not connected to requested namespace: nobody is in {namespace!r}")
            raise KeyError(sid)
        if not socket.ended:
            self.adapter.join(namespace, sid, room)

    def leave_room(self, sid: Sid, namespace: str, room: Room) -> None:
        """Take a client out of a room. Unknown clients and rooms are ignored."""
        socket = self._wiring.find(sid, namespace)
        if socket is None:
            return
        if socket.rooms_left is not None:
            socket.rooms_left.pop(room, None)
        else:
            self.adapter.leave(namespace, sid, room)

    def close_room(self, room: Room, namespace: str) -> None:
        """Empty a room; nobody is told, nobody is disconnected (spec 1.9.4)."""
        self.adapter.close_room(namespace, room)

    def rooms(self, sid: Sid, namespace: str) -> list[Room]:
        """A client's rooms, its own first, until its disconnect handler has ended; ``[]`` for an unknown one."""
        socket = self._wiring.find(sid, namespace)
        if socket is None:
            return []
        left = socket.rooms_left
        return self.adapter.rooms_of(namespace, sid) if left is None else list(left)

    def disconnect(self, sid: Sid, namespace: str, *, run_handler: bool = True, close: bool = False) -> Socket | None:
        """The server puts a client out of a namespace; its connection and its other namespaces stay (spec 2.8.1).

        A packet it is in the middle of sending is read to its end and then ignored, else its attachments would be
        taken for a broken protocol.

        Args:
            sid: who.
            namespace: from where.
            run_handler: False when the caller runs the disconnect handler itself, nested, and then calls
                ``disconnected``; its own running handler must then not be cancelled by ``Executor.cancel``.
            close: end the connection too.

        Returns:
            The socket, or None when it was not there or was leaving already.
        """
        socket = self._wiring.find(sid, namespace)
        if socket is None or socket.ended:
            return None
        session = socket.client.session
        session.send(Outgoing(self._codec.disconnect(namespace)))
        reason = CloseReason.SERVER_DISCONNECT.app
        if not self._departures.leave(socket, reason, _SERVER_LEFT, drop_queued=True, run_handler=run_handler):
            return None
        if close:
            session.close(CloseReason.SERVER_DISCONNECT)
        return socket

    def _receivers(self, emission: Emission, sids: Iterable[Sid]) -> list[Socket]:
        get = self._wiring.sockets.get
        skip, sender = emission.skip, emission.sender
        connected, connecting = SocketState.CONNECTED, SocketState.CONNECTING
        return [
            socket
            for sid in sids
            if (socket := get(sid)) is not None
            and sid not in skip
            and (socket.state is connected or (sid == sender and socket.state is connecting))
        ]

    def _enqueue_shared(self, receivers: Iterable[Socket], item: Outgoing) -> None:
        engine = self._wiring.engine
        if engine is None:
            return
        flush_soon = engine.flush_soon
        for socket in receivers:
            session = socket.client.session
            if session.enqueue(item):
                flush_soon(session)

    def _enqueue_numbered(
        self, receivers: list[Socket], numbered: Numbered, callback: Callback, sender: Sid | None
    ) -> None:
        engine = self._wiring.engine
        pending = self._acks.open(callback, self._wiring.sockets.get(sender) if sender is not None else None)
        for socket in receivers:
            session = socket.client.session
            if not session.enqueue(numbered.with_id(pending.enter(socket))):
                pending.leave(socket)
            elif engine is not None:
                engine.flush_soon(session)
        self._acks.sent(pending)
        for socket in receivers:
            # A client whose reading pauses can never answer (design §8.2). After the loop, since this may close it.
            socket.client.session.hold(0)

    def _warn_attachments(self, namespace: str, event: str, count: int) -> None:
        self._warned[event] = None
        self._logger.warning(
            "event %r in namespace %s carries %d attachments; current JavaScript clients close the connection above %d",
            event,
            namespace,
            count,
            CLIENT_ATTACHMENTS,
        )
