"""Bytes of the wire, built and parsed: WebSocket frames, HTTP/1.1 heads and bodies, Engine.IO and Socket.IO texts.

Pure functions and one incremental HTTP reader; no sockets. Written against the RFCs (6455, 9112) and the two protocol
documents, on purpose not sharing a line with the server it measures: a mistake made on both sides would not be seen.
"""

import base64
import hashlib
import json
from typing import NamedTuple

MASK_KEY = b"\x9d\x31\xc4\x5a"
"""One key for all frames: not zero, so that no server gets the work of unmasking for nothing, and constant, so that a
frame is built once and sent a million times."""

WEBSOCKET_KEY = base64.b64encode(b"trioflask-bench!").decode()
WEBSOCKET_ACCEPT = base64.b64encode(
    hashlib.sha1(WEBSOCKET_KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
).decode()

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
RECORD_SEPARATOR = "\x1e"


class WireError(Exception):
    """The server sent something that the protocol does not allow here."""


class Frame(NamedTuple):
    """One WebSocket frame and the offset at which the next one begins."""

    opcode: int
    payload: bytes
    end: int


def mask(payload: bytes, key: bytes = MASK_KEY) -> bytes:
    """XOR ``payload`` with the repeated ``key`` (RFC 6455, 5.3); its own inverse."""
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")


def _length(size: int, bit: int) -> bytes:
    if size < 126:
        return bytes([bit | size])
    if size < 65536:
        return bytes([bit | 126]) + size.to_bytes(2, "big")
    return bytes([bit | 127]) + size.to_bytes(8, "big")


def client_frame(message: str | bytes, opcode: int | None = None) -> bytes:
    """One whole masked frame, as a client must send it."""
    payload = message.encode() if isinstance(message, str) else message
    if opcode is None:
        opcode = TEXT if isinstance(message, str) else BINARY
    return bytes([0x80 | opcode]) + _length(len(payload), 0x80) + MASK_KEY + mask(payload)


def server_frame(message: str | bytes, opcode: int = TEXT) -> bytes:
    """One whole unmasked frame, as a server must send it (for tests)."""
    payload = message.encode() if isinstance(message, str) else message
    return bytes([0x80 | opcode]) + _length(len(payload), 0) + payload


def next_frame(data: bytes | bytearray, start: int = 0) -> Frame | None:
    """The frame that begins at ``start``, or None while it is incomplete.

    Raises WireError for what no server under measurement may send: a masked or a fragmented frame, a reserved bit.
    """
    available = len(data) - start
    if available < 2:
        return None
    first, size = data[start], data[start + 1]
    if size & 0x80:
        raise WireError("the server sent a masked frame")
    if first & 0xF0 != 0x80:
        raise WireError(f"the server sent a fragment or a reserved bit (first byte {first:#04x})")
    head = 2
    if size >= 126:
        head = 4 if size == 126 else 10
        if available < head:
            return None
        size = int.from_bytes(data[start + 2 : start + head], "big")
    end = start + head + size
    if len(data) < end:
        return None
    return Frame(first & 0x0F, bytes(data[start + head : end]), end)


def event(name: str, *args: object, ack_id: int | None = None) -> str:
    """The Engine.IO text of a Socket.IO event in the default namespace."""
    return f"42{'' if ack_id is None else ack_id}{json.dumps([name, *args], separators=(',', ':'))}"


class Answer(NamedTuple):
    """A Socket.IO event or acknowledgement from the server: packet type, acknowledgement id (or None) and its data."""

    kind: str
    ack_id: int | None
    data: list[object]


def parse_answer(text: str) -> Answer:
    """Read ``42[...]`` or ``43<id>[...]``; raises WireError for everything else."""
    kind, start = text[:2], text.find("[")
    if kind not in ("42", "43") or start < 0:
        raise WireError(f"expected an event or an acknowledgement, got {text[:60]!r}")
    digits = text[2:start]
    if digits and not digits.isdecimal():
        raise WireError(f"unreadable acknowledgement id in {text[:60]!r}")
    data = json.loads(text[start:])
    return Answer(kind, int(digits) if digits else None, data)


def upgrade_request(port: int, path: str) -> bytes:
    """The opening handshake of a WebSocket without extensions."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n"
    ).encode()


def http_request(port: int, method: str, path: str, body: bytes = b"") -> bytes:
    """A plain HTTP/1.1 request; one with a body is sent as ``text/plain``, like Engine.IO clients do."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    if method == "POST":
        lines += ["Content-Type: text/plain;charset=UTF-8", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Head(NamedTuple):
    """Status and headers (names in lower case) of a response, and where its body begins."""

    status: int
    headers: dict[str, str]
    body_start: int
    http_1_0: bool

    @property
    def keeps_connection(self) -> bool:
        """Whether the connection stays open after the body."""
        wish = self.headers.get("connection", "").lower()
        return wish == "keep-alive" if self.http_1_0 else wish != "close"


def parse_head(data: bytes | bytearray) -> Head | None:
    """The head of a response, or None while it is incomplete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    status_line, *lines = bytes(data[:end]).decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise WireError(f"not a status line: {status_line[:60]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Head(int(rest[:3]), headers, end + 4, version == "HTTP/1.0")


class Response(NamedTuple):
    """One whole HTTP response."""

    status: int
    body: bytes
    keeps_connection: bool


class ResponseReader:
    """Bytes of one connection in, whole responses out.

    Knows Content-Length, chunked bodies and bodies that end with the connection.
    """

    __slots__ = ("_buffer", "_head")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: Head | None = None

    def feed(self, data: bytes) -> Response | None:
        """Take ``data`` (empty: the connection has ended); returns the response that is complete with it, if one is."""
        self._buffer += data
        if self._head is None:
            self._head = parse_head(self._buffer)
            if self._head is None:
                return None
            del self._buffer[: self._head.body_start]
        body = self._take_body(self._head, ended=not data)
        if body is None:
            return None
        response = Response(self._head.status, body, self._head.keeps_connection)
        self._head = None
        return response

    def _take_body(self, head: Head, *, ended: bool) -> bytes | None:
        if head.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._take_chunks()
        size = head.headers.get("content-length")
        if size is None:
            return bytes(self._buffer) if ended else None
        if len(self._buffer) < int(size):
            return None
        body = bytes(self._buffer[: int(size)])
        del self._buffer[: int(size)]
        return body

    def _take_chunks(self) -> bytes | None:
        body, start = bytearray(), 0
        while True:
            line_end = self._buffer.find(b"\r\n", start)
            if line_end < 0:
                return None
            size = int(bytes(self._buffer[start:line_end]).split(b";")[0], 16)
            start, line_end = line_end + 2, line_end + 2 + size
            if len(self._buffer) < line_end + 2:
                return None
            body += self._buffer[start:line_end]
            start = line_end + 2
            if size == 0:
                del self._buffer[:start]
                return bytes(body)
