"""What a client may send to a namespace, before, while and after it is connected (spec 2.2, 2.2.1).

Rules:

* The table holds every pair of state and packet; the hub looks up and performs.
* A namespace that a connection never joined closes it; one that it left is ignored, because the client's last packets
  and the server's goodbye cross on the wire.
* While the connect handler runs, events wait behind it in the client's lane: a client that was told early
  (``always_connect``) or answers an emit of that handler is within its rights.
* A refused namespace counts as never joined (spec 2.5.4): the client may try again.
"""

from __future__ import annotations

import enum
from typing import Final

from trioflask_sio.protocol.sio_packet import Ack, Connect, ConnectError, Disconnect, Event, Packet

__all__ = ["TABLE", "NamespaceState", "Verdict", "judge"]


class NamespaceState(enum.Enum):
    """Where one connection stands with one namespace."""

    NEVER = enum.auto()
    CONNECTING = enum.auto()
    """The connect handler has not decided."""
    CONNECTED = enum.auto()
    LEFT = enum.auto()


class Verdict(enum.Enum):
    """What to do with a packet."""

    DISPATCH = enum.auto()
    IGNORE = enum.auto()
    CLOSE = enum.auto()
    """Close the Engine.IO session: the client broke the protocol."""


_N, _D, _I, _C = NamespaceState, Verdict.DISPATCH, Verdict.IGNORE, Verdict.CLOSE

_COLUMNS: Final = (_N.NEVER, _N.CONNECTING, _N.CONNECTED, _N.LEFT)
_ROWS: Final[dict[type[Packet], tuple[Verdict, Verdict, Verdict, Verdict]]] = {
    Connect: (_D, _C, _C, _D),
    Event: (_C, _D, _D, _I),
    Ack: (_C, _D, _D, _I),
    Disconnect: (_C, _D, _D, _I),
    ConnectError: (_C, _C, _C, _C),
}

TABLE: Final[dict[tuple[NamespaceState, type[Packet]], Verdict]] = {
    (state, kind): verdict for kind, row in _ROWS.items() for state, verdict in zip(_COLUMNS, row, strict=True)
}


def judge(state: NamespaceState, packet: Packet) -> Verdict:
    """What to do with ``packet`` from a connection that stands in ``state`` with the packet's namespace."""
    return TABLE[state, type(packet)]
