"""Bytes by hand: HTTP requests and WebSocket frames that no well-behaved client would send."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Polling", "Reply", "WebSocket", "connected", "request", "websocket"]

SECONDS = 20.0
PATH = "/socket.io/"
TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9


@dataclass(frozen=True)
class Reply:
    """The answer to one HTTP request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> int:
        """The Engine.IO error code of a refusal (spec 3.2.1)."""
        return int(json.loads(self.body)["code"])

    @property
    def packets(self) -> list[str]:
        """The packets of a polling body."""
        return self.body.decode().split("\x1e")


def request(
    port: int, method: str, query: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """One request to the Socket.IO path, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, f"{PATH}?{query}", body, dict(headers or {}))
        reply = connection.getresponse()
        return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
    finally:
        connection.close()


@dataclass
class Polling:
    """A long-polling session, after its handshake."""

    port: int
    opened: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reply = request(self.port, "GET", "EIO=4&transport=polling")
        assert reply.status == 200, reply
        self.opened = json.loads(reply.packets[0][1:])

    @property
    def query(self) -> str:
        """What every further request of this session has in its URL."""
        return f"EIO=4&transport=polling&sid={self.opened['sid']}"

    def get(self) -> Reply:
        """Poll."""
        return request(self.port, "GET", self.query)

    def post(self, body: str | bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one body."""
        return request(self.port, "POST", self.query, body.encode() if isinstance(body, str) else body, headers)

    def collect(self, count: int) -> list[str]:
        """Poll until there are `count` messages; pings are answered and left out."""
        messages: list[str] = []
        while len(messages) < count:
            reply = self.get()
            assert reply.status == 200, reply
            for packet in reply.packets:
                if packet == "2":
                    self.post("3")
                elif packet.startswith("4"):
                    messages.append(packet[1:])
        return messages

    @contextlib.contextmanager
    def parked(self) -> Iterator[http.client.HTTPConnection]:
        """A poll that waits on the server for as long as the block lasts; read its answer with `getresponse`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("GET", f"{PATH}?{self.query}")
            yield connection
        finally:
            connection.close()


def connected(port: int, namespace: str = "/") -> tuple[Polling, str]:
    """A polling session that has joined a namespace, and its Socket.IO id."""
    session = Polling(port)
    prefix = "" if namespace == "/" else f"{namespace},"
    assert session.post(f"40{prefix}").status == 200
    (answer,) = session.collect(1)
    assert answer.startswith(f"0{prefix}"), answer
    return session, str(json.loads(answer[1 + len(prefix) :])["sid"])


class WebSocket:
    """A WebSocket of which every frame is written by hand."""

    def __init__(self, port: int, query: str, headers: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {PATH}?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n".encode()
        )
        self.stream = self.socket.makefile("rb")
        self.status = int(self.stream.readline().split()[1])
        self.headers: dict[str, str] = {}
        while (line := self.stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.lower()] = value.strip()

    def refusal(self) -> str:
        """The body of an answer that is not an upgrade."""
        length = self.headers.get("content-length")
        if length is not None:
            return self.stream.read(int(length)).decode()
        return self.stream.read().decode()

    def send(self, data: str | bytes) -> None:
        """One message as one masked frame."""
        payload = data.encode() if isinstance(data, str) else data
        self.send_frame(TEXT if isinstance(data, str) else BINARY, payload)

    def send_frame(self, opcode: int, payload: bytes, *, final: bool = True, length: int | None = None) -> None:
        """One masked frame. `length` lies about the size of `payload`, for frames that are never finished."""
        size = len(payload) if length is None else length
        mask = os.urandom(4)
        head = bytes([opcode | (0x80 if final else 0)])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0x80 | 126]) + struct.pack("!H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack("!Q", size)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.socket.sendall(head + mask + masked)

    def receive(self) -> str | bytes | int:
        """The next message; a close frame or the end of the stream as its code (1005: without one, 1006: no frame)."""
        while True:
            head = self.stream.read(2)
            if len(head) < 2:
                return 1006
            size = head[1] & 0x7F
            if size >= 126:
                size = int.from_bytes(self.stream.read(2 if size == 126 else 8), "big")
            payload = self.stream.read(size)
            opcode = head[0] & 0x0F
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005
            if opcode == TEXT:
                return payload.decode()
            if opcode == BINARY:
                return payload

    def closed(self) -> int:
        """Read until the server closes; the close code. A server that does not close is a timeout."""
        while isinstance(message := self.receive(), (str, bytes)):
            pass
        return message

    def close(self) -> None:
        """Drop the connection without a word."""
        self.stream.close()
        self.socket.close()


@contextlib.contextmanager
def websocket(port: int, query: str = "EIO=4&transport=websocket", headers: str = "") -> Iterator[WebSocket]:
    """A `WebSocket` that is dropped at the end of the block."""
    opened = WebSocket(port, query, headers)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def joined(port: int, namespace: str = "/") -> Iterator[tuple[WebSocket, str]]:
    """A WebSocket session that has joined a namespace, and its Socket.IO id."""
    prefix = "" if namespace == "/" else f"{namespace},"
    with websocket(port) as opened:
        assert str(opened.receive()).startswith("0{")
        opened.send(f"40{prefix}")
        answer = str(opened.receive())
        assert answer.startswith(f"40{prefix}"), answer
        yield opened, str(json.loads(answer[2 + len(prefix) :])["sid"])
