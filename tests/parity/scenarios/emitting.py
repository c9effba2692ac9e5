"""``SocketIO.emit``, ``send``, ``call``, ``close_room``: from anywhere, without a request (spec 1.9)."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any, cast

from tests.parity.kit import Api, Transcript, outcome, req, scenario


def _names(client: Any, namespace: str = "/") -> list[object]:
    return [entry["name"] for entry in client.get_received(namespace)]


def _in_rooms(api: Api, **options: Any) -> tuple[Any, Any]:
    """An application whose clients say ``sid`` and ``join``."""
    app, sio = api.make(**options)
    for namespace in ("/", "/x"):
        sio.on_event("sid", lambda: req.sid, namespace=namespace)
        sio.on_event("join", lambda *names: [api.join_room(name) for name in names] and None, namespace=namespace)
        sio.on_event("leave", lambda name: api.leave_room(name), namespace=namespace)
    return app, sio


@scenario("1.9.1")
def payloads(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    client = sio.test_client(app)
    for payload in (None, (), (None,), (1, 2), [1, 2], {"a": 1}, "text", 0, False, b"\x00", ("a", b"b"), [b"c"]):
        sio.emit("a", payload)
        t.note(repr(payload), client.get_received())
    sio.emit("a")
    t.note("nothing", client.get_received())


@scenario("1.9.1")
def what_cannot_be_sent(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    anything = cast("Any", sio)
    client = sio.test_client(app)
    t.attempt("two payloads", lambda: anything.emit("a", 1, 2))
    t.attempt("an unknown keyword", lambda: anything.emit("a", 1, nonsense=True))
    t.attempt("a set", lambda: sio.emit("a", {1, 2}))
    t.attempt("an object", lambda: sio.emit("a", object()))
    t.attempt("nested", lambda: sio.emit("a", {"b": [object()]}))
    t.attempt("a date", lambda: sio.emit("a", datetime(2020, 1, 1)))
    t.note("nothing has been sent", client.get_received())


@scenario("1.9.1", "broadcast-keyword")
def broadcast_on_the_object(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    client = sio.test_client(app)
    result = outcome(lambda: sio.emit("a", 1, broadcast=True))
    t.differs("broadcast-keyword", "emit", result, theirs="TypeError", ours=None)
    t.differs("broadcast-keyword", "received", _names(client), theirs=[], ours=["a"])


@scenario("1.9.1, 1.13.2, 1.13.4, 1.13.5")
def who_receives(api: Api, t: Transcript) -> None:
    app, sio = _in_rooms(api)
    one, two, three = (sio.test_client(app) for _ in range(3))
    three.connect("/x")
    one.emit("join", "both", "one")
    two.emit("join", "both")
    three.emit("join", "both", namespace="/x")
    sid = one.emit("sid", callback=True)

    def heard(label: str, **options: Any) -> None:
        sio.emit("a", **options)
        t.note(label, [_names(one), _names(two), _names(three), _names(three, "/x")])

    heard("everybody")
    heard("the other namespace", namespace="/x")
    heard("namespace None", namespace=None)
    heard("a room", to="both")
    heard("the room in the other namespace", to="both", namespace="/x")
    heard("room=", room="one")
    heard("a sid", to=sid)
    heard("a list, each once", to=["both", "one", sid])
    heard("a tuple", to=("one", "both"))
    heard("an empty room", to="nobody is here")
    heard("an unknown namespace", namespace="/unknown")
    heard("to None", to=None)
    heard("to ''", to="")
    heard("skip one", skip_sid=sid)
    heard("skip a list", skip_sid=[sid, two.emit("sid", callback=True)])
    heard("skip in a room", to="both", skip_sid=sid)
    heard("ignore_queue", ignore_queue=True)
    two.emit("leave", "both")
    heard("after one left", to="both")
    one.disconnect()
    sio.emit("a", to="both")
    t.note("after the other disconnected", [_names(two), _names(three)])


@scenario("1.9.1, 6.4 #4", "empty-to")
def to_nobody(api: Api, t: Transcript) -> None:
    app, sio = _in_rooms(api)
    client = sio.test_client(app)
    sio.emit("a", to=[])
    t.differs("empty-to", "[]", _names(client), theirs=["a"], ours=[])
    sio.emit("a", to=0)
    t.differs("empty-to", "0", _names(client), theirs=["a"], ours=[])


@scenario("1.9.1, 6.4 #4", "empty-to")
def the_room_zero(api: Api, t: Transcript) -> None:
    app, sio = _in_rooms(api)
    inside, outside = sio.test_client(app), sio.test_client(app)
    inside.emit("join", 0)
    sio.emit("a", to=0)
    heard = [_names(inside), _names(outside)]
    t.differs("empty-to", "heard", heard, theirs=[["a"], ["a"]], ours=[["a"], []])


@scenario("1.9.1", "skip-any-iterable")
def skip_a_tuple(api: Api, t: Transcript) -> None:
    app, sio = _in_rooms(api)
    client = sio.test_client(app)
    sio.emit("a", skip_sid=(client.emit("sid", callback=True),))
    t.differs("skip-any-iterable", "a tuple", _names(client), theirs=["a"], ours=[])


@scenario("1.9.1, 1.9.2")
def not_to_the_sender(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("a", lambda: sio.emit("b", include_self=False))
    sio.on_event("c", lambda: sio.send("d", include_self=False))
    one, two = sio.test_client(app), sio.test_client(app)
    one.emit("a")
    one.emit("c")
    t.note("heard", [_names(one), _names(two)])


@scenario("1.9.1, 1.9.2", "skip-both")
def neither_the_sender_nor_another(api: Api, t: Transcript) -> None:
    app, sio = _in_rooms(api)
    sio.on_event("emit", lambda sid: sio.emit("b", include_self=False, skip_sid=sid))
    sio.on_event("send", lambda sid: sio.send("c", include_self=False, skip_sid=sid))
    one, two, three = (sio.test_client(app) for _ in range(3))
    sid = two.emit("sid", callback=True)
    one.emit("emit", sid)
    t.differs("skip-both", "emit: the sender", _names(one), theirs=["b"], ours=[])
    t.note("emit: the other", _names(two))
    one.emit("send", sid)
    t.note("send: the sender", _names(one))
    t.differs("skip-both", "send: the other", _names(two), theirs=["message"], ours=[])
    t.note("the third", _names(three))


@scenario("1.9.1", "outside-words")
def include_self_outside_of_a_handler(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    t.attempt("without a context", lambda: sio.emit("a", include_self=False))
    with app.test_request_context():
        result = outcome(lambda: sio.emit("a", include_self=False))
    t.differs("outside-words", "in a view", result, theirs="AttributeError", ours="RuntimeError")


@scenario("1.9.1, 1.13.10")
def data_is_taken_at_once(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    client = sio.test_client(app)

    @sio.on("a")
    def a() -> dict[str, list[int]]:
        data = {"list": [1]}
        api.emit("b", data)
        data["list"].append(2)
        return data

    t.note("answer", client.emit("a", callback=True))
    t.note("received", client.get_received())


@scenario("1.9.2")
def send_and_its_arguments(api: Api, t: Transcript) -> None:
    app, sio = _in_rooms(api)
    one, two = sio.test_client(app), sio.test_client(app)
    one.emit("join", "room")
    one.connect("/x")
    sio.send("text")
    sio.send({"a": 1}, json=True)
    sio.send({"a": 2}, True)
    sio.send("in x", False, "/x")
    sio.send("fourth is the target", False, "/", "room")
    sio.send("room", room="room")
    sio.send("to", to="room")
    sio.send("not to one", skip_sid=one.emit("sid", callback=True))
    sio.send(("a", "b"))
    sio.send(b"bytes")
    t.note("one", one.get_received())
    t.note("one in x", one.get_received("/x"))
    t.note("two", two.get_received())


@scenario("1.9.3")
def call_and_its_refusals(api: Api, t: Transcript) -> None:
    app, sio = api.make(async_handlers=False)
    t.attempt("without to", lambda: sio.call("a", 1), words="Cannot use call() to broadcast.")
    t.attempt(
        "without async_handlers",
        lambda: sio.call("a", 1, to="somebody"),
        words="Cannot use call() when async_handlers is False.",
    )
    client = sio.test_client(app)
    sio.on_event("a", lambda: api.call("b"))
    t.attempt("in a handler", lambda: client.emit("a"), words="Cannot use call() when async_handlers is False.")


@scenario("1.9.4, 1.13.4")
def closing_rooms(api: Api, t: Transcript) -> None:
    app, sio = _in_rooms(api)
    one, two = sio.test_client(app), sio.test_client(app)
    for client in (one, two):
        client.connect("/x")
        for namespace in ("/", "/x"):
            client.emit("join", "room", namespace=namespace)
    sio.close_room("room")
    sio.emit("a", to="room")
    sio.emit("a", to="room", namespace="/x")
    t.note("heard", [_names(one), _names(one, "/x"), _names(two), _names(two, "/x")])
    sio.close_room("room", "/x")
    sio.close_room("never there", "/x")
    sio.close_room("room", "/unknown")
    sio.emit("a", to="room", namespace="/x")
    t.note("then", [_names(one, "/x"), one.is_connected("/x")])


@scenario("1.9.5, 1.9.6")
def background_tasks(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.test_client(app)
    ran = threading.Event()
    seen: list[object] = []

    def work(*args: object, **kwargs: object) -> None:
        seen.append([args, kwargs, threading.current_thread() is threading.main_thread()])
        ran.set()

    task = sio.start_background_task(work, 1, a=2)
    task.join(10)
    t.note("ran", ran.wait(10))
    t.note("seen", seen)
    t.note("alive", task.is_alive())
    t.note("sleep", cast("Any", sio).sleep(0))


@scenario("1.9.5", "task-before-start")
def a_background_task_before_the_server(api: Api, t: Transcript) -> None:
    _, sio = api.make()
    ran = threading.Event()
    sio.start_background_task(ran.set)
    started = ran.wait(0.2)
    t.differs("task-before-start", "started at once", started, theirs=True, ours=False)


@scenario("1.9.1, 1.9.9")
def emitting_from_elsewhere(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    client = sio.test_client(app)
    thread = threading.Thread(target=lambda: sio.emit("from a thread", 1))
    thread.start()
    thread.join(10)
    t.note("from a thread", client.get_received())

    @app.route("/")
    def view() -> str:
        sio.emit("from a view", 2)
        return "done"

    t.note("view", app.test_client().get("/").text)
    t.note("from a view", client.get_received())
