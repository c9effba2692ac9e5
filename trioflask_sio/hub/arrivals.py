"""How a client gets into a namespace: CONNECT, the connect handler, its outcome (spec 2.4, 2.5, 1.5).

Rules:

* Until the connect handler has decided, the client receives what that handler itself emits and nothing else, and its
  events wait (spec 2.5.2). What the handler emits leaves before the CONNECT reply (spec 1.5.6).
* Every connect job ends with exactly one of ``accept`` and ``refuse``; a second outcome is ignored.
* A client that has gone meanwhile gets no reply. Accepted, it goes on to its disconnect handler; refused, it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from trioflask_sio._types import Json
from trioflask_sio.exceptions import PacketError
from trioflask_sio.hub.client import Client
from trioflask_sio.hub.departures import Departures
from trioflask_sio.hub.jobs import Job, JobKind
from trioflask_sio.hub.socket import Socket, SocketState
from trioflask_sio.hub.wiring import Wiring
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.protocol.sio_packet import Event

__all__ = ["REFUSAL", "Arrivals"]

REFUSAL = "Connection rejected by server"
"""What a refused client reads where the handler gave no words (spec 1.5.4)."""


class Arrivals:
    """The way in.

    Args:
        wiring: shared.
        departures: where clients go that left before the outcome.
        late_event: handles an event that waited for the outcome, with its bytes.
    """

    __slots__ = ("_departures", "_late_event", "_wiring")

    def __init__(
        self, wiring: Wiring, departures: Departures, late_event: Callable[[Socket, Event, int], None]
    ) -> None:
        self._wiring = wiring
        self._departures = departures
        self._late_event = late_event

    def connect(self, client: Client, namespace: str, auth: object) -> None:
        """A client asks to join ``namespace``.

        Raises:
            PacketError: it is in too many namespaces already.
        """
        wiring = self._wiring
        if not (wiring.config.admits(namespace) or wiring.handlers.has_namespace(namespace)):
            # Required in this form by the protocol's conformance suite (spec 2.4.1); the session stays open (2.5.4).
            self._reply(client, wiring.codec.connect_error(namespace, {"message": "Invalid namespace"}))
            wiring.count("namespaces_refused")
            return
        if len(client.sockets) >= wiring.config.max_namespaces:
            raise PacketError(f"more than {wiring.config.max_namespaces} namespaces on one connection (max_namespaces)")
        strict = not wiring.config.async_handlers
        socket = Socket(wiring.new_sid(), namespace, client, wiring.executor, strict=strict)
        client.sockets[namespace] = socket
        wiring.add(socket)
        wiring.adapter.join(namespace, socket.sid, socket.sid)
        if wiring.config.always_connect:
            self._reply_connected(socket)
        handler = wiring.handlers.find(namespace, "connect")
        if handler is None:
            self.accept(socket)
        else:
            # Falsy payloads arrive as None (spec 1.5.2).
            socket.lane.post(Job(JobKind.CONNECT, socket, handler, "connect", (auth or None,)))

    def accept(self, socket: Socket) -> None:
        """The connect handler let the client in."""
        if socket.decided is not None:
            return
        socket.decided = True
        if socket.state is SocketState.CONNECTING:
            socket.state = SocketState.CONNECTED
            self._wiring.logger.debug("client %s has joined %.100s", socket.sid, socket.namespace)
            if not self._wiring.config.always_connect:
                self._reply_connected(socket)
            socket.client.session.confirm()
        early, socket.early = socket.early, None
        for packet, size in early or ():
            self._late_event(socket, packet, size)
        self._departures.settle(socket)

    def refuse(self, socket: Socket, data: Mapping[str, object]) -> None:
        """The connect handler turned the client away, failed, or was cancelled (spec 1.5.8: rooms are undone)."""
        if socket.decided is not None:
            return
        socket.decided = False
        here = socket.state is SocketState.CONNECTING
        self._departures.erase(socket)
        if not here:
            return
        self._wiring.logger.debug("client %s was refused in %.100s", socket.sid, socket.namespace)
        if self._wiring.config.always_connect:
            # Bare: current JavaScript clients take a payload for a broken packet (spec 1.5.5).
            self._reply(socket.client, self._wiring.codec.disconnect(socket.namespace))
        else:
            self._reply(socket.client, self._refusal(socket, data))

    def _refusal(self, socket: Socket, data: Mapping[str, object]) -> tuple[str | bytes, ...]:
        wiring = self._wiring
        # Whether it is JSON is what the codec finds out.
        payload = cast("dict[str, Json]", dict(data) if data else {"message": REFUSAL})
        try:
            return wiring.codec.connect_error(socket.namespace, payload)
        except (TypeError, ValueError):
            wiring.logger.exception(
                "the data that refuses client %s in namespace %s cannot be sent as JSON; it gets the message only",
                socket.sid[:8],
                socket.namespace,
            )
        return wiring.codec.connect_error(socket.namespace, {"message": str(payload.get("message", REFUSAL))})

    def _reply_connected(self, socket: Socket) -> None:
        self._reply(socket.client, self._wiring.codec.connect(socket.namespace, {"sid": socket.sid}))

    @staticmethod
    def _reply(client: Client, messages: tuple[str | bytes, ...]) -> None:
        client.session.send(Outgoing(messages))
