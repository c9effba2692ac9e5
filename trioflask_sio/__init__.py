"""Realtime for Flask on structured concurrency: a Socket.IO server with Flask-SocketIO's API, on Trio.

The rooms, lowest first; a room imports lower ones and itself, nothing else:

``exceptions``, ``_types`` → ``protocol`` (bytes and packets, no I/O) → ``engine`` (Engine.IO sessions on AnyIO) →
``hub`` (namespaces, rooms, acknowledgements) and ``server`` (listening, HTTP, WebSocket, ASGI), which do not see each
other → ``bridge`` (threads and Flask) → this package's root → ``testing`` (shipped for users).
"""

from trioflask_sio import aio
from trioflask_sio.bridge.extension import SocketIO
from trioflask_sio.bridge.functions import (
    call,
    check_cancelled,
    close_room,
    disconnect,
    emit,
    join_room,
    leave_room,
    rooms,
    send,
)
from trioflask_sio.bridge.namespace import Namespace
from trioflask_sio.bridge.serving import serve, serve_async
from trioflask_sio.bridge.test_client import SocketIOTestClient
from trioflask_sio.exceptions import (
    ClientGone,
    ConfigError,
    ConnectionError,
    ConnectionRefusedError,
    HandlerCancelled,
    NotServing,
    SocketIOError,
    TimeoutError,
    UnknownOption,
    UsageError,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "ClientGone",
    "ConfigError",
    "ConnectionError",
    "ConnectionRefusedError",
    "HandlerCancelled",
    "Namespace",
    "NotServing",
    "SocketIO",
    "SocketIOError",
    "SocketIOTestClient",
    "TimeoutError",
    "UnknownOption",
    "UsageError",
    "aio",
    "call",
    "check_cancelled",
    "close_room",
    "disconnect",
    "emit",
    "join_room",
    "leave_room",
    "rooms",
    "send",
    "serve",
    "serve_async",
]
