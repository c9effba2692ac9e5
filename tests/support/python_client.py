"""python-socketio's client, ended so that nothing of it is left.

When the server goes first, this client forgets its sockets without closing them; they would be reported as unclosed by
whatever test happens to run when the garbage collector finds them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import socketio

__all__ = ["python_client"]


@contextlib.contextmanager
def python_client() -> Iterator[socketio.Client]:
    """A client that does not reconnect, not connected yet; at the end of the block everything of it is closed."""
    client = socketio.Client(reconnection=False)
    try:
        yield client
    finally:
        opened = client.eio.ws
        client.shutdown()
        client.eio.wait()  # client.wait() would sleep a second to see whether it reconnects
        if opened is not None:
            opened.shutdown()
        if client.eio.http is not None:
            client.eio.http.close()
