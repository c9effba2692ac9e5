"""python-socketio's client, ended so that nothing of it is left.

When the server goes first, this client forgets its sockets without closing them; they would be reported as unclosed by
whatever test happens to run when the garbage collector finds them.

When it goes first itself, over polling, it may forget its goodbye: see ``docs/design/caveats.md``.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator

import engineio
import requests
import socketio
from engineio.payload import Payload

__all__ = ["python_client"]


class _PoliteEngine(engineio.Client):  # type: ignore[misc]  # engineio has no types
    """An Engine.IO client that posts what its writer has left behind.

    The writer ends as soon as ``disconnect`` is in progress. A POST that was on its way at that moment makes it leave
    the goodbye in the queue, and ``disconnect`` then waits for a poll that nobody answers before the next ping.
    """

    def _write_loop(self) -> None:
        http = self.http  # the client forgets it at its end
        super()._write_loop()
        if http is None or self.state != "disconnecting" or self.current_transport != "polling":
            return
        packets = self._left_behind()
        if packets:
            with contextlib.suppress(requests.RequestException):  # the server may be gone: then nobody waits for it
                http.post(self.base_url, data=Payload(packets=packets).encode(), timeout=self.request_timeout)

    def _left_behind(self) -> list[engineio.packet.Packet]:
        packets: list[engineio.packet.Packet] = []
        with contextlib.suppress(queue.Empty):
            while (packet := self.queue.get_nowait()) is not None:
                packets.append(packet)
        return packets


class _PoliteClient(socketio.Client):  # type: ignore[misc]  # socketio has no types
    def _engineio_client_class(self) -> type[engineio.Client]:
        return _PoliteEngine


@contextlib.contextmanager
def python_client(http: requests.Session | None = None, *, serializer: str = "default") -> Iterator[socketio.Client]:
    """A client that does not reconnect, not connected yet; at the end of the block everything of it is closed.

    Args:
        http: what it sends its requests with; closed at the end, too.
        serializer: the form of packets.
    """
    client = _PoliteClient(reconnection=False, http_session=http, serializer=serializer)
    try:
        yield client
    finally:
        opened, writer = client.eio.ws, client.eio.write_loop_task
        client.shutdown()
        client.eio.wait()  # client.wait() would sleep a second to see whether it reconnects
        if writer is not None:
            writer.join()
        if opened is not None:
            opened.shutdown()
        if client.eio.http is not None:
            client.eio.http.close()
