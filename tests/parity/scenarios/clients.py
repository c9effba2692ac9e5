"""The test client itself (spec 1.12)."""

from __future__ import annotations

from typing import Any, cast

from tests.parity.kit import Api, Transcript, outcome, req, scenario


@scenario("1.12.3, 1.13.3")
def its_attributes(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    one, two = sio.test_client(app), sio.test_client(app)
    t.note("app", [one.app is app, one.socketio is sio, one.flask_test_client])
    t.note("eio_sid", [one.eio_sid != two.eio_sid, len(one.eio_sid), int(one.eio_sid, 16) > 0])
    t.note("registered", api.SocketIOTestClient.clients[one.eio_sid] is one)
    t.note("fresh", [one.connected, one.queue, one.acks, one.callback_counter])
    one.emit("a", callback=True)
    t.note("counted", one.callback_counter)
    one.disconnect()
    t.note("connected", [one.connected, two.connected])


@scenario("1.12.4, 1.12.5, 1.12.6, 1.12.9")
def coming_and_going(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    sio.on_event(
        "connect", lambda auth: seen.append(["connect", req.namespace, auth, req.args.to_dict()]), namespace="*"
    )
    sio.on_event("disconnect", lambda reason: seen.append(["disconnect", req.namespace, reason]), namespace="*")
    sio.on_event("a", lambda: None, namespace="/x")
    client = sio.test_client(app, query_string="n=1")
    t.note("connect returns", cast("Any", client).connect("/x", query_string="n=2", auth={"b": 1}))
    t.note("both", [client.is_connected(), client.is_connected("/x"), client.is_connected("/y")])
    client.disconnect("/x")
    t.note("one", [client.is_connected(), client.is_connected("/x"), client.connected])
    for label, act in {
        "disconnect": lambda: client.disconnect("/x"),
        "emit": lambda: client.emit("a", namespace="/x"),
        "send": lambda: client.send("a", namespace="/x"),
        "get_received": lambda: client.get_received("/x"),
    }.items():
        t.attempt(f"{label} when not connected", act, words="not connected")
    t.attempt("unknown namespace", lambda: cast("Any", client).connect("/unknown"))
    t.note("refused", client.is_connected("/unknown"))
    cast("Any", client).connect("/x")
    t.note("again", client.is_connected("/x"))
    t.note("seen", seen)


@scenario("1.12.9")
def what_has_been_received(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("a", lambda: None, namespace="/x")
    client = sio.test_client(app)
    client.connect("/x")
    sio.emit("one", {"b": b"x"})
    sio.emit("two", (1, [2]))
    sio.emit("three", namespace="/x")
    sio.send("text")
    sio.send([1, 2], json=True)
    sio.emit("message", ("first", "second"))
    sio.emit("with a callback", 1, callback=lambda *args: None)
    for entry in client.get_received():
        t.note("received", entry)
    t.note("taken", client.get_received())
    t.note("the other namespace's is left", client.get_received("/x"))


@scenario("1.12.9", "message-without-arguments")
def a_message_without_arguments(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    client = sio.test_client(app)
    result = outcome(lambda: sio.emit("message"))
    t.differs("message-without-arguments", "emit", result, theirs="IndexError", ours=None)
    received = outcome(lambda: [entry["args"] for entry in client.get_received()])
    t.differs("message-without-arguments", "received", received, theirs=[], ours=[None])


@scenario("1.12.1")
def errors_reach_the_test(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("fail", lambda: 1 // 0)
    sio.on_event("answer", lambda: {1, 2})
    sio.on_event("emit", lambda: api.emit("a", object()))
    client = sio.test_client(app)
    t.attempt("in a handler", lambda: client.emit("fail"))
    t.attempt("an answer that cannot be sent", lambda: client.emit("answer", callback=True))
    t.attempt("not asked for", lambda: client.emit("answer"))
    t.attempt("an emit", lambda: client.emit("emit"))
    t.attempt("the client's own data", lambda: client.emit("answer", {1, 2}))
    t.note("still connected", client.is_connected())


@scenario("1.12.8")
def sending(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("message", lambda data: ["message", data])
    sio.on_event("json", lambda data: ["json", data])
    sio.on_event("message", lambda data: ["in x", data], namespace="/x")
    client = sio.test_client(app)
    client.connect("/x")
    t.note("text", client.send("a", callback=True))
    t.note("json", client.send({"a": 1}, json=True, callback=True))
    t.note("namespace", client.send("a", callback=True, namespace="/x"))
    t.note("no callback", client.send("a"))


@scenario("1.13.12")
def a_task_started_in_connect(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    tasks: list[Any] = []
    sio.on_event("connect", lambda: tasks.append(sio.start_background_task(sio.emit, "from the task", 1)))
    client = sio.test_client(app)
    tasks[0].join(10)
    t.note("received", client.get_received())
