"""The servers under test: how each is started. ``E2E_PACKAGE=flask_socketio`` leaves one, the reference itself."""

from __future__ import annotations

import os

__all__ = ["ALL", "COMMANDS", "LONG", "REFERENCE"]

REFERENCE = os.environ.get("E2E_PACKAGE") == "flask_socketio"
MODULE = "tests.e2e.app:socketio"
OWN = {
    "serve": ("-m", "tests.e2e.programs", "serve"),
    "hypercorn": ("-m", "hypercorn", "-k", "trio", "-b", "127.0.0.1:0", MODULE),
    "uvicorn": ("-m", "uvicorn", "--port", "0", MODULE),
    "gunicorn": (
        *("-m", "gunicorn", "--worker-class", "asgi", "-w", "1"),
        *("-b", "127.0.0.1:0", "--no-control-socket", "--graceful-timeout", "2", MODULE),
    ),
}
COMMANDS = {"reference": ("-m", "tests.e2e.programs", "reference")} if REFERENCE else OWN
ALL = tuple(COMMANDS)
LONG = tuple(name for name in ALL if name != "gunicorn")
"""Those that go through every conversation; gunicorn's asgi worker goes through a short list."""
