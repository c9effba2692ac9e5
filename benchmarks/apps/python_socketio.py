"""python-socketio's AsyncServer on uvicorn (uvloop, httptools, websockets by uvicorn's sans-IO adapter).

It has no Flask: the view is a bare ASGI application, which makes its HTTP figure a ceiling, not a peer's.
"""

from typing import Any

import socketio
import uvicorn

from benchmarks.apps.common import announce, listening_socket, parser


async def view(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with ``ok``."""
    body = b"ok"
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def make_app() -> Any:
    """The ASGI application with its events."""
    server = socketio.AsyncServer(async_mode="asgi")

    async def connect(sid: str, environ: dict[str, Any]) -> None:
        """Accept everybody."""

    async def echo(sid: str, text: str) -> None:
        await server.emit("echo", text, to=sid)

    async def async_echo(sid: str, text: str) -> None:
        await server.emit("async_echo", text, to=sid)

    async def ack(sid: str, text: str) -> str:
        return text

    async def fan(sid: str, number: str, text: str) -> None:
        await server.emit("fan", (number, text))

    for handler in (connect, echo, async_echo, ack, fan):
        server.on(handler.__name__, handler)
    return socketio.ASGIApp(server, other_asgi_app=view)


def main() -> None:
    """Start from the command line."""
    listener = listening_socket(parser(__doc__).parse_args().port)
    config = uvicorn.Config(
        make_app(), loop="uvloop", http="httptools", ws="websockets-sansio", log_level="warning", access_log=False
    )
    announce(listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
