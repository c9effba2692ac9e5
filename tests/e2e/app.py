"""The Flask application that the interoperability tests talk to, written as a user would write it.

``E2E_PACKAGE=flask_socketio`` builds the same application on that package: a check that the tests themselves are right.
What a test cannot see from outside (who is connected, who left and why) is told by ``GET /state``.
"""

from __future__ import annotations

import importlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import flask
from flask import Flask, Response, jsonify

if TYPE_CHECKING:
    import trioflask_sio as sio
else:
    sio = importlib.import_module(os.environ.get("E2E_PACKAGE", "trioflask_sio"))

request: Any = flask.request  # in an event it has more attributes than Flask's types know: sid, namespace, event
BOOK = "e2e.book"


class Book:
    """What happened, for `GET /state`: the connected sids and the departures with their reasons."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connected: dict[str, str] = {}
        self.departures: list[list[str]] = []
        self.answers: list[Any] = []

    def arrive(self) -> None:
        """Note the client of this request."""
        with self.lock:
            self.connected[request.sid] = request.namespace

    def leave(self, reason: str) -> None:
        """Move the client of this request to the departures."""
        with self.lock:
            self.connected.pop(request.sid, None)
            self.departures.append([request.sid, request.namespace, reason])


def create(**options: Any) -> tuple[Flask, sio.SocketIO]:
    """A new application with its own `SocketIO`; `options` go to the latter."""
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "e2e"
    app.extensions[BOOK] = Book()
    if sio.__name__ == "flask_socketio":
        options["async_mode"] = "threading"
    socketio = sio.SocketIO(app, **{**json.loads(os.environ.get("E2E_OPTIONS", "{}")), **options})
    for add in (_life, _echoes, _replies, _rooms, _server_asks, _refusing, _class_based, _views, _thread_views):
        add(app, socketio)
    return app, socketio


def _life(app: Flask, socketio: sio.SocketIO) -> None:
    for namespace in ("/", "/other", "/greeting"):

        def connect() -> None:
            app.extensions[BOOK].arrive()
            if request.namespace == "/greeting":
                sio.emit("greeting", {"sid": request.sid, "query": request.args.get("q")})

        def disconnect(reason: str) -> None:
            app.extensions[BOOK].leave(reason)

        socketio.on_event("connect", connect, namespace=namespace)
        socketio.on_event("disconnect", disconnect, namespace=namespace)

    @socketio.on("kick me")
    def kick_me() -> str:
        sio.disconnect()
        return "never arrives"

    @socketio.on("kick")
    def kick(sid: str) -> None:
        sio.disconnect(sid)


def _echoes(app: Flask, socketio: sio.SocketIO) -> None:
    for namespace in ("/", "/other"):

        def echo(*args: Any) -> None:
            sio.emit("echoed", args)

        def ask(*args: Any) -> tuple[Any, ...]:
            return args

        socketio.on_event("echo", echo, namespace=namespace)
        socketio.on_event("ask", ask, namespace=namespace)


def _replies(app: Flask, socketio: sio.SocketIO) -> None:
    @socketio.on("message")
    def message(data: Any) -> None:
        sio.send(data)

    @socketio.on("json")
    def json_message(data: Any) -> None:
        sio.send(data, json=True)

    @socketio.on("kinds")
    def kinds(*args: Any) -> list[str]:
        return [type(arg).__name__ for arg in args]

    @socketio.on("where")
    def where() -> list[Any]:
        return [request.sid, request.namespace, request.event["message"], request.args.get("q")]

    @socketio.on("numbers please")
    def numbers(count: int) -> None:
        for number in range(count):
            sio.emit("number", number)

    @socketio.on("big please")
    def big(size: int) -> None:
        sio.emit("big", "x" * size)
        sio.emit("big", bytes(size))

    @socketio.on("fail")
    def fail() -> None:
        raise LookupError("a mistake of the programmer, on purpose")


def _rooms(app: Flask, socketio: sio.SocketIO) -> None:
    @socketio.on("join")
    def join(room: str) -> list[Any]:
        sio.join_room(room)
        return sorted(set(sio.rooms()) - {request.sid}, key=str)

    @socketio.on("leave")
    def leave(room: str) -> list[Any]:
        sio.leave_room(room)
        return sorted(set(sio.rooms()) - {request.sid}, key=str)

    @socketio.on("close room")
    def close(room: str) -> str:
        sio.close_room(room)
        return "closed"

    @socketio.on("say")
    def say(options: dict[str, Any], *args: Any) -> str:
        sio.emit("said", args, **options)
        return "done"


def _server_asks(app: Flask, socketio: sio.SocketIO) -> None:
    @socketio.on("question me")
    def question(*args: Any) -> None:
        def answered(*answer: Any) -> None:
            sio.emit("you said", answer)

        sio.emit("question", args, callback=answered)

    @socketio.on("call me")
    def call(*args: Any) -> Any:
        answer = sio.call("question", args, timeout=10)
        return list(answer) if isinstance(answer, tuple) else answer


def _refusing(app: Flask, socketio: sio.SocketIO) -> None:
    @socketio.on("connect", namespace="/guarded")
    def guarded(auth: Any) -> bool | None:
        kind = (auth or {}).get("kind")
        if kind == "message":
            raise sio.ConnectionRefusedError("not today")
        if kind == "data":
            raise sio.ConnectionRefusedError("no room", {"free": 0, "näxt": "☃"})
        if kind == "many":
            raise sio.ConnectionRefusedError("no", 1, [2])
        return False if kind == "false" else None

    @socketio.on("ask", namespace="/guarded")
    def ask(*args: Any) -> tuple[Any, ...]:
        return args


def _class_based(app: Flask, socketio: sio.SocketIO) -> None:
    class Counting(sio.Namespace):
        def on_connect(self, auth: Any) -> None:
            app.extensions[BOOK].arrive()
            self.emit("hello", auth, room=request.sid)

        def on_disconnect(self, reason: str) -> None:
            app.extensions[BOOK].leave(reason)

        def on_add(self, *numbers: int) -> int:
            return sum(numbers)

    socketio.on_namespace(Counting("/class"))


def _views(app: Flask, socketio: sio.SocketIO) -> None:
    @app.route("/")
    def index() -> str:
        return "hello from Flask"

    @app.route("/state")
    def state() -> Response:
        book: Book = app.extensions[BOOK]
        with book.lock:
            return jsonify(connected=book.connected, departures=book.departures)

    @app.route("/emit", methods=["POST"])
    def emit() -> str:
        asked = request.get_json()
        socketio.emit(asked["event"], asked.get("data"), **asked.get("options", {}))
        return "emitted"

    @app.route("/echo", methods=["POST"])
    def echo() -> Response:
        return Response(request.get_data(), mimetype="application/octet-stream")

    @app.route("/stream/<int:count>")
    def stream(count: int) -> Response:
        return Response((f"{number}\n" for number in range(count)), mimetype="text/plain")


def _thread_views(app: Flask, socketio: sio.SocketIO) -> None:
    """Emits from threads that the library did not start and that carry no Flask context."""

    def run_all(work: Any, threads: int) -> str:
        started = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        return "emitted"

    @app.route("/threads/<sid>/<int:threads>/<int:each>", methods=["POST"])
    def texts(sid: str, threads: int, each: int) -> str:
        def work(number: int) -> None:
            for index in range(each):
                socketio.emit("from thread", (number, index), to=sid)

        return run_all(work, threads)

    @app.route("/binary-threads/<sid>/<int:threads>/<int:each>", methods=["POST"])
    def binaries(sid: str, threads: int, each: int) -> str:
        def work(number: int) -> None:
            for index in range(each):
                first, second = (f"{number}.{index}.{part}".encode() for part in range(2))
                socketio.emit("from thread", {"is": [number, index], "first": first, "rest": [second]}, to=sid)

        return run_all(work, threads)


app, socketio = create()
