"""One client in one namespace: what ``request.sid`` names."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from trioflask_sio._types import Room, Sid
from trioflask_sio.hub.lanes import Executor, Lane

if TYPE_CHECKING:
    from trioflask_sio.hub.acks import Pending
    from trioflask_sio.hub.client import Client
    from trioflask_sio.hub.ports import TimerPort
    from trioflask_sio.protocol.sio_packet import Event

__all__ = ["Socket", "SocketState"]


class SocketState(enum.Enum):
    """Where a socket is in its life; it only moves downwards."""

    CONNECTING = 0
    """Its connect handler has not decided."""
    CONNECTED = 1
    LEAVING = 2
    """Out of every fan-out; its last events, its connect handler or its disconnect handler still run."""
    GONE = 3
    """No trace of it is left in the hub."""


class Socket:
    """A client's membership in one namespace. Changed by the hub only, on the loop's thread.

    ``ended``, ``reason`` and ``left_at`` may be read from every thread; the latter two are set before ``ended``.
    """

    __slots__ = (
        "acks",
        "client",
        "decided",
        "early",
        "ended",
        "finishing",
        "grace",
        "lane",
        "last_ack",
        "left_at",
        "namespace",
        "reason",
        "reason_detail",
        "rooms_left",
        "sid",
        "state",
        "upper",
    )

    def __init__(self, sid: Sid, namespace: str, client: Client, executor: Executor, *, strict: bool = False) -> None:
        self.sid = sid
        self.namespace = namespace
        self.client = client
        self.lane = Lane(self, executor, strict=strict)
        self.state = SocketState.CONNECTING
        self.ended = False
        """The client has left this namespace, or was refused."""
        self.reason: str | None = None
        """One of the five reasons of spec 2.9 once it has left."""
        self.reason_detail: str | None = None
        """The finer reason, for logs."""
        self.left_at: float | None = None
        """Loop clock."""
        self.upper: object | None = None
        """Slot of the layer above."""
        self.decided: bool | None = None
        """The connect handler's outcome: None while it is open."""
        self.finishing = False
        """Its disconnect handler has been started, or is not wanted."""
        self.early: list[tuple[Event, int]] | None = None
        """Events, with their bytes, that came before the connect handler decided."""
        self.rooms_left: dict[Room, None] | None = None
        """The rooms it was in when it left, for ``rooms()`` in the disconnect handler."""
        self.acks: dict[int, Pending] | None = None
        self.last_ack = 0
        self.grace: TimerPort | None = None

    def __repr__(self) -> str:
        return f"<Socket {self.sid[:8]} in {self.namespace!r} {self.state.name.lower()}>"
