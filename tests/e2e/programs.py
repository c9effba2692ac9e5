"""Programs that the tests start as processes: ``python -m tests.e2e.programs <name> [arguments]``.

Each is what a user could have written; the package is used by its public names only.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any


def serve(options: str = "{}") -> None:
    """Serve the application on a port of the system's choice; `options` is JSON for ``serve``."""
    import trioflask_sio
    from tests.e2e.app import app

    trioflask_sio.serve(app, **{"port": 0, **json.loads(options)})


def reference() -> None:
    """The same application on Flask-SocketIO, with threads on Werkzeug."""
    from tests.e2e.app import app, socketio

    socketio.run(app, port=0, allow_unsafe_werkzeug=True, log_output=True)


def two() -> None:
    """Two applications with a `SocketIO` each in one process, the second served from a thread of its own."""
    import trioflask_sio
    from tests.e2e.app import create

    (first, _), (second, _) = create(), create(cors_allowed_origins="*")
    threading.Thread(target=trioflask_sio.serve, args=(second,), kwargs={"port": 0}, daemon=True).start()
    trioflask_sio.serve(first, port=0)


def thread() -> None:
    """``serve`` in a thread that is not the main one, which waits for it."""
    import trioflask_sio
    from tests.e2e.app import app

    worker = threading.Thread(target=trioflask_sio.serve, args=(app,), kwargs={"port": 0}, daemon=True)
    worker.start()
    worker.join()


def patched() -> None:
    """``serve`` in a process that gevent has patched."""
    from gevent import monkey

    monkey.patch_all()
    serve()


def bare() -> None:
    """``serve`` with an application that has no `SocketIO`."""
    from flask import Flask

    import trioflask_sio

    trioflask_sio.serve(Flask("bare"), port=0)


def options(text: str) -> None:
    """``SocketIO(app, **options)``; `text` is JSON."""
    from tests.e2e.app import create

    create(**json.loads(text))


PROGRAMS: dict[str, Any] = {
    function.__name__: function for function in (serve, reference, two, thread, patched, bare, options)
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
