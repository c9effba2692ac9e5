"""What the bridge's tests share: a served ``SocketIO`` without a network, and small Socket.IO clients in memory.

``serving`` is what ``serve`` does, minus the listener. Leaving it proves that nothing is left. Worker threads are real,
so nothing here uses a virtual clock and nothing sleeps to wait: tests wait for packets, for ``Flag`` and for deadlines.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.abc import TaskGroup
from flask import Flask, request

from trioflask_sio import SocketIO
from trioflask_sio.bridge.runtime import Runtime
from trioflask_sio.protocol.sio_binary import Assembler
from trioflask_sio.protocol.sio_packet import (
    Ack,
    Connect,
    ConnectError,
    Disconnect,
    Event,
    encode_ack,
    encode_connect,
    encode_disconnect,
    encode_event,
)
from trioflask_sio.testing.wires import EngineClient, SocketClient, SocketClosed

req: Any = request
"""Flask's request with what each event adds to it."""

DEADLINE = 10.0
"""Seconds after which a test that hangs fails; never waited for otherwise."""

SOON = 10.0
"""Seconds a thread of a test waits for another one at most."""


def make(**options: Any) -> SocketIO:
    """A ``SocketIO`` on an application of its own. Order is exact: no handler is ever called a long one."""
    app = Flask("bridge")
    app.secret_key = "test"
    options.setdefault("overlap_after", 30.0)
    return SocketIO(app, **options)


class Flag:
    """Something that happens once, in any thread, and that threads and tasks wait for."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self) -> None:
        """From a thread."""
        assert self._event.wait(SOON), "what a thread waits for has not happened"

    async def seen(self) -> None:
        """From a task."""
        assert await anyio.to_thread.run_sync(self._event.wait, SOON), "what a task waits for has not happened"


class Refused(Exception):
    """The server has refused a namespace; ``data`` is what the client reads."""

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.data = data


class Left(Exception):
    """The server has put the client out of a namespace."""


@dataclass(frozen=True)
class Got:
    """An event that the client received."""

    name: Any
    args: list[Any]
    namespace: str = "/"
    id: int | None = None


class Peer:
    """One client with its WebSocket.

    Packets of the server are read when somebody asks for one of a kind; the others wait in order.
    """

    def __init__(self, wire: SocketClient) -> None:
        self.wire = wire
        self.sids: dict[str, str] = {}
        self._assembler = Assembler()
        self._waiting: deque[Any] = deque()
        self._last_id = 0

    # --- out ----------------------------------------------------------------------------------------------------

    def send(self, *messages: str | bytes) -> None:
        """Raw Socket.IO messages."""
        self.wire.send(*(f"4{message}" if isinstance(message, str) else message for message in messages))

    async def connect(self, namespace: str = "/", auth: Any = None) -> str:
        """Join a namespace; the sid.

        Raises:
            Refused: the server would not have it.
        """
        self.start_connect(namespace, auth)
        return await self.connected(namespace)

    def start_connect(self, namespace: str = "/", auth: Any = None) -> None:
        self.send(*encode_connect(namespace, auth))

    async def connected(self, namespace: str = "/") -> str:
        """The outcome of ``start_connect``."""
        packet = await self._take(lambda p: isinstance(p, (Connect, ConnectError)) and p.namespace == namespace)
        if isinstance(packet, ConnectError):
            raise Refused(packet.data)
        self.sids[namespace] = packet.data["sid"]
        return self.sid(namespace)

    def sid(self, namespace: str = "/") -> str:
        return self.sids[namespace]

    def emit(self, name: Any, *args: Any, namespace: str = "/") -> None:
        self.send(*encode_event(namespace, name, args))

    def burst(self, name: Any, values: Any, namespace: str = "/") -> None:
        """One event per value, all arriving together."""
        self.send(*(message for value in values for message in encode_event(namespace, name, (value,))))

    def start_ask(self, name: Any, *args: Any, namespace: str = "/") -> int:
        """Emit with an acknowledgement; its id for ``acked``."""
        self._last_id += 1
        self.send(*encode_event(namespace, name, args, self._last_id))
        return self._last_id

    async def ask(self, name: Any, *args: Any, namespace: str = "/") -> list[Any]:
        """Emit and wait for the acknowledgement's arguments."""
        return await self.acked(self.start_ask(name, *args, namespace=namespace))

    async def acked(self, number: int) -> list[Any]:
        packet = await self._take(lambda p: isinstance(p, Ack) and p.id == number)
        return list(packet.data)

    def answer(self, event: Got, *args: Any) -> None:
        """Acknowledge an event."""
        assert event.id is not None, f"{event} asks for no answer"
        self.send(*encode_ack(event.namespace, event.id, args))

    def leave(self, namespace: str = "/") -> None:
        """Leave a namespace, keep the connection."""
        self.send(*encode_disconnect(namespace))

    def close(self) -> None:
        """Close the WebSocket orderly."""
        self.wire.close()

    def cut(self) -> None:
        """Lose the connection."""
        self.wire.cut()

    async def ended(self) -> None:
        """The server has nothing to do with this connection any more."""
        await self.wire.wait_finished()

    # --- in -----------------------------------------------------------------------------------------------------

    async def next(self, name: Any = None, namespace: str = "/") -> Got:
        """The next event, or the next of this name."""
        packet = await self._take(
            lambda p: isinstance(p, Event) and p.namespace == namespace and name in (None, p.data[0])
        )
        return Got(packet.data[0], packet.data[1:], packet.namespace, packet.id)

    async def value(self, name: Any = None, namespace: str = "/") -> Any:
        """The only argument of the next event."""
        event = await self.next(name, namespace)
        assert len(event.args) == 1, event
        return event.args[0]

    async def values(self, count: int, name: Any = None) -> list[Any]:
        return [await self.value(name) for _ in range(count)]

    async def put_out(self, namespace: str = "/") -> None:
        """Return when the server has put the client out of the namespace."""
        await self._take(lambda p: isinstance(p, Disconnect) and p.namespace == namespace)

    async def names_until(self, name: str) -> list[Any]:
        """The names of the events up to the first ``name``, without it."""
        names = []
        while (event := await self.next()).name != name:
            names.append(event.name)
        return names

    async def _take(self, wanted: Callable[[Any], bool]) -> Any:
        for packet in self._waiting:
            if wanted(packet):
                self._waiting.remove(packet)
                return packet
        while True:
            packet = await self._read()
            if wanted(packet):
                return packet
            self._waiting.append(packet)

    async def _read(self) -> Any:
        while True:
            message = await self.wire.receive()
            if isinstance(message, str):
                if message[0] != "4":
                    continue
                message = message[1:]
            packet = self._assembler.feed(message)
            if packet is not None:
                return packet


class Net:
    """A served ``SocketIO`` and the hands of its clients."""

    def __init__(self, socketio: SocketIO, runtime: Runtime, connections: TaskGroup) -> None:
        self.socketio = socketio
        self.runtime = runtime
        self.connections = connections
        self.client = EngineClient(runtime.engine, connections)

    @property
    def hub(self) -> Any:
        return self.runtime.hub

    async def open(self) -> Peer:
        """A connection that is in no namespace yet."""
        wire = self.client.socket({"EIO": "4", "transport": "websocket"})
        assert await wire.wait_open() is None
        greeting = await wire.receive()
        assert str(greeting).startswith("0{")
        return Peer(wire)

    async def peer(self, namespace: str = "/", auth: Any = None) -> Peer:
        """A client of a namespace."""
        peer = await self.open()
        await peer.connect(namespace, auth)
        return peer

    async def peers(self, count: int) -> list[Peer]:
        return [await self.peer() for _ in range(count)]

    async def empty(self) -> None:
        """Return when the last client's disconnect handler has ended."""
        await self.empty_but(0)

    async def empty_but(self, count: int) -> None:
        """Return when so many sockets are left."""
        await until(lambda: len(self.hub.sockets) == count)


async def until(true: Callable[[], bool]) -> None:
    """Give way to everybody until something is so; the surrounding deadline ends it."""
    while not true():  # noqa: ASYNC110 - worker threads make it so, and they have no event to offer
        await anyio.sleep(0.001)


@asynccontextmanager
async def serving(socketio: SocketIO, *, shutdown_timeout: float = 5.0) -> AsyncIterator[Net]:
    """Serve it for the time of the block. Leaving proves that no session and no socket is left."""
    runtime = socketio.next_runtime()
    with anyio.fail_after(DEADLINE):
        async with runtime.running(shutdown_timeout), anyio.create_task_group() as hosting:
            await hosting.start(runtime.run_engine)
            async with anyio.create_task_group() as connections:
                yield Net(socketio, runtime, connections)
                await runtime.farewell()
                connections.cancel_scope.cancel()
            hosting.cancel_scope.cancel()
    assert not runtime.engine.sessions
    assert not runtime.hub.sockets


async def in_thread(fn: Callable[..., Any], *args: Any) -> Any:
    """Run it in a thread that the library knows nothing of."""
    return await anyio.to_thread.run_sync(lambda: fn(*args))


async def gone(peer: Peer) -> None:
    """The server has closed the connection."""
    try:
        while True:
            await peer._read()
    except SocketClosed:
        return


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged as an error."""
    return [record for record in caplog.records if record.levelno >= logging.ERROR]
