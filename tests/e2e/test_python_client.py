"""python-socketio's synchronous client against every server: the conversations of client.js in short.

This client runs each event in a thread of its own, so the order in which its handlers note things proves nothing: order
is shown by client.js. By default it drops a poll that holds more than 16 packets, a limit that its own server does not
keep either; here it is raised, as its documentation says to do.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from typing import Any

import pytest
import socketio as python_socketio
from engineio.payload import Payload

from tests.e2e.kinds import ALL
from tests.support.python_client import python_client
from tests.support.servers import Server

MODES = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
SECONDS = 20
Payload.max_decode_packets = 100_000

on_every_server = pytest.mark.parametrize("server", ALL, indirect=True)
over_every_transport = pytest.mark.parametrize("mode", MODES)
pytestmark = [on_every_server, over_every_transport]


class Visitor:
    """A connected client; `heard` is every event of every namespace as ``(namespace, event, args)``."""

    def __init__(self, client: python_socketio.Client, server: Server, mode: str, namespaces: list[str]) -> None:
        self.client = client
        self.heard: queue.Queue[tuple[str, str, tuple[Any, ...]]] = queue.Queue()
        self.questions: list[tuple[Any, ...]] = []
        for namespace in namespaces:
            self.client.on("*", self._hear(namespace), namespace=namespace)
        self.client.on("question", self._answer)
        client.connect(server.url, transports=MODES[mode], namespaces=namespaces, wait_timeout=SECONDS)

    def _hear(self, namespace: str) -> Any:
        return lambda event, *args: self.heard.put((namespace, event, args))

    def _answer(self, *args: Any) -> Any:
        self.questions.append(args)
        return ("answer to", *args)

    def next(self) -> tuple[str, str, tuple[Any, ...]]:
        return self.heard.get(timeout=SECONDS)

    def ask(self, event: str, *args: Any, namespace: str = "/") -> Any:
        return self.client.call(event, args, namespace=namespace, timeout=SECONDS)


@contextlib.contextmanager
def visiting(server: Server, mode: str, *namespaces: str) -> Iterator[Visitor]:
    with python_client() as client:
        yield Visitor(client, server, mode, list(namespaces) or ["/"])


def test_events_and_acks(server: Server, mode: str) -> None:
    with visiting(server, mode) as visitor:
        visitor.client.emit("echo", ("text", 7, None, {"a": [1.5, "ü 😀"]}))
        assert visitor.next() == ("/", "echoed", ("text", 7, None, {"a": [1.5, "ü 😀"]}))
        assert visitor.ask("ask", 1, "two") == (1, "two")
        assert visitor.ask("echo") is None


def test_the_server_asks(server: Server, mode: str) -> None:
    with visiting(server, mode) as visitor:
        visitor.client.emit("question me", (6, "times"))
        assert visitor.next() == ("/", "you said", ("answer to", 6, "times"))
        assert visitor.ask("call me", "a") == ["answer to", "a"]
        assert visitor.questions == [(6, "times"), ("a",)]


def test_binary(server: Server, mode: str) -> None:
    sent = {"a": [b"one", {"b": bytes(range(256))}], "c": "text"}
    with visiting(server, mode) as visitor:
        assert visitor.ask("ask", sent) == sent
        visitor.client.emit("echo", (b"", sent))
        assert visitor.next() == ("/", "echoed", (b"", sent))


def test_namespaces(server: Server, mode: str) -> None:
    with visiting(server, mode, "/", "/other") as visitor:
        assert visitor.client.get_sid("/") != visitor.client.get_sid("/other")
        visitor.client.emit("echo", "here", namespace="/other")
        assert visitor.next() == ("/other", "echoed", ("here",))


def test_refusal(server: Server, mode: str) -> None:
    refusals: queue.Queue[Any] = queue.Queue()
    with python_client() as client:
        client.on("connect_error", refusals.put, namespace="/guarded")
        with pytest.raises(python_socketio.exceptions.ConnectionError):
            client.connect(
                server.url, transports=MODES[mode], namespaces=["/guarded"], auth={"kind": "data"}, wait_timeout=SECONDS
            )
        assert refusals.get(timeout=SECONDS) == {"message": "no room", "data": {"free": 0, "näxt": "☃"}}


def test_rooms_and_broadcast(server: Server, mode: str) -> None:
    with visiting(server, mode) as a, visiting(server, mode) as b:
        room = f"room {a.client.get_sid()}"
        assert a.ask("join", room) == [room]
        b.ask("say", {"to": room}, room, "to the room")
        a.ask("say", {"broadcast": True, "include_self": False}, room, "to the others")
        a.ask("say", {"broadcast": True}, room, "to all")
        words = [{visitor.next()[2][1] for _ in range(2)} for visitor in (a, b)]
        assert words == [{"to the room", "to all"}, {"to the others", "to all"}]


def test_the_server_disconnects(server: Server, mode: str) -> None:
    reasons: queue.Queue[str] = queue.Queue()
    with visiting(server, mode) as visitor:
        visitor.client.on("disconnect", reasons.put)
        visitor.client.emit("kick me")
        assert reasons.get(timeout=SECONDS) == visitor.client.reason.SERVER_DISCONNECT


def test_number_and_size(server: Server, mode: str) -> None:
    with visiting(server, mode) as visitor:
        visitor.client.emit("numbers please", 1000)
        assert sorted(visitor.next()[2][0] for _ in range(1000)) == list(range(1000))
        assert visitor.ask("ask", "x" * 500_000) == "x" * 500_000
        assert visitor.ask("ask", bytes(500_000)) == bytes(500_000)
