"""``python -m tests.parity.restored_server``: serves with every option that the second table of the page restores."""

from __future__ import annotations

from flask import Flask

from tests.parity.page import restoring_options
from trioflask_sio import SocketIO, serve


def main() -> None:
    """Serve on a free port until SIGTERM."""
    app = Flask("restored")
    socketio = SocketIO(app, **restoring_options())
    socketio.on_event("size", lambda data: len(data))
    serve(app, port=0)


if __name__ == "__main__":
    main()
