"""Clients over plain HTTP/1.1: the long-polling transport, and requests to an ordinary view.

A connection is kept as long as the server keeps it; one that closes after each response (werkzeug's development server
speaks HTTP/1.0) is opened anew, which is then part of that server's price.
"""

import json
import socket
from collections.abc import Callable

from benchmarks.generator import wire
from benchmarks.generator.reactor import Reactor
from benchmarks.generator.websocket import CONNECT_TIMEOUT, READ_SIZE

PATH = "/socket.io/?EIO=4&transport=polling"


class HttpConnection:
    """One request after another; ``answered`` is called with each response."""

    __slots__ = ("_answered", "_port", "_reactor", "_reader", "sock")

    def __init__(self, reactor: Reactor, port: int, answered: Callable[[wire.Response], None]) -> None:
        self._reactor, self._port, self._answered = reactor, port, answered
        self._reader = wire.ResponseReader()
        self.sock: socket.socket | None = None

    def request(self, data: bytes) -> None:
        """Send one whole request."""
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self._port), CONNECT_TIMEOUT)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock.setblocking(False)
            self._reactor.add(self.sock.fileno(), self._readable)
        self.sock.send(data)

    def _readable(self) -> None:
        if self.sock is None:
            return
        try:
            data = self.sock.recv(READ_SIZE)
        except ConnectionResetError:
            data = b""
        response = self._reader.feed(data)
        if not data or (response is not None and not response.keeps_connection):
            self.close()
        if response is not None:
            if response.status != 200:
                raise wire.WireError(f"answered with {response.status}: {response.body[:80]!r}")
            self._answered(response)

    def close(self) -> None:
        """Give the socket back."""
        if self.sock is not None:
            self._reactor.remove(self.sock.fileno())
            self.sock.close()
            self.sock = None
            self._reader = wire.ResponseReader()


class PollingClient:
    """A Socket.IO client on long-polling: a poll is always parked, one echo is in flight beside it.

    An echo counts when both the POST was answered and the poll has brought the reply.
    """

    __slots__ = (
        "_echo",
        "_expected",
        "_get",
        "_owes_pong",
        "_poll",
        "_port",
        "_post",
        "_posted",
        "_url",
        "on_ready",
        "ready",
        "received",
        "sending",
        "sent",
    )

    def __init__(self, reactor: Reactor, port: int, on_ready: Callable[[], None], text: str) -> None:
        self._port = port
        self._get = HttpConnection(reactor, port, self._polled)
        self._post = HttpConnection(reactor, port, self._post_answered)
        self._url, self._poll = PATH, wire.http_request(port, "GET", PATH)
        self._echo = wire.event("echo", text).encode()
        self._expected = wire.Answer("42", None, ["echo", text])
        self._posted = True
        self._owes_pong = False  # the answer to a ping travels with the next echo
        self.on_ready = on_ready
        self.ready, self.sending = False, True
        self.received = self.sent = 0
        self._get.request(self._poll)

    def start(self) -> None:
        """Post the first echo."""
        self.sent += 1
        self._posted = False
        body = b"3" + wire.RECORD_SEPARATOR.encode() + self._echo if self._owes_pong else self._echo
        self._owes_pong = False
        self._post.request(wire.http_request(self._port, "POST", self._url, body))

    @property
    def owed(self) -> int:
        """Echoes whose reply or whose POST's answer is still to come."""
        missing = self.sent - self.received
        return missing if self._posted else max(1, missing)

    def _post_answered(self, response: wire.Response) -> None:
        if response.body.lower() != b"ok":
            raise wire.WireError(f"a POST was answered with {response.body[:60]!r}")
        self._posted = True
        self._next()

    def _next(self) -> None:
        if self.ready and self.sending and self.owed == 0:
            self.start()

    def _polled(self, response: wire.Response) -> None:
        for packet in response.body.decode().split(wire.RECORD_SEPARATOR):
            self._take(packet)
        self._get.request(self._poll)
        self._next()

    def _take(self, packet: str) -> None:
        if packet.startswith("0{"):
            self._url = f"{PATH}&sid={json.loads(packet[1:])['sid']}"
            self._poll = wire.http_request(self._port, "GET", self._url)
            self._posted = False
            self._post.request(wire.http_request(self._port, "POST", self._url, b"40"))
        elif packet.startswith("40{"):
            self.ready = True
            self.on_ready()
        elif packet == "2":
            self._owes_pong = True
        elif packet != "6":
            if wire.parse_answer(packet) != self._expected:
                raise wire.WireError(f"a wrong reply: {packet[:80]!r}")
            self.received += 1

    def close(self) -> None:
        """Vanish."""
        self._get.close()
        self._post.close()


class ViewClient:
    """Requests one path over and over and checks the body."""

    __slots__ = ("_connection", "_expected", "_request", "received", "sending", "sent")

    def __init__(self, reactor: Reactor, port: int, path: str, expected: bytes) -> None:
        self._connection = HttpConnection(reactor, port, self._answered)
        self._request = wire.http_request(port, "GET", path)
        self._expected = expected
        self.received = self.sent = 0
        self.sending = True

    def start(self) -> None:
        """Send the first request."""
        self.sent += 1
        self._connection.request(self._request)

    @property
    def owed(self) -> int:
        """Responses that are still to come."""
        return self.sent - self.received

    def _answered(self, response: wire.Response) -> None:
        if response.body != self._expected:
            raise wire.WireError(f"a wrong body: {response.body[:60]!r}")
        self.received += 1
        if self.sending:
            self.start()

    def close(self) -> None:
        """Vanish."""
        self._connection.close()
