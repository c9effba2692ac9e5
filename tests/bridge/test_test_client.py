"""``SocketIOTestClient``: the shapes of spec 1.12, in the test's own thread, handlers' exceptions included."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from flask import Flask, request, session

from trioflask_sio import (
    ConnectionRefusedError,
    Namespace,
    SocketIO,
    SocketIOTestClient,
    UsageError,
    aio,
    call,
    disconnect,
    emit,
    join_room,
    leave_room,
    rooms,
    send,
)


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "secret"
    return app


@pytest.fixture
def sio(app: Flask) -> SocketIO:
    return SocketIO(app)


def test_events_messages_and_json(app: Flask, sio: SocketIO) -> None:
    sio.on_event("my event", lambda data: emit("my response", data))
    sio.on_event("message", lambda data: send(data))
    sio.on_event("json", lambda data: send(data, json=True, broadcast=True))
    client = sio.test_client(app)
    other = sio.test_client(app)
    client.emit("my event", {"a": "b"})
    assert client.get_received() == [{"name": "my response", "args": [{"a": "b"}], "namespace": "/"}]
    client.send("echo this message back")
    client.send({"a": "b"}, json=True)
    assert [entry["args"] for entry in client.get_received()] == ["echo this message back", {"a": "b"}]
    assert [entry["name"] for entry in other.get_received()] == ["json"]
    assert client.get_received() == []


def test_acknowledgement_shapes(app: Flask, sio: SocketIO) -> None:
    answers: dict[str, Any] = {"none": None, "one": 5, "list": [1, 2], "tuple": (1, 2), "empty": (), "bytes": b"\x00"}
    sio.on_event("ask", lambda what: answers[what])
    client = sio.test_client(app)
    got = {what: client.emit("ask", what, callback=True) for what in answers}
    assert got == {"none": [], "one": 5, "list": [1, 2], "tuple": [1, 2], "empty": [], "bytes": b"\x00"}
    assert client.emit("ask", "one") is None
    assert client.emit("nobody handles this", callback=True) is None


def test_exceptions_reach_the_test(app: Flask, sio: SocketIO) -> None:
    @sio.on("boom")
    def boom() -> None:
        raise ZeroDivisionError("in the handler")

    @sio.on("unsendable")
    def unsendable() -> object:
        return {1, 2}

    client = sio.test_client(app)
    with pytest.raises(ZeroDivisionError, match="in the handler"):
        client.emit("boom")
    with pytest.raises(TypeError):
        client.emit("unsendable", callback=True)
    with pytest.raises(TypeError):
        client.emit("boom", {1, 2})
    assert client.is_connected()


def test_error_handlers_replace_results(app: Flask, sio: SocketIO) -> None:
    sio.on_event("boom", lambda: 1 // 0)
    sio.on_error()(lambda error: f"{type(error).__name__} in {request.event['message']}")  # type: ignore[attr-defined]  # set for events
    client = sio.test_client(app)
    assert client.emit("boom", callback=True) == "ZeroDivisionError in boom"


def test_connect_disconnect_and_refusal(app: Flask, sio: SocketIO) -> None:
    seen: list[object] = []

    @sio.on("connect")
    def on_connect(auth: object) -> bool | None:
        if request.args.get("fail"):
            return False
        if auth == "data":
            raise ConnectionRefusedError("no", {"why": 1})
        seen.append(auth)
        emit("connected", request.args.getlist("foo"))
        return None

    sio.on_event("disconnect", seen.append)
    client = sio.test_client(app, query_string="?foo=1&foo=2", auth={"token": 1})
    assert client.is_connected()
    assert client.get_received() == [{"name": "connected", "args": [["1", "2"]], "namespace": "/"}]
    client.disconnect()
    assert seen == [{"token": 1}, "client disconnect"]
    assert not client.is_connected()
    for act in (client.disconnect, lambda: client.emit("x"), client.get_received):
        with pytest.raises(RuntimeError, match="not connected"):
            act()
    refused = sio.test_client(app, query_string="fail=1")
    assert not refused.is_connected()
    assert refused.connect_error == {"message": "Connection rejected by server"}


def test_namespaces_rooms_and_classes(app: Flask, sio: SocketIO) -> None:
    class Chat(Namespace):
        def on_enter(self, room: str) -> list[object]:
            join_room(room)
            return [room in rooms(), request.namespace]  # type: ignore[attr-defined]  # set for events

        def on_leave(self, room: str) -> None:
            leave_room(room)

        def on_say(self, room: str, text: str) -> None:
            emit("said", text, to=room)

        def on_out(self) -> None:
            disconnect()

    sio.on_namespace(Chat("/chat"))
    one, two = sio.test_client(app, namespace="/chat"), sio.test_client(app, namespace="/chat")
    assert one.emit("enter", "a", callback=True, namespace="/chat") == [True, "/chat"]
    two.emit("say", "a", "hello", namespace="/chat")
    assert one.get_received("/chat") == [{"name": "said", "args": ["hello"], "namespace": "/chat"}]
    assert two.get_received("/chat") == []
    one.emit("leave", "a", namespace="/chat")
    sio.emit("said", "late", to="a", namespace="/chat")
    assert one.get_received("/chat") == []
    one.emit("out", namespace="/chat")
    assert not one.is_connected("/chat")
    assert two.is_connected("/chat")


def test_sessions_fork_and_come_from_the_flask_client(app: Flask, sio: SocketIO) -> None:
    @app.get("/login")
    def login() -> str:
        session["user"] = "ann"
        return ""

    sio.on_event("who", lambda: session.get("user"))
    sio.on_event("rename", lambda name: session.update(user=name))
    flask_client = app.test_client()
    flask_client.get("/login")
    client = sio.test_client(app, flask_test_client=flask_client)
    assert client.emit("who", callback=True) == "ann"
    client.emit("rename", "eve")
    assert client.emit("who", callback=True) == "eve"
    with flask_client.session_transaction() as stored:
        assert stored["user"] == "ann"
    client.connect("/")  # already connected: nothing happens
    assert client.emit("who", callback=True) == "eve"


def test_a_call_cannot_wait_in_the_thread_that_would_answer(app: Flask, sio: SocketIO) -> None:
    @sio.on("ask")
    def ask() -> None:
        call("question")

    client = sio.test_client(app)
    with pytest.raises(UsageError, match="async_handlers is False"):
        client.emit("ask")


def test_async_handlers_run_before_emit_returns(app: Flask, sio: SocketIO) -> None:
    thread = threading.get_ident()

    @sio.on("later")
    async def later(text: str) -> list[object]:
        emit("first", text)
        await aio.sleep(0)
        emit("second", text)
        return [threading.get_ident() == thread, request.sid != ""]  # type: ignore[attr-defined]  # set for events

    client = sio.test_client(app)
    assert client.emit("later", "x", callback=True) == [False, True]
    assert [entry["name"] for entry in client.get_received()] == ["first", "second"]


def test_server_side_disconnect_of_another_client(app: Flask, sio: SocketIO) -> None:
    gone: list[str] = []
    sio.on_event("disconnect", gone.append)
    sio.on_event("sid", lambda: request.sid)  # type: ignore[attr-defined]  # set for events

    @sio.on("kick")
    def kick(sid: str) -> int:
        disconnect(sid)
        return len(gone)

    one, two = sio.test_client(app), sio.test_client(app)
    assert one.emit("kick", two.emit("sid", callback=True), callback=True) == 1
    assert gone == ["server disconnect"]
    assert not two.is_connected()
    assert one.is_connected()


def test_background_tasks_emit(app: Flask, sio: SocketIO) -> None:
    @sio.on("start")
    def start() -> None:
        tasks.append(sio.start_background_task(sio.emit, "tick", 1))

    tasks: list[Any] = []
    client = sio.test_client(app)
    client.emit("start")
    tasks[0].join(5)
    assert client.get_received() == [{"name": "tick", "args": [1], "namespace": "/"}]


def test_clients_are_apart(app: Flask, sio: SocketIO) -> None:
    one, two = sio.test_client(app), sio.test_client(app)
    assert one.eio_sid != two.eio_sid
    assert SocketIOTestClient.clients[one.eio_sid] is one
    one.disconnect()
    assert two.is_connected()
    payload = {"list": [1]}
    sio.emit("news", payload)
    payload["list"].append(2)
    assert two.get_received() == [{"name": "news", "args": [{"list": [1]}], "namespace": "/"}]
