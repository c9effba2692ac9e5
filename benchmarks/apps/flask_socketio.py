"""Flask-SocketIO on gevent (with gevent-websocket) or on threads (werkzeug, simple-websocket).

The servers are built as ``SocketIO.run`` builds them; it is not called because it cannot tell which port it bound.
"""

import logging
from typing import Any

from benchmarks.apps.common import SECRET, announce, parser


def make_app(async_mode: str) -> Any:
    """The Flask application with its events."""
    from flask import Flask
    from flask_socketio import SocketIO, emit

    app = Flask(__name__)
    app.secret_key = SECRET
    socketio = SocketIO(app, async_mode=async_mode)

    @app.get("/")
    def index() -> str:
        return "ok"

    def connect() -> None:
        """Accept everybody."""

    def echo(text: str) -> None:
        emit("echo", text)

    def async_echo(text: str) -> None:
        emit("async_echo", text)

    def ack(text: str) -> str:
        return text

    def fan(number: str, text: str) -> None:
        emit("fan", (number, text), broadcast=True)

    for handler in (connect, echo, async_echo, ack, fan):
        socketio.on_event(handler.__name__, handler)
    return app


def serve_gevent(port: int) -> None:
    """Serve on gevent until terminated."""
    from gevent import monkey

    monkey.patch_all()
    from gevent import pywsgi
    from geventwebsocket.handler import WebSocketHandler

    server = pywsgi.WSGIServer(("127.0.0.1", port), make_app("gevent"), handler_class=WebSocketHandler, log=None)
    server.start()
    announce(server.socket.getsockname()[1])
    server.serve_forever()


def serve_threading(port: int) -> None:
    """Serve on one thread per connection until terminated."""
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", port, make_app("threading"), threaded=True)
    announce(server.server_port)
    server.serve_forever()


def main() -> None:
    """Start from the command line."""
    options = parser(__doc__)
    options.add_argument("--async-mode", choices=("gevent", "threading"), default="gevent")
    chosen = options.parse_args()
    {"gevent": serve_gevent, "threading": serve_threading}[chosen.async_mode](chosen.port)


if __name__ == "__main__":
    main()
