"""``SocketIOTestClient``: a client in the test's own process and thread (spec 1.12).

It drives the real hub and dispatcher over a session in memory: what is emitted is really encoded and decoded, handlers
run in the calling thread before ``emit`` returns, and their exceptions reach the test. No event loop, no server, no
thread, except for asynchronous handlers.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from flask import Flask
from flask.testing import EnvironBuilder, FlaskClient

from trioflask_sio.bridge.local import LocalRuntime
from trioflask_sio.exceptions import UsageError
from trioflask_sio.protocol.limits import Limits
from trioflask_sio.protocol.sio_binary import Assembler
from trioflask_sio.protocol.sio_packet import (
    Ack,
    Connect,
    ConnectError,
    Disconnect,
    Event,
)

if TYPE_CHECKING:
    from trioflask_sio.bridge.extension import SocketIO
    from trioflask_sio.engine.reasons import CloseReason
    from trioflask_sio.hub.ports import SessionPort
    from trioflask_sio.protocol.outgoing import Outgoing

__all__ = ["SocketIOTestClient"]

LIMITS = Limits(max_attachments=10_000)
"""What a test may receive in one packet: a test client is no browser and refuses nothing."""


class _Session:
    """An engine session in memory: what the hub sends goes straight to the test client."""

    def __init__(self, eio_sid: str, deliver: Callable[[Outgoing], None]) -> None:
        self.eio_sid = eio_sid
        self.transport = "websocket"
        self.request: Any = None
        self.closed = False
        self.upper: object | None = None
        self.awaiting_answer: Callable[[], bool] = bool
        self._deliver = deliver

    def enqueue(self, item: Outgoing) -> bool:
        """A packet for the client."""
        self._deliver(item)
        return True

    send = enqueue

    def can_take_now(self) -> bool:
        """Always."""
        return True

    def close(self, reason: CloseReason, *, flush: bool = True) -> None:
        """The client broke the protocol; a test client that does so is the test's mistake."""
        raise UsageError(f"The test client sent something that no client may send ({reason.detail}).")

    def confirm(self) -> None:
        """There is no connect timeout."""

    def hold(self, size: int) -> None:
        """There is no reader to pause."""

    release = hold


class SocketIOTestClient:
    """A Socket.IO client for tests.

    Args:
        app: the Flask application.
        socketio: its ``SocketIO``.
        namespace: connected to at once; default ``/``.
        query_string: of the handshake, with or without its question mark.
        headers: of the handshake.
        auth: the CONNECT packet's payload.
        flask_test_client: ``app.test_client()`` whose cookies (and so session) the handshake carries.

    A refused connection raises nothing: ask ``is_connected``. ``connect_error`` then holds what the client was told.
    """

    __test__ = False  # pytest must not take this for a test case
    clients: ClassVar[dict[str, SocketIOTestClient]] = {}

    def __init__(
        self,
        app: Flask,
        socketio: SocketIO,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        auth: Any = None,
        flask_test_client: FlaskClient | None = None,
    ) -> None:
        self.app = app
        self.socketio = socketio
        self.flask_test_client = flask_test_client
        self.eio_sid = uuid.uuid4().hex
        self.connected: dict[str, bool] = {}
        self.queue: list[dict[str, Any]] = []
        self.acks: list[Any] | None = None
        self.callback_counter = 0
        self.connect_error: Any = None
        self._codec = socketio.options.hub.codec()
        self._assembler: Assembler | None = None
        self._session = _Session(self.eio_sid, self._receive)
        self._runtime = cast("LocalRuntime", socketio.local_runtime())
        self._port = cast("SessionPort", self._session)
        self._runtime.engine.sessions[self.eio_sid] = self._session
        SocketIOTestClient.clients[self.eio_sid] = self
        self._runtime.border.call(self._runtime.hub.session_opened, self._port)
        self.connect(namespace, query_string, headers, auth)

    # --- what a test does -----------------------------------------------------------------------------------------

    def is_connected(self, namespace: str | None = None) -> bool:
        """Whether the client is connected to ``namespace`` (default ``/``)."""
        return self.connected.get(namespace or "/", False)

    def connect(
        self,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        auth: Any = None,
    ) -> None:
        """Connect to a namespace; arguments as for the constructor.

        A second namespace, or a second time, is the same connection with a new handshake: its environ is replaced and
        the managed session is forked anew (spec 1.12.4).
        """
        name = namespace or "/"
        if self.is_connected(name):
            return
        self._session.request = self._environ(query_string, headers)
        client: Any = self._session.upper
        client.upper = None
        self.connected[name] = False
        self._feed(self._codec.connect(name, auth))

    def disconnect(self, namespace: str | None = None) -> None:
        """Leave a namespace; its disconnect handler has run when this returns.

        Raises:
            RuntimeError: not connected to it.
        """
        name = self._checked(namespace)
        del self.connected[name]
        self._feed(self._codec.disconnect(name))

    def emit(self, event: str, *args: Any, callback: bool = False, namespace: str | None = None, **ignored: Any) -> Any:
        """Emit to the server; the handlers have run when this returns.

        Args:
            event: the event's name.
            *args: its arguments.
            callback: True asks for an acknowledgement.
            namespace: default ``/``.
            **ignored: accepted and ignored, as Flask-SocketIO does.

        Returns:
            The acknowledgement: its one argument, or a list of them; None when none came.

        Raises:
            RuntimeError: not connected to the namespace.
            Exception: whatever a handler raised and no error handler took.
        """
        name = self._checked(namespace)
        ack_id = None
        if callback:
            self.callback_counter += 1
            ack_id = self.callback_counter
        self.acks = None
        self._feed(self._codec.event(name, event, args, ack_id))
        return self._answer()

    def _answer(self) -> Any:
        acks, self.acks = self.acks, None
        if acks is None or len(acks) != 1:
            return acks
        return acks[0]

    def send(self, data: Any, json: bool = False, callback: bool = False, namespace: str | None = None) -> Any:
        """Emit the event ``message`` (``json=True``: ``json``); as :meth:`emit`."""
        return self.emit("json" if json else "message", data, callback=callback, namespace=namespace)

    def get_received(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """Take what the client has received in a namespace, oldest first.

        Returns:
            Dicts with ``name``, ``args`` and ``namespace``; ``args`` is the first argument itself for ``message`` and
            ``json``, else the list of arguments.

        Raises:
            RuntimeError: not connected to the namespace.
        """
        name = self._checked(namespace)
        taken = [entry for entry in self.queue if entry["namespace"] == name]
        self.queue = [entry for entry in self.queue if entry["namespace"] != name]
        return taken

    # --- the way there and back -------------------------------------------------------------------------------------

    def _checked(self, namespace: str | None) -> str:
        name = namespace or "/"
        if not self.is_connected(name):
            raise RuntimeError("not connected")
        return name

    def _feed(self, messages: tuple[str | bytes, ...]) -> None:
        runtime = self._runtime
        for message in messages:
            runtime.border.call(runtime.hub.message_received, self._port, message)
        runtime.settle()

    def _environ(self, query: str | None, headers: Any) -> dict[str, Any]:
        """The handshake's WSGI environ, with the Flask test client's defaults and cookies where there is one."""
        path = "/" + self.socketio.options.path.strip("/") + "/"
        base: dict[str, Any] = {}
        if self.flask_test_client is not None:
            base = dict(getattr(self.flask_test_client, "environ_base", None) or {})
        builder = EnvironBuilder(
            self.app, path, query_string=query.lstrip("?") if query else None, headers=headers, environ_base=base
        )
        try:
            environ = builder.get_environ()
        finally:
            builder.close()
        if self.flask_test_client is not None:
            self.flask_test_client._add_cookies_to_wsgi(environ)
        environ["flask.app"] = self.app
        return dict(environ)

    def _receive(self, item: Outgoing) -> None:
        for message in item.messages:
            found = self._codec.start(message, LIMITS) if self._assembler is None else self._assembler.feed(message)
            if isinstance(found, Assembler):
                self._assembler = found
            elif found is not None:
                self._assembler = None
                self._take(found)

    def _take(self, packet: object) -> None:
        if isinstance(packet, Event):
            name, args = str(packet.data[0]), list(packet.data[1:])
            shown: Any = (args[0] if args else None) if name in ("message", "json") else args
            self.queue.append({"name": name, "args": shown, "namespace": packet.namespace})
        elif isinstance(packet, Ack):
            self.acks = list(packet.data)
        elif isinstance(packet, Connect):
            self.connected[packet.namespace] = True
        elif isinstance(packet, (Disconnect, ConnectError)):
            self.connected[packet.namespace] = False
            if isinstance(packet, ConnectError):
                self.connect_error = packet.data
