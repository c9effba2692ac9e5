"""``socketio.server``: python-socketio's ``Server`` as applications know it, on top of this package (spec 1.1.3).

Applications reach below ``SocketIO`` for a handful of things: another client's environ, the transport of a client, who
is in a room, a dictionary per client. They find them here under the names they know. Every act goes the one way of
``Operations``; every look at rooms or connections is taken on the loop, behind what the caller has done before, so all
of it is callable from every thread.

Rules:

* There is one façade per ``SocketIO``. It asks for the present serving each time, so it may be kept.
* Before the server starts nobody is connected: looks find nothing, acts do nothing. After it has stopped looks find
  nothing again, and acts raise ``NotServing`` as everywhere.
* What is returned is a copy of the moment, except environs and user sessions, which are the live dictionaries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from trioflask_sio._types import Room, Sid
from trioflask_sio.bridge.facade_parts import EngineFacade, ManagerFacade
from trioflask_sio.bridge.operations import CALL_TIMEOUT
from trioflask_sio.bridge.portal import BorderState
from trioflask_sio.exceptions import UsageError

if TYPE_CHECKING:
    from trioflask_sio.bridge.background import BackgroundTask
    from trioflask_sio.bridge.environ import Environ
    from trioflask_sio.bridge.extension import DisconnectReason, SocketIO
    from trioflask_sio.bridge.namespace import Namespace
    from trioflask_sio.hub.client import Client
    from trioflask_sio.hub.hub import Hub
    from trioflask_sio.hub.socket import Socket

__all__ = ["Environs", "ServerFacade"]

T = TypeVar("T")


class ServerFacade:
    """What ``SocketIO.server`` is.

    Args:
        socketio: whose server it stands for.

    Attributes:
        manager: rooms and who is connected (:class:`ManagerFacade`).
        eio: the Engine.IO layer (:class:`EngineFacade`).
        environ: the WSGI environ of every connection by Engine.IO session id (:class:`Environs`).
    """

    def __init__(self, socketio: SocketIO) -> None:
        self._socketio = socketio
        self._making = threading.Lock()
        self.manager = ManagerFacade(self.look, lambda: socketio.runtime.hub)
        self.eio = EngineFacade(self.look, lambda: socketio.runtime.engine, lambda: socketio.options.engine)
        self.environ = Environs(self)

    # --- what it is set up as -------------------------------------------------------------------------------------

    @property
    def async_mode(self) -> str:
        """As ``SocketIO.async_mode``."""
        return self._socketio.async_mode

    @property
    def async_handlers(self) -> bool:
        """The option of this name."""
        return self._socketio.options.hub.async_handlers

    @property
    def always_connect(self) -> bool:
        """The option of this name."""
        return self._socketio.options.hub.always_connect

    @property
    def namespaces(self) -> str | list[str]:
        """The option of this name: a list of names, ``"*"``, or ``["/"]`` where nothing was given."""
        given = self._socketio.options.hub.namespaces
        return given if isinstance(given, str) else ["/"] if given is None else list(given)

    @property
    def handlers(self) -> dict[str, dict[object, Callable[..., object]]]:
        """The registered functions by namespace and event."""
        found: dict[str, dict[object, Callable[..., object]]] = {}
        for event, function, namespace in self._socketio.handlers:
            found.setdefault(namespace, {})[event] = function
        return found

    @property
    def namespace_handlers(self) -> dict[str, Namespace]:
        """The class-based namespaces by name."""
        return {handler.namespace: handler for handler in self._socketio.namespace_handlers}

    @property
    def reason(self) -> type[DisconnectReason]:
        """The constants of ``SocketIO.reason``."""
        return self._socketio.reason

    # --- emitting -------------------------------------------------------------------------------------------------

    def emit(
        self,
        event: str,
        data: object = None,
        to: object = None,
        room: object = None,
        skip_sid: object = None,
        namespace: str | None = None,
        callback: Callable[..., object] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Emit to everybody in a namespace, or to ``to`` / ``room``; arguments and errors as ``SocketIO.emit``."""
        self._socketio.emit(
            event,
            data,
            namespace=namespace,
            to=to,
            room=room,
            skip_sid=skip_sid,
            callback=callback,
            ignore_queue=ignore_queue,
        )

    def send(
        self,
        data: object,
        to: object = None,
        room: object = None,
        skip_sid: object = None,
        namespace: str | None = None,
        callback: Callable[..., object] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Emit the event ``message``; as :meth:`emit`."""
        self.emit("message", data, to, room, skip_sid, namespace, callback, ignore_queue)

    def call(
        self,
        event: str,
        data: object = None,
        to: object = None,
        sid: Sid | None = None,
        namespace: str | None = None,
        timeout: float | None = CALL_TIMEOUT,
        ignore_queue: bool = False,
    ) -> Any:
        """Emit to one client and wait for its answer; ``sid`` is an alias of ``to``. As ``SocketIO.call``."""
        return self._socketio.call(
            event, data, namespace=namespace, to=to, room=sid, timeout=timeout, ignore_queue=ignore_queue
        )

    # --- one client -----------------------------------------------------------------------------------------------

    def enter_room(self, sid: Sid, room: Room, namespace: str | None = None) -> None:
        """Put a client into a room.

        Raises:
            KeyError: no such client.
            ValueError: nobody is connected to the namespace.
        """
        self._socketio.operations.enter_room(sid, namespace or "/", room)

    def leave_room(self, sid: Sid, room: Room, namespace: str | None = None) -> None:
        """Take a client out of a room; unknown ones are ignored."""
        self._socketio.operations.leave_room(sid, namespace or "/", room)

    def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Take everybody out of a room; nobody is told."""
        self._socketio.operations.close_room(room, namespace or "/")

    def rooms(self, sid: Sid, namespace: str | None = None) -> list[Room]:
        """The rooms of a client, its own included; ``[]`` for an unknown one."""
        return self.manager.get_rooms(sid, namespace or "/")

    def disconnect(self, sid: Sid, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Put a client out of a namespace; unknown ones are ignored.

        Raises:
            UsageError: called in an async handler (use ``await aio.disconnect(…)``).
        """
        self._socketio.operations.disconnect(sid, namespace or "/")

    def instrument(self, *args: object, **kwargs: object) -> None:
        """Refused: the admin UI is not part of this version.

        Raises:
            UsageError: always.
        """
        raise UsageError("instrument(): the admin UI is not part of this version; delete the call.")

    def transport(self, sid: Sid, namespace: str | None = None) -> str:
        """The transport that a client uses at the moment: ``polling`` or ``websocket``.

        Raises:
            KeyError: no such client.
        """
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace or "/")
        if eio_sid is None:
            raise KeyError(sid)
        return self.eio.transport(eio_sid)

    def get_environ(self, sid: Sid, namespace: str | None = None) -> Environ | None:
        """The WSGI environ of a client's handshake, the very dictionary that its handlers see; None for an unknown one.

        Where no event of the client has been handled yet, the application's middlewares see the handshake now, in the
        calling thread.
        """
        socket = self._find(sid, namespace)
        return None if socket is None else self.environ_of(socket.client)

    # --- user sessions (spec 2.12) --------------------------------------------------------------------------------

    def get_session(self, sid: Sid, namespace: str | None = None) -> dict[str, Any]:
        """The dictionary that is kept for a client as long as its connection lasts, one for each namespace.

        It has nothing to do with Flask's ``session``.

        Args:
            sid: the client.
            namespace: default ``/``.

        Returns:
            The live dictionary: what is changed in it stays changed.

        Raises:
            KeyError: no such client.
        """
        return self._sessions(sid, namespace).setdefault(namespace or "/", {})

    def save_session(self, sid: Sid, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace a client's dictionary; see :meth:`get_session`."""
        self._sessions(sid, namespace)[namespace or "/"] = session

    @contextmanager
    def session(self, sid: Sid, namespace: str | None = None) -> Iterator[dict[str, Any]]:
        """``with server.session(sid) as session:`` gives the client's dictionary and keeps it afterwards."""
        yield self.get_session(sid, namespace)

    def _sessions(self, sid: Sid, namespace: str | None) -> dict[str, dict[str, Any]]:
        socket = self._find(sid, namespace)
        if socket is None:
            raise KeyError(f"no client {sid!r} in namespace {namespace or '/'!r}")
        client = socket.client
        with self._making:  # two threads may be first at once
            if client.user_sessions is None:
                client.user_sessions = {}
            return client.user_sessions

    # --- the process ----------------------------------------------------------------------------------------------

    def start_background_task(self, target: Callable[..., object], *args: object, **kwargs: Any) -> BackgroundTask:
        """As ``SocketIO.start_background_task``."""
        return self._socketio.start_background_task(target, *args, **kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """As ``SocketIO.sleep``."""
        self._socketio.sleep(seconds)

    def shutdown(self) -> None:
        """As ``SocketIO.stop``."""
        self._socketio.stop()

    # --- looking --------------------------------------------------------------------------------------------------

    def look(self, fn: Callable[..., T], *args: object) -> T:
        """Run ``fn(*args)`` on the loop, behind what the caller has queued; where there is no loop, here and now."""
        border = self._socketio.runtime.border
        return border.call(fn, *args) if border.state is BorderState.RUNNING else fn(*args)

    def hub(self) -> Hub:
        """The hub of the present serving."""
        return self._socketio.runtime.hub

    def environ_of(self, client: Client) -> Environ:
        """The environ of a connection."""
        return self._socketio.connection_of(client).environ

    def _find(self, sid: Sid, namespace: str | None) -> Socket | None:
        return self.hub().find(sid, namespace or "/")  # one look into a dictionary needs no loop


class Environs(Mapping[str, "Environ"]):
    """The environ of every connection, by Engine.IO session id. Read only; the environs themselves are the live ones.

    With ``manage_session=True`` the session of a connection's handlers is its ``environ["saved_session"]``.
    """

    def __init__(self, server: ServerFacade) -> None:
        self._server = server

    def __getitem__(self, eio_sid: str) -> Environ:
        client = self._server.eio.client(eio_sid)
        if client is None:
            raise KeyError(eio_sid)
        return self._server.environ_of(client)

    def __iter__(self) -> Iterator[str]:
        return iter(self._server.eio.sockets)

    def __len__(self) -> int:
        return len(self._server.eio.sockets)

    def __repr__(self) -> str:
        return f"<environs of {len(self)} connection(s)>"
