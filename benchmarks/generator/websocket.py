"""WebSocket clients: from the TCP connection to the reply to CONNECT, and then whatever the scenario makes of them.

A client is a small state machine on one socket. While it connects, every step is parsed and checked; once it is ready,
subclasses take the readable socket over with a path of their own and come back to ``read_slowly`` for what they do not
recognise (pings, halves of frames, the first answers).
"""

import contextlib
import json
import socket
from collections.abc import Callable
from enum import Enum, auto

from benchmarks.generator import wire
from benchmarks.generator.reactor import Reactor

PATH = "/socket.io/?EIO=4&transport=websocket"
PONG = wire.client_frame("3")
CONNECT = wire.client_frame("40")
CLOSE = wire.client_frame((1000).to_bytes(2, "big"), wire.CLOSE)
READ_SIZE = 65536
CONNECT_TIMEOUT = 10.0
"""Seconds for one TCP connection; on the loopback a longer wait means a full accept queue."""
CONNECTING_AT_ONCE = 50
"""Below every peer's listen backlog (werkzeug's is 128): a full one would measure the kernel's SYN timer."""


class Stage(Enum):
    """How far a client has come."""

    UPGRADE = auto()
    OPEN = auto()
    CONNECT = auto()
    READY = auto()


class WebSocketClient:
    """One client; ``on_ready`` is called once, with the reply to CONNECT."""

    __slots__ = ("_buffer", "_reactor", "fd", "on_ready", "sid", "sock", "stage")

    def __init__(self, reactor: Reactor, port: int, on_ready: Callable[["WebSocketClient"], None]) -> None:
        self._reactor = reactor
        self._buffer = bytearray()
        self.on_ready = on_ready
        self.stage = Stage.UPGRADE
        self.sid = ""
        self.sock = socket.create_connection(("127.0.0.1", port), CONNECT_TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.fd = self.sock.fileno()
        reactor.add(self.fd, self.readable)
        self.sock.send(wire.upgrade_request(port, PATH))

    def receive(self) -> bytes:
        """What the socket holds; raises WireError when the server has closed it."""
        data = self.sock.recv(READ_SIZE)
        if not data:
            raise wire.WireError(f"the server closed a WebSocket in stage {self.stage.name}")
        return data

    def readable(self) -> None:
        """Called by the reactor."""
        self.read_slowly(self.receive())

    def read_slowly(self, data: bytes) -> None:
        """Parse everything that is whole, one frame after another."""
        self._buffer += data
        start = 0
        if self.stage is Stage.UPGRADE:
            start = self._read_upgrade()
        while self.stage is not Stage.UPGRADE and (frame := wire.next_frame(self._buffer, start)) is not None:
            raw = bytes(self._buffer[start : frame.end])
            start = frame.end
            self._take(frame, raw)
        del self._buffer[:start]

    @property
    def mid_frame(self) -> bool:
        """Whether the beginning of a frame is waiting for its end."""
        return bool(self._buffer)

    def _read_upgrade(self) -> int:
        head = wire.parse_head(self._buffer)
        if head is None:
            return 0
        if head.status != 101 or head.headers.get("sec-websocket-accept") != wire.WEBSOCKET_ACCEPT:
            raise wire.WireError(f"the upgrade was answered with {head.status} and {head.headers}")
        self.stage = Stage.OPEN
        return head.body_start

    def _take(self, frame: wire.Frame, raw: bytes) -> None:
        if frame.opcode == wire.PING:
            self.sock.send(wire.client_frame(frame.payload, wire.PONG))
            return
        if frame.opcode != wire.TEXT:
            raise wire.WireError(f"unexpected frame, opcode {frame.opcode}, {frame.payload[:60]!r}")
        text = frame.payload.decode()
        if text == "2":
            self.sock.send(PONG)
        elif self.stage is Stage.READY:
            self.message(text, raw)
        else:
            self._connecting(text)

    def _connecting(self, text: str) -> None:
        if self.stage is Stage.OPEN and text.startswith("0{"):
            self.stage = Stage.CONNECT
            self.sock.send(CONNECT)
        elif self.stage is Stage.CONNECT and text.startswith("40{"):
            self.sid = str(json.loads(text[2:])["sid"])
            self.stage = Stage.READY
            self.on_ready(self)
        else:
            raise wire.WireError(f"stage {self.stage.name}: unexpected {text[:60]!r}")

    def message(self, text: str, raw: bytes) -> None:
        """A Socket.IO packet after CONNECT; ``raw`` is the frame it came in."""
        raise wire.WireError(f"nothing was expected here, got {text[:60]!r} ({len(raw)} bytes)")

    def close(self) -> None:
        """Say goodbye (without waiting for the answer) and give the socket back."""
        self._reactor.remove(self.fd)
        with contextlib.suppress(OSError):  # the server may have been faster
            self.sock.send(CLOSE)
        self.sock.close()


def connect_all(
    reactor: Reactor, count: int, make: Callable[[Callable[[WebSocketClient], None]], WebSocketClient], timeout: float
) -> None:
    """Bring ``count`` clients to the reply to CONNECT, a few at a time; ``make`` builds one from its ``on_ready``."""
    ready = started = 0

    def on_ready(_client: WebSocketClient) -> None:
        nonlocal ready
        ready += 1

    def goal() -> bool:
        nonlocal started
        while started < count and started - ready < CONNECTING_AT_ONCE:
            started += 1
            make(on_ready)
        return ready == count

    reactor.run_until(goal, timeout, f"{count} clients connected")
