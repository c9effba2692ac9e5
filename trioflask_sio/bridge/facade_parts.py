"""What hangs below ``socketio.server``: ``manager`` and ``eio``, with python-socketio's names (spec 1.1.3).

Both only look. ``facade.py`` says from where they may be asked and what they find when no server runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from trioflask_sio._types import Room, Sid
from trioflask_sio.bridge.operations import as_rooms
from trioflask_sio.hub.client import Client

if TYPE_CHECKING:
    from trioflask_sio.engine.config import EngineConfig
    from trioflask_sio.engine.engine import Engine
    from trioflask_sio.hub.hub import Hub
    from trioflask_sio.hub.socket import Socket

__all__ = ["EngineFacade", "EngineSocket", "Look", "ManagerFacade"]


class Look(Protocol):
    """Runs a function where it may look at the hub and the engine."""

    def __call__(self, fn: Callable[..., Any], /, *args: object) -> Any: ...


class ManagerFacade:
    """What ``socketio.server.manager`` is: who is connected, and who is in which room.

    Args:
        look: how to look.
        hub: the hub of the present serving.
    """

    write_only: Final = False
    """Whether this process only publishes to a message queue. It serves clients."""

    channel: Final = "flask-socketio"
    """The name of the message queue's channel; without a queue nobody uses it."""

    def __init__(self, look: Look, hub: Callable[[], Hub]) -> None:
        self._look = look
        self._hub = hub
        self.host_id: Final = uuid.uuid4().hex
        """Tells this server from others that share a message queue."""

    @property
    def rooms(self) -> dict[str, dict[Room | None, dict[Sid, str]]]:
        """Engine.IO session ids by namespace, room and sid; the room None is the whole namespace."""
        found: dict[str, dict[Room | None, dict[Sid, str]]] = self._look(_rooms, self._hub())
        return found

    def get_namespaces(self) -> list[str]:
        """The namespaces that have clients."""
        return list(self.rooms)

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[Sid, str]]:
        """Who is in a room.

        Args:
            namespace: where.
            room: a room or sid, a list of them (each client once), or None for the whole namespace.

        Returns:
            Pairs of sid and Engine.IO session id.
        """
        pairs: list[tuple[Sid, str]] = self._look(_participants, self._hub(), namespace, room)
        return iter(pairs)

    def get_rooms(self, sid: Sid, namespace: str) -> list[Room]:
        """The rooms of a client, its own included; ``[]`` for an unknown one."""
        found: list[Room] = self._look(self._hub().rooms, sid, namespace)
        return found

    def is_connected(self, sid: Sid, namespace: str) -> bool:
        """Whether a client is in a namespace; False from the moment it leaves, also in its disconnect handler."""
        return self.eio_sid_from_sid(sid, namespace) is not None

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> Sid | None:
        """The sid of a connection in a namespace; None when it is not in there."""
        found: Sid | None = self._look(_sid_of, self._hub(), eio_sid, namespace)
        return found

    def eio_sid_from_sid(self, sid: Sid, namespace: str) -> str | None:
        """The Engine.IO session id of a client; None when it is not connected."""
        found: str | None = self._look(_eio_sid, self._hub(), sid, namespace)
        return found


def _present(hub: Hub) -> Iterable[Socket]:
    return [socket for socket in hub.sockets.values() if not socket.ended]


def _rooms(hub: Hub) -> dict[str, dict[Room | None, dict[Sid, str]]]:
    found: dict[str, dict[Room | None, dict[Sid, str]]] = {}
    for socket in _present(hub):
        space = found.setdefault(socket.namespace, {})
        for room in (None, *hub.rooms(socket.sid, socket.namespace)):
            space.setdefault(room, {})[socket.sid] = socket.client.session.eio_sid
    return found


def _participants(hub: Hub, namespace: str, room: Any) -> list[tuple[Sid, str]]:
    rooms = (None,) if room is None else as_rooms(room) or ()
    sids = dict.fromkeys(sid for one in rooms for sid in hub.adapter.participants(namespace, one))
    return [(sid, eio_sid) for sid in sids if (eio_sid := _eio_sid(hub, sid, namespace)) is not None]


def _sid_of(hub: Hub, eio_sid: str, namespace: str) -> Sid | None:
    for socket in _present(hub):
        if socket.namespace == namespace and socket.client.session.eio_sid == eio_sid:
            return socket.sid
    return None


def _eio_sid(hub: Hub, sid: Sid, namespace: str) -> str | None:
    socket = hub.find(sid, namespace)
    return None if socket is None or socket.ended else socket.client.session.eio_sid


class EngineSocket(NamedTuple):
    """One connection as it was when ``EngineFacade.sockets`` was asked."""

    sid: str
    """The Engine.IO session id: secret, whoever knows it can take the connection over."""
    transport: str
    """``polling`` or ``websocket``."""
    connected: bool

    @property
    def closed(self) -> bool:
        """The opposite of ``connected``."""
        return not self.connected

    @property
    def upgraded(self) -> bool:
        """Whether it is on its WebSocket."""
        return self.transport == "websocket"


class EngineFacade:
    """What ``socketio.server.eio`` is: the connections and the options of the Engine.IO layer.

    Args:
        look: how to look.
        engine: the engine of the present serving.
        config: its options.
    """

    async_mode: Final = "trio"

    def __init__(self, look: Look, engine: Callable[[], Engine], config: Callable[[], EngineConfig]) -> None:
        self._look = look
        self._engine = engine
        self._config = config

    @property
    def sockets(self) -> dict[str, EngineSocket]:
        """Every connection by its Engine.IO session id."""
        found: dict[str, EngineSocket] = self._look(_sockets, self._engine())
        return found

    def transport(self, eio_sid: str) -> str:
        """The transport of a connection: ``polling`` or ``websocket``.

        Raises:
            KeyError: no such connection.
        """
        return self._engine().sessions[eio_sid].transport

    def client(self, eio_sid: str) -> Client | None:
        """The Socket.IO side of a connection."""
        session = self._engine().sessions.get(eio_sid)
        return session.upper if session is not None and isinstance(session.upper, Client) else None

    @property
    def allow_upgrades(self) -> bool:
        """The option of this name."""
        return self._config().allow_upgrades

    @property
    def cookie(self) -> str | Mapping[str, object] | None:
        """The option of this name, as it was given."""
        return self._config().cookie

    @property
    def ping_interval(self) -> float:
        """Seconds between two pings."""
        return self._config().ping_interval

    @property
    def ping_timeout(self) -> float:
        """Seconds that a pong may take."""
        return self._config().ping_timeout

    @property
    def max_http_buffer_size(self) -> int:
        """Bytes of one message."""
        return self._config().max_http_buffer_size

    @property
    def transports(self) -> list[str]:
        """The transports that are served."""
        return list(self._config().enabled)


def _sockets(engine: Engine) -> dict[str, EngineSocket]:
    return {
        session.eio_sid: EngineSocket(session.eio_sid, session.transport, not session.closed)
        for session in list(engine.sessions.values())
    }
