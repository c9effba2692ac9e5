"""trioflask_sio: on its own server, or as an ASGI application on Hypercorn (trio) or uvicorn (uvloop, httptools)."""

from functools import partial
from typing import Any

import trio
from flask import Flask

from benchmarks.apps.common import SECRET, announce, listening_socket, parser
from trioflask_sio import SocketIO, emit, serve_async


def make_app() -> SocketIO:
    """The application with its events."""
    app = Flask(__name__)
    app.secret_key = SECRET
    socketio = SocketIO(app)

    @app.get("/")
    def index() -> str:
        return "ok"

    def connect() -> None:
        """Accept everybody."""

    def echo(text: str) -> None:
        emit("echo", text)

    async def async_echo(text: str) -> None:
        emit("async_echo", text)

    def ack(text: str) -> str:
        return text

    def fan(number: str, text: str) -> None:
        emit("fan", (number, text), broadcast=True)

    for handler in (connect, echo, async_echo, ack, fan):
        socketio.on_event(handler.__name__, handler)
    return socketio


def serve_ours(socketio: SocketIO, port: int) -> None:
    """Serve until terminated; the form in a nursery, because it reports the port that it bound."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            [address] = await nursery.start(partial(serve_async, socketio, port=port))
            announce(address.port)

    trio.run(main)


def serve_hypercorn(socketio: SocketIO, port: int) -> None:
    """Serve on Hypercorn's trio worker until terminated."""
    from hypercorn.config import Config
    from hypercorn.trio import serve

    listener = listening_socket(port)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.loglevel = "WARNING"
    announce(listener.getsockname()[1])
    app: Any = socketio  # an ASGI callable, but not spelt with Hypercorn's own types
    trio.run(partial(serve, app, config, mode="asgi"))


def serve_uvicorn(socketio: SocketIO, port: int) -> None:
    """Serve on uvicorn until terminated."""
    import uvicorn

    listener = listening_socket(port)
    config = uvicorn.Config(
        socketio, loop="uvloop", http="httptools", ws="websockets-sansio", log_level="warning", access_log=False
    )
    announce(listener.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listener])


def main() -> None:
    """Start from the command line."""
    options = parser(__doc__)
    options.add_argument("--server", choices=("serve", "hypercorn", "uvicorn"), default="serve")
    chosen = options.parse_args()
    serve = {"serve": serve_ours, "hypercorn": serve_hypercorn, "uvicorn": serve_uvicorn}[chosen.server]
    serve(make_app(), chosen.port)


if __name__ == "__main__":
    main()
