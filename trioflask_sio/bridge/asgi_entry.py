"""The ``SocketIO`` object as an ASGI application: what every other server runs (design §8.14).

The server's lifespan is where the engine and the threads live: they start before the first request and end after the
last. A server that does not speak lifespan cannot host them, and is told so.

Servers cancel connections before they send ``lifespan.shutdown``; what is left to do then is to run the disconnect
handlers, and the lifespan waits for them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio

from trioflask_sio.exceptions import UsageError
from trioflask_sio.server.asgi import asgi_app
from trioflask_sio.server.blocking import refuse_monkey_patched
from trioflask_sio.server.service import Service

if TYPE_CHECKING:
    from trioflask_sio.bridge.extension import SocketIO

__all__ = ["asgi"]

_log = logging.getLogger("trioflask_sio")

NO_LIFESPAN = (
    "Socket.IO is not running: this server has sent no ASGI lifespan events, in which it starts. "
    "Switch them on (uvicorn: --lifespan on), or start the application with trioflask_sio.serve(app)."
)

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def asgi(socketio: SocketIO, scope: Any, receive: Receive, send: Send) -> None:
    """One ASGI scope: the lifespan, a request or a WebSocket."""
    if scope["type"] == "lifespan":
        await _lifespan(socketio, receive, send)
        return
    service = socketio.runtime.service
    if service is None:
        await _not_running(scope, receive, send)
        return
    await asgi_app(service, scope, receive, send)


async def _lifespan(socketio: SocketIO, receive: Receive, send: Send) -> None:
    await receive()  # lifespan.startup
    try:
        refuse_monkey_patched()
        runtime = socketio.next_runtime()
    except UsageError as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    async with runtime.running() as views:
        runtime.service = Service(runtime.engine, socketio.options.path, views)
        try:
            async with anyio.create_task_group() as tasks:
                await tasks.start(runtime.run_engine)
                await send({"type": "lifespan.startup.complete"})
                await receive()  # lifespan.shutdown
                await runtime.farewell()
                tasks.cancel_scope.cancel()
        finally:
            runtime.service = None
    await send({"type": "lifespan.shutdown.complete"})


async def _not_running(scope: Any, receive: Receive, send: Send) -> None:
    _log.error("%s", NO_LIFESPAN)
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        await send({"type": "websocket.close", "code": 1011, "reason": "lifespan events are off"})
        return
    body = (NO_LIFESPAN + "\n").encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
