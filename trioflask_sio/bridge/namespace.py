"""Class-based namespaces: a method ``on_<event>`` for each event (spec 1.11)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import request

from trioflask_sio._types import Room, Sid
from trioflask_sio.bridge.dispatch import call_by_trial
from trioflask_sio.bridge.operations import CALL_TIMEOUT
from trioflask_sio.exceptions import UsageError
from trioflask_sio.hub.handlers import Handler

if TYPE_CHECKING:
    from trioflask_sio.bridge.extension import SocketIO
    from trioflask_sio.bridge.facade import ServerFacade

__all__ = ["Namespace"]


class Namespace:
    """Subclass it, define ``on_connect``, ``on_disconnect``, ``on_<event>``, and give an instance to ``on_namespace``.

    Args:
        namespace: its name; default ``/``; ``*`` is every namespace that has no handlers of its own.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace or "/"
        self._socketio: SocketIO | None = None
        self._found: dict[str, Handler] = {}

    def attach(self, socketio: SocketIO) -> None:
        """Called by ``on_namespace``."""
        self._socketio = socketio

    @property
    def socketio(self) -> SocketIO:
        """The server it is registered with.

        Raises:
            UsageError: it is not registered yet.
        """
        if self._socketio is None:
            raise UsageError(
                f"{type(self).__name__} is not registered: call socketio.on_namespace({type(self).__name__}(…)) first."
            )
        return self._socketio

    @property
    def server(self) -> ServerFacade:
        """``socketio.server``. Raises as ``socketio`` does."""
        return self.socketio.server

    def resolve(self, event: str) -> Handler | None:
        """The handler of an event: the method ``on_<event>``, or a subclass's own ``trigger_event``."""
        if type(self).trigger_event is not Namespace.trigger_event:
            handler = Handler.make(partial(self._trigger, event), event, self.namespace, class_based=True)
            return replace(handler, is_async=inspect.iscoroutinefunction(self.trigger_event))
        return self._method(event)

    def trigger_event(self, event: str, *args: Any) -> Any:
        """Carry an event to its method; a subclass may have it carried otherwise (spec 1.11.2).

        Args:
            event: its name.
            *args: the client's sid, then the event's arguments; for ``connect`` the environ and, where the client
                sent some, its auth; for ``disconnect`` the reason.

        Returns:
            What the method returned (of an ``async def`` method: what is to be awaited); None where there is none.
        """
        handler = self._method(event)
        if handler is None:
            return None
        if event == "connect":
            return call_by_trial(handler, handler.connect_args(args[2] if len(args) > 2 else None))
        if event == "disconnect":
            return call_by_trial(handler, handler.disconnect_args(args[1]))
        return handler.fn(*args[1:])

    def _trigger(self, event: str, *args: Any) -> Any:
        """Call a subclass's ``trigger_event`` with what it is told beyond the arguments of a method."""
        current: Any = request
        if event == "connect":
            args = current.event["args"]
        return self.trigger_event(event, current.sid, *args)

    def _method(self, event: str) -> Handler | None:
        """The method ``on_<event>``, its signature read once."""
        found = self._found.get(event)
        if found is None:
            method = getattr(self, f"on_{event}", None)
            if callable(method):  # only what is there is remembered: clients choose the names that are not
                found = self._found[event] = Handler.make(method, event, self.namespace, class_based=True)
        return found

    # --- acting: as the methods of SocketIO, in this namespace ----------------------------------------------------

    def emit(
        self,
        event: str,
        data: object = None,
        room: object = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Callable[..., object] | None = None,
        to: object = None,
        skip_sid: object = None,
    ) -> None:
        """Emit to everybody in this namespace, or to ``to`` / ``room``. See ``SocketIO.emit``."""
        self.socketio.emit(
            event,
            data,
            namespace=namespace or self.namespace,
            to=room if to is None else to,
            include_self=include_self,
            skip_sid=skip_sid,
            callback=callback,
        )

    def send(
        self,
        data: object,
        room: object = None,
        include_self: bool = True,
        namespace: str | None = None,
        callback: Callable[..., object] | None = None,
        to: object = None,
        skip_sid: object = None,
    ) -> None:
        """Emit the event ``message``. See ``SocketIO.send``."""
        self.socketio.send(
            data,
            namespace=namespace or self.namespace,
            to=room if to is None else to,
            include_self=include_self,
            skip_sid=skip_sid,
            callback=callback,
        )

    def call(
        self,
        event: str,
        data: object = None,
        to: object = None,
        sid: Sid | None = None,
        namespace: str | None = None,
        timeout: float | None = None,
        ignore_queue: bool = False,
    ) -> Any:
        """Emit to one client and wait for its acknowledgement; ``timeout`` in seconds, default 60."""
        return self.socketio.call(
            event,
            data,
            namespace=namespace or self.namespace,
            to=sid if to is None else to,
            timeout=CALL_TIMEOUT if timeout is None else timeout,
        )

    def enter_room(self, sid: Sid, room: Room, namespace: str | None = None) -> None:
        """Put a client into a room."""
        self.socketio.operations.enter_room(sid, namespace or self.namespace, room)

    def leave_room(self, sid: Sid, room: Room, namespace: str | None = None) -> None:
        """Take a client out of a room."""
        self.socketio.operations.leave_room(sid, namespace or self.namespace, room)

    def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Take everybody out of a room."""
        self.socketio.operations.close_room(room, namespace or self.namespace)

    def rooms(self, sid: Sid, namespace: str | None = None) -> list[Room]:
        """The rooms of a client."""
        return self.socketio.operations.rooms(sid, namespace or self.namespace)

    def disconnect(self, sid: Sid, namespace: str | None = None) -> None:
        """Put a client out of this namespace."""
        self.socketio.operations.disconnect(sid, namespace or self.namespace)

    def get_session(self, sid: Sid, namespace: str | None = None) -> dict[str, Any]:
        """The dictionary kept for a client; see ``ServerFacade.get_session``. Raises KeyError for an unknown one."""
        return self.server.get_session(sid, namespace or self.namespace)

    def save_session(self, sid: Sid, session: dict[str, Any], namespace: str | None = None) -> None:
        """Replace a client's dictionary."""
        self.server.save_session(sid, session, namespace or self.namespace)

    def session(self, sid: Sid, namespace: str | None = None) -> AbstractContextManager[dict[str, Any]]:
        """A client's dictionary for a ``with`` block."""
        return self.server.session(sid, namespace or self.namespace)

    def is_asyncio_based(self) -> bool:
        """False: handlers of both kinds may stand side by side."""
        return False
