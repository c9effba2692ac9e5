"""A class-based namespace that carries its events itself: ``Namespace.trigger_event`` overridden (spec 1.11.2)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, request

from trioflask_sio import Namespace, SocketIO


class Recording(Namespace):
    """Notes what it is told, then lets the methods have it."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        self.told: list[list[Any]] = []

    def trigger_event(self, event: str, *args: Any) -> Any:
        self.told.append([event, args[0] == request.sid, *args[1:]])  # type: ignore[attr-defined]  # set for events
        return super().trigger_event(event, *args)


class Waiting(Namespace):
    """The same as a coroutine."""

    async def trigger_event(self, event: str, *args: Any) -> Any:
        found = super().trigger_event(event, *args)
        return ["awaited", await found] if event == "ask" else found

    async def on_ask(self, number: int) -> int:
        return number + 1


def test_it_is_told_sid_and_arguments() -> None:
    class Chat(Recording):
        def on_connect(self, auth: object) -> None:
            self.told.append(["auth", auth])

        def on_say(self, *words: str) -> list[str]:
            return [*words]

    app = Flask(__name__)
    sio, chat = SocketIO(app), Chat("/chat")
    sio.on_namespace(chat)
    client = sio.test_client(app, namespace="/chat", auth={"token": 1})
    environ = chat.told[0].pop(2)
    assert environ["flask.app"] is app
    assert client.emit("say", "a", "b", callback=True, namespace="/chat") == ["a", "b"]
    assert client.emit("unknown", callback=True, namespace="/chat") == []
    client.disconnect("/chat")
    assert chat.told == [
        ["connect", True, {"token": 1}],
        ["auth", {"token": 1}],
        ["say", True, "a", "b"],
        ["unknown", True],
        ["disconnect", True, "client disconnect"],
    ]


@pytest.mark.parametrize("given", [None, {"token": 1}])
def test_methods_keep_their_signatures(given: object) -> None:
    seen: list[str] = []

    class Chat(Recording):
        def on_connect(self) -> None:
            seen.append("connect")

        def on_disconnect(self) -> None:
            seen.append("disconnect")

    app = Flask(__name__)
    sio = SocketIO(app)
    sio.on_namespace(Chat("/chat"))
    client = sio.test_client(app, namespace="/chat", auth=given)
    client.disconnect("/chat")
    assert seen == ["connect", "disconnect"]


def test_it_may_be_a_coroutine() -> None:
    app = Flask(__name__)
    sio = SocketIO(app)
    sio.on_namespace(Waiting("/chat"))
    client = sio.test_client(app, namespace="/chat")
    assert client.emit("ask", 1, callback=True, namespace="/chat") == ["awaited", 2]
