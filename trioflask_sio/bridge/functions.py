"""The functions that handlers use: they know the client from Flask's request (spec 1.10).

Each finds the server through ``current_app`` and the client through ``request``. Outside a Socket.IO handler they say
so and name the form that works there: the method of the ``SocketIO`` object where it has one, else the same function
with ``sid`` and ``namespace``, which needs no more than an application context.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from flask import current_app, has_request_context, request

from trioflask_sio._types import Room, Sid
from trioflask_sio.bridge.operations import CALL_TIMEOUT, as_args, as_rooms, as_sids
from trioflask_sio.bridge.runs import current_run
from trioflask_sio.bridge.wsgi_stream import current_view
from trioflask_sio.exceptions import HandlerCancelled, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trioflask_sio.bridge.extension import SocketIO
    from trioflask_sio.bridge.runtime import Runtime
    from trioflask_sio.bridge.waiting import Waiter
    from trioflask_sio.engine.timers import Timer

__all__ = [
    "call",
    "check_cancelled",
    "close_room",
    "disconnect",
    "emit",
    "join_room",
    "leave_room",
    "rooms",
    "send",
]


class _Unset:
    """Not given: None has a meaning of its own."""

    def __repr__(self) -> str:  # help() shows it as the default
        return "<that of the event>"


_UNSET: Any = _Unset()

_METHODS = ("emit", "send", "call", "close_room")
"""Functions that ``SocketIO`` has as methods too, which need no context at all."""


def emit(
    event: str,
    *args: object,
    namespace: str | None = _UNSET,
    to: object = None,
    room: object = None,
    include_self: bool = True,
    skip_sid: object = None,
    broadcast: bool = False,
    callback: Callable[..., object] | None = None,
    ignore_queue: bool = False,
    **ignored: object,
) -> None:
    """Emit an event to the sender of the present one, or to others.

    Args:
        event: the event's name.
        *args: at most one payload; a tuple is several event arguments.
        namespace: default: that of the present event.
        to: a sid, a room, or a list of them; default: the sender alone, unless ``broadcast``.
        room: an alias of ``to``.
        include_self: False leaves the sender out.
        skip_sid: a sid or several that do not get it.
        broadcast: to everybody in the namespace.
        callback: called with the receiver's acknowledgement.
        ignore_queue: this process only; without a message queue it changes nothing.
        **ignored: accepted and ignored, as Flask-SocketIO does.

    Raises:
        TypeError: the payload cannot be sent.
        UsageError: called outside a Socket.IO handler.
        HandlerCancelled: see ``SocketIO.emit``.
    """
    socketio = _server("emit")
    target = _or(to, room)
    rooms = as_rooms(target) if target not in (None, "") else None
    if rooms is None and not broadcast:
        rooms = (_sid("emit"),)
    skip = as_sids(skip_sid)
    if not include_self:
        skip = (*skip, _sid("emit"))
    socketio.operations.emit(
        event,
        as_args(args, "emit"),
        namespace=_namespace(namespace, "emit"),
        rooms=rooms,
        skip=skip,
        callback=callback,
    )


def send(
    message: object,
    json: bool = False,
    namespace: str | None = _UNSET,
    to: object = None,
    callback: Callable[..., object] | None = None,
    include_self: bool = True,
    skip_sid: object = None,
    broadcast: bool = False,
    room: object = None,
    **ignored: object,
) -> None:
    """Emit the event ``message`` (``json=True``: ``json``). Arguments and errors as :func:`emit`."""
    emit(
        "json" if json else "message",
        message,
        namespace=namespace,
        to=_or(to, room),
        include_self=include_self,
        skip_sid=skip_sid,
        broadcast=broadcast,
        callback=callback,
    )


def call(
    event: str,
    *args: object,
    namespace: str | None = _UNSET,
    to: object = None,
    room: object = None,
    timeout: float | None = CALL_TIMEOUT,
    ignore_queue: bool = False,
    **ignored: object,
) -> Any:
    """Emit to one client, by default the sender, and wait for its acknowledgement.

    Args:
        event: the event's name.
        *args: at most one payload; a tuple is several event arguments.
        namespace: default: that of the present event.
        to: the client's sid; default: the sender.
        room: an alias of ``to``.
        timeout: seconds; None waits as long as the client is there.
        ignore_queue: without a message queue it changes nothing.
        **ignored: accepted and ignored.

    Returns:
        None, the one value, or a tuple of several.

    Raises:
        TimeoutError: no answer in time.
        ClientGone: the client left before it answered.
        UsageError: outside a Socket.IO handler, or in an async one (use ``await aio.call(…)``).
        HandlerCancelled: the handler's own client left.
    """
    socketio = _server("call")
    target = _or(to, room)
    return socketio.call(
        event,
        *args,
        namespace=_namespace(namespace, "call"),
        to=_sid("call") if target in (None, "") else target,
        timeout=timeout,
    )


def join_room(room: Room, sid: Sid | None = None, namespace: str | None = None) -> None:
    """Put a client, by default the sender, into a room.

    Raises:
        KeyError: no such client.
        UsageError: outside a Socket.IO handler without ``sid`` and ``namespace``.
    """
    socketio = _server("join_room")
    socketio.operations.enter_room(sid or _sid("join_room"), namespace or _namespace(_UNSET, "join_room"), room)


def leave_room(room: Room, sid: Sid | None = None, namespace: str | None = None) -> None:
    """Take a client, by default the sender, out of a room; unknown ones are ignored."""
    socketio = _server("leave_room")
    socketio.operations.leave_room(sid or _sid("leave_room"), namespace or _namespace(_UNSET, "leave_room"), room)


def close_room(room: Room, namespace: str | None = None) -> None:
    """Take everybody out of a room; nobody is told and nobody is disconnected."""
    _server("close_room").operations.close_room(room, namespace or _namespace(_UNSET, "close_room"))


def rooms(sid: Sid | None = None, namespace: str | None = None) -> list[Room]:
    """The rooms of a client, by default the sender, its own room (named like its sid) included."""
    return _server("rooms").operations.rooms(sid or _sid("rooms"), namespace or _namespace(_UNSET, "rooms"))


def disconnect(sid: Sid | None = None, namespace: str | None = None, silent: bool = False) -> None:
    """Put a client, by default the sender, out of the namespace.

    Its own client's disconnect handler has run when this returns; the calling handler goes on.

    Args:
        sid: who; default: the sender.
        namespace: default: that of the present event.
        silent: accepted for Flask-SocketIO's sake; it means nothing there either.

    Raises:
        UsageError: outside a Socket.IO handler, or in an async one (use ``await aio.disconnect()``).
    """
    _server("disconnect").operations.disconnect(
        sid or _sid("disconnect"), namespace or _namespace(_UNSET, "disconnect")
    )


def check_cancelled() -> None:
    """Raise ``HandlerCancelled`` when the client this code works for has left.

    For long computations in synchronous handlers, background tasks and views; anywhere else it does nothing.
    """
    run = current_run()
    if run is not None:
        run.check()
        return
    view = current_view.get()
    if view is not None and view.gone:
        raise HandlerCancelled("the client of this view has left")


def pause(socketio: SocketIO, seconds: float) -> None:
    """``SocketIO.sleep``: wait without holding a worker's place; ended by the client's departure or the stop."""
    run = current_run()
    runtime = socketio.runtime
    if runtime.serving and runtime.border.on_loop():
        raise UsageError("sleep() blocks, and this is the event loop: use `await trioflask_sio.aio.sleep(…)`.")
    if run is None:
        time.sleep(seconds)
        return
    alarm: list[Timer] = []
    rang = False
    try:
        run.wait(partial(_set_alarm, runtime, seconds, alarm))
        rang = True
    finally:
        if not rang:
            runtime.border.offer(_stop_alarm, alarm)


def _set_alarm(runtime: Runtime, seconds: float, alarm: list[Timer], waiter: Waiter) -> None:
    if not waiter.woken:
        alarm.append(runtime.timers.call_later(seconds, waiter.wake))


def _stop_alarm(alarm: list[Timer]) -> None:
    """Queued behind ``_set_alarm``, so it finds what that has set."""
    for timer in alarm:
        timer.cancel()


def _server(name: str) -> SocketIO:
    """The ``SocketIO`` of the current application."""
    try:
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy, unknown to its stub
    except RuntimeError as error:
        raise UsageError(
            f"{name}() was called outside of a Socket.IO handler: {_elsewhere(name, app=False)}"
        ) from error
    extension = app.extensions.get("socketio")
    if extension is None:
        raise UsageError(f"{name}(): the application {app.name!r} has no SocketIO; create one with SocketIO(app).")
    return cast("SocketIO", extension)


def _sid(name: str) -> Sid:
    return _of_request("sid", name)


def _namespace(given: Any, name: str) -> str:
    if given is _UNSET:
        return _of_request("namespace", name)
    return given or "/"


def _of_request(attribute: str, name: str) -> str:
    value = getattr(request, attribute, None) if has_request_context() else None
    if not isinstance(value, str):
        raise UsageError(
            f"{name}() takes its {attribute} from the event that is being handled, and none is: "
            f"{_elsewhere(name, app=True)}"
        )
    return value


def _elsewhere(name: str, *, app: bool) -> str:
    """What to write outside of a handler.

    Args:
        name: the function.
        app: there is an application context.
    """
    if name in _METHODS:
        return f"use socketio.{name}(…) of the SocketIO object."
    room = "room, " if name in ("join_room", "leave_room") else ""
    form = f"{name}({room}sid=…, namespace=…)"
    return f"name both, {form}." if app else f"write `with app.app_context(): {form}`."


def _or(to: object, room: object) -> object:
    return room if to is None else to
