"""From one engine message to one job: decode, check against the namespace's state, dispatch (spec 2.2, 2.3).

Rules:

* What the protocol forbids closes the session, with one log line and no traceback: it is the client's mistake.
* Acknowledgements are handled at once, events become jobs in the order of their arrival.
* The bytes of an event are held at the session from here until its job has ended or was dropped (design §8.2).
"""

from __future__ import annotations

from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.exceptions import PacketError
from trioflask_sio.hub.acks import Acks
from trioflask_sio.hub.arrivals import Arrivals
from trioflask_sio.hub.client import Client
from trioflask_sio.hub.departures import Departures
from trioflask_sio.hub.jobs import Job, JobKind
from trioflask_sio.hub.socket import Socket, SocketState
from trioflask_sio.hub.wiring import Wiring
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.protocol.sio_machine import Verdict, judge
from trioflask_sio.protocol.sio_packet import Ack, Connect, Disconnect, Event, Packet

__all__ = ["Inbound"]


class Inbound:
    """What clients send."""

    __slots__ = ("_acks", "_arrivals", "_departures", "_wiring")

    def __init__(self, wiring: Wiring, acks: Acks, departures: Departures) -> None:
        self._wiring = wiring
        self._acks = acks
        self._departures = departures
        self._arrivals = Arrivals(wiring, departures, self.event)

    @property
    def arrivals(self) -> Arrivals:
        """Where CONNECT goes, and the outcomes of connect jobs."""
        return self._arrivals

    def message(self, client: Client, data: str | bytes) -> None:
        """One message of one client's session."""
        try:
            packet = client.feed(data)
            if packet is None:
                return
        except PacketError as error:
            self._close(client, CloseReason.PARSE_ERROR, str(error))
            return
        namespace = packet.namespace
        state = client.state_of(namespace)
        verdict = judge(state, packet)
        if verdict is Verdict.DISPATCH:
            self._dispatch(client, packet)
        elif verdict is Verdict.CLOSE:
            what = (
                f"{type(packet).__name__} packet for namespace {namespace[:100]!r}, which is {state.name.lower()} there"
            )
            self._close(client, CloseReason.PROTOCOL_ERROR, what)
        else:
            # It was sent before the client heard that it is out: nobody's mistake (spec 2.2).
            self._wiring.count("packets_ignored")

    def event(self, socket: Socket, packet: Event, size: int) -> None:
        """Make an event, whose ``size`` bytes are held, a job of its socket's lane."""
        name = packet.data[0]
        wiring = self._wiring
        if wiring.talks:
            wiring.logger.debug("event %.100r of client %s in %.100s", name, socket.sid, socket.namespace)
        handler = wiring.handlers.find(socket.namespace, name)
        if handler is None:
            socket.client.session.release(size)
            self._unhandled(socket, packet, name)
            return
        job = Job(JobKind.EVENT, socket, handler, name, tuple(packet.data[1:]), packet.id, size)
        if not socket.lane.post(job):
            socket.client.session.release(size)
            wiring.count("events_dropped")

    def _dispatch(self, client: Client, packet: Packet) -> None:
        if isinstance(packet, Connect):
            try:
                self._arrivals.connect(client, packet.namespace, packet.data)
            except PacketError as error:
                self._close(client, CloseReason.PROTOCOL_ERROR, str(error))
            return
        socket = client.sockets[packet.namespace]
        if isinstance(packet, Event):
            self._receive(client, socket, packet)
        elif isinstance(packet, Ack):
            self._acks.answer(socket, packet.id, tuple(packet.data))
        elif isinstance(packet, Disconnect):
            self._departures.leave(socket, CloseReason.CLIENT_CLOSE.app, "client namespace disconnect")

    def _receive(self, client: Client, socket: Socket, packet: Event) -> None:
        early = socket.early
        waiting = len(socket.lane.jobs) + (len(early) if early is not None else 0)
        if waiting >= self._wiring.config.max_pending_events:
            limit = self._wiring.config.max_pending_events
            self._close(client, CloseReason.INBOUND_OVERFLOW, f"more than {limit} events wait (max_pending_events)")
            return
        client.session.hold(client.size)
        if socket.state is not SocketState.CONNECTING:
            self.event(socket, packet, client.size)
        elif early is None:
            socket.early = [(packet, client.size)]
        else:
            early.append((packet, client.size))

    def _unhandled(self, socket: Socket, packet: Event, name: object) -> None:
        wiring = self._wiring
        wiring.count("events_unhandled")
        if packet.id is not None and not socket.ended and wiring.handlers.answers_unhandled(socket.namespace, name):
            messages = wiring.codec.ack(socket.namespace, packet.id, ())
            socket.client.session.send(Outgoing(messages))

    def _close(self, client: Client, reason: CloseReason, what: str) -> None:
        members = ", ".join(f"{s.namespace[:100]!r} as {s.sid[:8]}" for s in client.sockets.values()) or "none"
        wiring = self._wiring
        wiring.count("sessions_closed")
        wiring.logger.warning(
            "closing session %s (%s) for what its client sent: %s; its namespaces: %s",
            client.session.eio_sid[:6],
            reason.detail,
            what[:300],
            members[:300],
        )
        client.session.close(reason)
