"""The life of an Engine.IO session as a table: (state, input) to (state, effect) (spec 3.4.8, 3.5 to 3.7).

Rules:

* The table decides, the engine performs. A pair that is absent closes the session with a transport error: what nobody
  thought of is not legal.
* ``CLOSED`` has every row and is left by none. Before it there are four states, told apart by where messages may come
  from::

      POLLING ──socket offered──▶ OFFERED ──2probe──▶ PROBING ──5──▶ WEBSOCKET
         ▲                           │                   │
         └──── socket lost, late, or says anything else ─┘

* A session that begins on WebSocket begins in ``WEBSOCKET`` and is never downgraded (spec 3.3.3).
* A WebSocket that cannot or could not take over never harms the session (spec 3.7.3).
* Packets of a POST that was in flight when the upgrade came are still taken (spec 3.7.4), so ``WEBSOCKET`` knows the
  packets of a poll too.
* Generations differ in who pings. ``BEAT`` is the packet that this client owes (a pong in revision 4, a ping in 3),
  ``MISBEAT`` the one it must not send.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final, TypeAlias

from trioflask_sio.protocol.eio_packet import Close, Message, Noop, Open, Packet, Ping, Pong, Upgrade

__all__ = ["TABLE", "Effect", "Input", "State", "poll_input", "probe_input", "socket_input", "step"]


class State(enum.Enum):
    """Where a session stands."""

    POLLING = enum.auto()
    OFFERED = enum.auto()
    """Polling; a WebSocket with this session's id is open and has said nothing yet."""
    PROBING = enum.auto()
    """Polling; that WebSocket has been probed and answered."""
    WEBSOCKET = enum.auto()
    CLOSED = enum.auto()


class Input(enum.Enum):
    """What can happen to a session."""

    # A packet in a POST.
    POLL_MESSAGE = enum.auto()
    POLL_BEAT = enum.auto()
    POLL_MISBEAT = enum.auto()
    POLL_CLOSE = enum.auto()
    POLL_IDLE = enum.auto()
    """Open, noop or a stray upgrade: nothing to do."""
    POLL_INVALID = enum.auto()
    # Requests.
    POLL_REQUEST = enum.auto()
    """A GET or POST with this session's id has come."""
    POLL_OVERLAP = enum.auto()
    """A second GET, or a second POST, while the first is open."""
    POLL_GONE = enum.auto()
    """The client broke off a waiting GET or a POST in the middle."""
    POLL_TOO_BIG = enum.auto()
    # A frame on the session's own WebSocket.
    SOCKET_MESSAGE = enum.auto()
    SOCKET_BEAT = enum.auto()
    SOCKET_MISBEAT = enum.auto()
    SOCKET_CLOSE = enum.auto()
    SOCKET_IDLE = enum.auto()
    SOCKET_INVALID = enum.auto()
    SOCKET_GONE = enum.auto()
    SOCKET_TOO_BIG = enum.auto()
    # A WebSocket that asks to take over.
    PROBE_OFFERED = enum.auto()
    PROBE_PING = enum.auto()
    """``2probe``."""
    PROBE_UPGRADE = enum.auto()
    """``5``."""
    PROBE_OTHER = enum.auto()
    """Any other frame, readable or not."""
    PROBE_GONE = enum.auto()
    PROBE_TIMEOUT = enum.auto()
    # Not from the client.
    BEAT_TIMEOUT = enum.auto()
    SERVER_CLOSE = enum.auto()


class Effect(enum.Enum):
    """What the engine then does."""

    DELIVER = enum.auto()
    """Hand the message to the layer above."""
    BEAT = enum.auto()
    """The client lives: move its deadline."""
    IGNORE = enum.auto()
    SERVE = enum.auto()
    """Answer this request."""
    REFUSE_MISMATCH = enum.auto()
    """Answer this request with 400, code 3."""
    REFUSE_UNKNOWN = enum.auto()
    """Answer this request with 400, code 1."""
    ADMIT_PROBE = enum.auto()
    """Read this WebSocket, under the upgrade deadline."""
    REFUSE_PROBE = enum.auto()
    """Accept this WebSocket and close it; the one that was first goes on."""
    ANSWER_PROBE = enum.auto()
    """Write ``3probe`` there and release a waiting GET."""
    DROP_PROBE = enum.auto()
    """Close the probed WebSocket; polling goes on."""
    SWITCH = enum.auto()
    """The WebSocket is now the session's transport."""
    FAREWELL = enum.auto()
    """Write what is queued to this WebSocket, then close it."""
    CLOSE_CLIENT = enum.auto()
    """The client said goodbye."""
    CLOSE_GONE = enum.auto()
    """The transport is gone."""
    CLOSE_TIMEOUT = enum.auto()
    CLOSE_PARSE = enum.auto()
    CLOSE_TOO_BIG = enum.auto()
    CLOSE_SERVER = enum.auto()
    CLOSE_ERROR = enum.auto()
    """The client did what the protocol forbids."""


Row: TypeAlias = "tuple[Input, State, Effect]"


def _anywhere(state: State) -> Iterable[Row]:
    """What a living session does in every state."""
    yield Input.POLL_MESSAGE, state, Effect.DELIVER
    yield Input.POLL_BEAT, state, Effect.BEAT
    yield Input.POLL_IDLE, state, Effect.IGNORE
    yield Input.POLL_CLOSE, State.CLOSED, Effect.CLOSE_CLIENT
    yield Input.POLL_INVALID, State.CLOSED, Effect.CLOSE_PARSE
    yield Input.POLL_TOO_BIG, State.CLOSED, Effect.CLOSE_TOO_BIG
    yield Input.POLL_GONE, State.CLOSED, Effect.CLOSE_ERROR
    yield Input.POLL_OVERLAP, State.CLOSED, Effect.CLOSE_ERROR
    yield Input.POLL_MISBEAT, State.CLOSED, Effect.CLOSE_ERROR
    yield Input.BEAT_TIMEOUT, State.CLOSED, Effect.CLOSE_TIMEOUT
    yield Input.SERVER_CLOSE, State.CLOSED, Effect.CLOSE_SERVER


def _rows() -> dict[State, tuple[Row, ...]]:
    """The states' own rows; each is a sentence of the spec."""
    s, i, e = State, Input, Effect
    return {
        s.POLLING: (
            (i.POLL_REQUEST, s.POLLING, e.SERVE),
            (i.PROBE_OFFERED, s.OFFERED, e.ADMIT_PROBE),
        ),
        s.OFFERED: (
            (i.POLL_REQUEST, s.OFFERED, e.SERVE),
            (i.PROBE_OFFERED, s.OFFERED, e.REFUSE_PROBE),
            (i.PROBE_PING, s.PROBING, e.ANSWER_PROBE),
            (i.PROBE_UPGRADE, s.POLLING, e.DROP_PROBE),
            (i.PROBE_OTHER, s.POLLING, e.DROP_PROBE),
            (i.PROBE_GONE, s.POLLING, e.DROP_PROBE),
            (i.PROBE_TIMEOUT, s.POLLING, e.DROP_PROBE),
        ),
        s.PROBING: (
            (i.POLL_REQUEST, s.PROBING, e.SERVE),
            (i.PROBE_OFFERED, s.PROBING, e.REFUSE_PROBE),
            (i.PROBE_PING, s.PROBING, e.ANSWER_PROBE),
            (i.PROBE_UPGRADE, s.WEBSOCKET, e.SWITCH),
            (i.PROBE_OTHER, s.POLLING, e.DROP_PROBE),
            (i.PROBE_GONE, s.POLLING, e.DROP_PROBE),
            (i.PROBE_TIMEOUT, s.POLLING, e.DROP_PROBE),
        ),
        s.WEBSOCKET: (
            (i.POLL_REQUEST, s.WEBSOCKET, e.REFUSE_MISMATCH),
            (i.PROBE_OFFERED, s.WEBSOCKET, e.REFUSE_PROBE),
            (i.SOCKET_MESSAGE, s.WEBSOCKET, e.DELIVER),
            (i.SOCKET_BEAT, s.WEBSOCKET, e.BEAT),
            (i.SOCKET_IDLE, s.WEBSOCKET, e.IGNORE),
            (i.SOCKET_CLOSE, s.CLOSED, e.CLOSE_CLIENT),
            (i.SOCKET_GONE, s.CLOSED, e.CLOSE_GONE),
            (i.SOCKET_INVALID, s.CLOSED, e.CLOSE_PARSE),
            (i.SOCKET_TOO_BIG, s.CLOSED, e.CLOSE_TOO_BIG),
            (i.SOCKET_MISBEAT, s.CLOSED, e.CLOSE_ERROR),
        ),
    }


def _closed(happening: Input) -> Effect:
    """What a closed session does: nothing, politely."""
    if happening in (Input.POLL_REQUEST, Input.POLL_OVERLAP):
        return Effect.REFUSE_UNKNOWN
    if happening is Input.PROBE_OFFERED:
        return Effect.REFUSE_PROBE
    if happening is Input.PROBE_UPGRADE:
        return Effect.FAREWELL  # already closing when the upgrade came: finish, then close both (spec 3.7.3)
    return (
        Effect.DROP_PROBE if happening in (Input.PROBE_PING, Input.PROBE_OTHER, Input.PROBE_TIMEOUT) else Effect.IGNORE
    )


def _build() -> dict[tuple[State, Input], tuple[State, Effect]]:
    table: dict[tuple[State, Input], tuple[State, Effect]] = {}
    for state, rows in _rows().items():
        for happening, after, effect in (*_anywhere(state), *rows):
            table[state, happening] = (after, effect)
    for happening in Input:
        table[State.CLOSED, happening] = (State.CLOSED, _closed(happening))
    return table


TABLE: Final[dict[tuple[State, Input], tuple[State, Effect]]] = _build()

_ABSENT: Final = (State.CLOSED, Effect.CLOSE_ERROR)


def step(state: State, happening: Input) -> tuple[State, Effect]:
    """The next state and what to do; a pair that the table does not hold closes the session."""
    return TABLE.get((state, happening), _ABSENT)


_POLL: Final[dict[type[Packet], Input]] = {
    Message: Input.POLL_MESSAGE,
    Pong: Input.POLL_BEAT,
    Ping: Input.POLL_MISBEAT,
    Close: Input.POLL_CLOSE,
    Open: Input.POLL_IDLE,
    Noop: Input.POLL_IDLE,
    Upgrade: Input.POLL_IDLE,
}
_SOCKET: Final[dict[type[Packet], Input]] = {
    Message: Input.SOCKET_MESSAGE,
    Pong: Input.SOCKET_BEAT,
    Ping: Input.SOCKET_MISBEAT,
    Close: Input.SOCKET_CLOSE,
    Open: Input.SOCKET_IDLE,
    Noop: Input.SOCKET_IDLE,
    Upgrade: Input.SOCKET_IDLE,
}
_SWAPPED: Final = {
    Input.POLL_BEAT: Input.POLL_MISBEAT,
    Input.POLL_MISBEAT: Input.POLL_BEAT,
    Input.SOCKET_BEAT: Input.SOCKET_MISBEAT,
    Input.SOCKET_MISBEAT: Input.SOCKET_BEAT,
}


def poll_input(packet: Packet, *, server_pings: bool = True) -> Input:
    """What a packet of a POST means; ``server_pings`` is the revision's."""
    happening = _POLL[type(packet)]
    return happening if server_pings else _SWAPPED.get(happening, happening)


def socket_input(packet: Packet, *, server_pings: bool = True) -> Input:
    """What a packet on the session's own WebSocket means; ``server_pings`` is the revision's."""
    happening = _SOCKET[type(packet)]
    return happening if server_pings else _SWAPPED.get(happening, happening)


def probe_input(packet: Packet) -> Input:
    """What a packet on a WebSocket that asks to take over means."""
    if type(packet) is Ping and packet.data == "probe":
        return Input.PROBE_PING
    return Input.PROBE_UPGRADE if type(packet) is Upgrade else Input.PROBE_OTHER
