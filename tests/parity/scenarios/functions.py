"""The functions of handlers, which know the client from the request (spec 1.10), and classes (spec 1.11)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import copy_current_request_context

from tests.parity.kit import Api, Transcript, kind, outcome, req, scenario


def _names(client: Any, namespace: str = "/") -> list[object]:
    return [entry["name"] for entry in client.get_received(namespace)]


class Stage:
    """Two clients; ``act`` runs a function in a handler of the first one."""

    def __init__(self, api: Api, **options: Any) -> None:
        self.app, self.sio = api.make(**options)
        for namespace in ("/", "/x"):
            self.sio.on_event("act", self._act, namespace=namespace)
            self.sio.on_event("sid", lambda: req.sid, namespace=namespace)
            self.sio.on_event("join", lambda room: api.join_room(room), namespace=namespace)
        self.todo: Any = None
        self.result: object = None
        self.one, self.two = self.sio.test_client(self.app), self.sio.test_client(self.app)

    def _act(self) -> None:
        self.result = outcome(self.todo)

    def act(self, todo: Any, namespace: str = "/") -> object:
        """What ``todo`` gave in a handler of the first client."""
        self.todo = todo
        self.one.emit("act", namespace=namespace)
        return self.result

    def heard(self) -> list[object]:
        """The names of what both have received since."""
        return [_names(self.one), _names(self.two)]

    def sid(self, client: Any, namespace: str = "/") -> str:
        """The client's sid."""
        return str(client.emit("sid", callback=True, namespace=namespace))


@scenario("1.10.2")
def who_receives_a_handlers_emit(api: Api, t: Transcript) -> None:
    stage = Stage(api)
    stage.one.emit("join", "room")
    stage.two.emit("join", "room")
    second = stage.sid(stage.two)

    def heard(label: str, **options: Any) -> None:
        t.note(f"{label}: result", stage.act(lambda: api.emit("a", 1, **options)))
        t.note(label, stage.heard())

    heard("the sender")
    heard("broadcast", broadcast=True)
    heard("the others", broadcast=True, include_self=False)
    heard("a room", to="room")
    heard("room=", room="room")
    heard("a room without the sender", to="room", include_self=False)
    heard("another", to=second)
    heard("a list", to=[second, "room"])
    heard("skip_sid", broadcast=True, skip_sid=second)
    heard("skip a list", to="room", skip_sid=[second])
    heard("''", to="")
    heard("None", to=None)
    heard("namespace None", namespace=None)
    heard("namespace ''", namespace="")
    heard("another namespace, no target", namespace="/x")
    heard("unknown keywords", nonsense=1)
    heard("to wins over room", to=second, room="room")


@scenario("1.10.2, 6.4 #4", "empty-to")
def a_handlers_empty_to(api: Api, t: Transcript) -> None:
    stage = Stage(api)
    targets: list[object] = [[], 0]
    for to in targets:
        stage.act(partial(api.emit, "a", to=to))
        t.differs("empty-to", repr(to), stage.heard(), theirs=[["a"], []], ours=[[], []])


@scenario("1.10.2")
def another_namespace_from_a_handler(api: Api, t: Transcript) -> None:
    stage = Stage(api)
    stage.one.connect("/x")
    stage.two.connect("/x")
    stage.act(lambda: api.emit("a", namespace="/x", broadcast=True))
    t.note("from / to /x", [stage.heard(), _names(stage.one, "/x"), _names(stage.two, "/x")])
    stage.act(lambda: api.emit("b"), namespace="/x")
    stage.act(lambda: api.emit("c", namespace="/"), namespace="/x")
    stage.act(lambda: api.emit("d", namespace="/", broadcast=True), namespace="/x")
    t.note("from /x", [stage.heard(), _names(stage.one, "/x"), _names(stage.two, "/x")])


@scenario("1.10.3")
def a_handlers_send(api: Api, t: Transcript) -> None:
    stage = Stage(api)
    second = stage.sid(stage.two)
    stage.act(lambda: api.send("text"))
    stage.act(lambda: api.send({"a": 1}, json=True))
    stage.act(lambda: api.send("to two", to=second))
    stage.act(lambda: api.send("room two", room=second))
    stage.act(lambda: api.send("all", broadcast=True))
    stage.act(lambda: api.send("others", broadcast=True, include_self=False))
    stage.act(lambda: api.send(("a", "b")))
    t.note("one", stage.one.get_received())
    t.note("two", stage.two.get_received())


@scenario("1.10.5")
def rooms_of_a_client(api: Api, t: Transcript) -> None:
    stage = Stage(api)
    first, second = stage.sid(stage.one), stage.sid(stage.two)

    def rooms(sid: str | None = None) -> list[str]:
        names = {first: "its own", second: "the other's own"}
        found: Any = stage.act(lambda: api.rooms(sid))
        return sorted(names.get(name, str(name)) for name in found)

    t.note("at first", rooms())
    stage.act(lambda: api.join_room("a"))
    stage.act(lambda: api.join_room("a"))
    stage.act(lambda: api.join_room(7))
    t.note("joined", rooms())
    stage.act(lambda: api.join_room("b", sid=second))
    stage.act(lambda: api.join_room("c", sid=second, namespace="/"))
    t.note("the other's", rooms(second))
    stage.act(lambda: api.leave_room("a"))
    stage.act(lambda: api.leave_room("b", sid=second))
    t.note("after leaving", [rooms(), rooms(second)])
    stage.act(lambda: api.close_room("c"))
    t.note("after closing", rooms(second))
    t.note("unknown sid", stage.act(lambda: api.rooms("nobody")))


@scenario("1.10.5")
def rooms_that_cannot_be_joined(api: Api, t: Transcript) -> None:
    stage = Stage(api)
    t.note("unknown sid", stage.act(lambda: api.join_room("a", sid="nobody")))
    t.note("empty namespace", stage.act(lambda: api.join_room("a", sid="nobody", namespace="/x")))
    t.note("leave", stage.act(lambda: api.leave_room("never joined")))
    t.note("leave, unknown sid", stage.act(lambda: api.leave_room("a", sid="nobody")))
    t.note("leave, empty namespace", stage.act(lambda: api.leave_room("a", sid="nobody", namespace="/x")))
    t.note("close", stage.act(lambda: api.close_room("never there")))
    t.note("disconnect", stage.act(lambda: api.disconnect("nobody")))
    t.note("disconnect, silent", stage.act(lambda: api.disconnect("nobody", silent=True)))


@scenario("1.10.5, 1.13.4")
def a_room_in_two_namespaces(api: Api, t: Transcript) -> None:
    stage = Stage(api)
    stage.one.connect("/x")
    stage.one.emit("join", "room")
    stage.two.connect("/x")
    stage.two.emit("join", "room", namespace="/x")
    stage.act(lambda: api.emit("a", to="room"))
    stage.act(lambda: api.emit("b", to="room"), namespace="/x")
    stage.act(lambda: api.close_room("room", namespace="/x"))
    stage.act(lambda: api.emit("c", to="room", namespace="/x"))
    t.note("heard", [stage.heard(), _names(stage.one, "/x"), _names(stage.two, "/x")])


@scenario("1.10.1", "outside-words")
def handlers_functions_outside_of_handlers(api: Api, t: Transcript) -> None:
    app, _ = api.make()
    acts: dict[str, Any] = {
        "emit": lambda: api.emit("a"),
        "send": lambda: api.send("a"),
        "call": lambda: api.call("a"),
        "join_room": lambda: api.join_room("a"),
        "leave_room": lambda: api.leave_room("a"),
        "close_room": lambda: api.close_room("a"),
        "rooms": lambda: api.rooms(),
        "disconnect": lambda: api.disconnect(),
    }
    for name, act in acts.items():
        t.note(f"{name} without a context", outcome(act))
        with app.test_request_context():
            result = outcome(act)
        t.differs("outside-words", f"{name} in a view", result, theirs="AttributeError", ours="RuntimeError")


@scenario("1.10.1")
def with_sid_and_namespace_in_a_view(api: Api, t: Transcript) -> None:
    stage = Stage(api)
    first = stage.sid(stage.one)
    with stage.app.test_request_context():
        api.join_room("room", sid=first, namespace="/")
        t.note("rooms", "room" in api.rooms(sid=first, namespace="/"))
        api.emit("a", to="room", namespace="/")
        api.emit("b", broadcast=True, namespace="/")
        api.send("c", to=first, namespace="/")
        api.leave_room("room", sid=first, namespace="/")
        api.close_room("room", namespace="/")
        t.note("heard", stage.heard())
        api.disconnect(sid=first, namespace="/")
    t.note("connected", [stage.one.is_connected(), stage.two.is_connected()])


@scenario("1.10.7")
def a_copied_context_in_a_thread(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @sio.on("a")
    def a() -> None:
        @copy_current_request_context
        def work() -> None:
            api.emit("from the task", req.namespace)

        sio.start_background_task(work).join(10)

    client = sio.test_client(app)
    client.emit("a")
    t.note("received", client.get_received())


@scenario("1.11.1, 1.11.3")
def methods_of_a_class(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []

    def on_a(self: Any, *args: object) -> list[object]:
        return [req.namespace, req.event["message"], *args]

    chat = api.namespace(
        "/x",
        on_connect=lambda self, auth: seen.append(["connect", auth]),
        on_disconnect=lambda self, reason: seen.append(["disconnect", reason]),
        on_a=on_a,
        on_message=lambda self, text: api.send(text),
        on_sid=lambda self: req.sid == api.rooms()[0],
    )
    t.note("namespace", chat.namespace)
    sio.on_namespace(chat)
    t.note("socketio", chat.socketio is sio)
    client = sio.test_client(app, namespace="/x", auth={"b": 1})
    t.note("a", client.emit("a", 1, 2, callback=True, namespace="/x"))
    client.send("text", namespace="/x")
    t.note("received", client.get_received("/x"))
    client.disconnect("/x")
    t.note("seen", seen)
    t.note("default namespace", api.Namespace().namespace)


@scenario("1.11.3, 1.5.1, 1.6.1")
def methods_without_parameters(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    sio.on_namespace(
        api.namespace(
            "/x",
            on_connect=lambda self: seen.append("connect"),
            on_disconnect=lambda self: seen.append("disconnect"),
        )
    )
    client = sio.test_client(app, namespace="/x", auth={"token": 1})
    t.note("connected", client.is_connected("/x"))
    client.disconnect("/x")
    t.note("seen", seen)


@scenario("1.11.2", "disconnect-once")
def a_type_error_in_on_disconnect(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    calls: list[object] = []

    def on_disconnect(self: Any, reason: object = None) -> None:
        calls.append(reason)
        raise TypeError("in the body")

    sio.on_namespace(api.namespace("/x", on_disconnect=on_disconnect))
    client = sio.test_client(app, namespace="/x")
    t.attempt("what the test sees", lambda: client.disconnect("/x"), words="in the body")
    t.differs("disconnect-once", "calls", calls, theirs=["client disconnect", None], ours=["client disconnect"])


@scenario("1.11.4, 1.11.5")
def acting_through_a_class(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    chat = api.namespace(
        "/x",
        on_sid=lambda self: req.sid,
        on_all=lambda self: self.emit("all", {"a": 1}),
        on_others=lambda self: self.send("others", include_self=False),
        on_disconnect=lambda self, reason: seen.append(reason),
    )
    sio.on_namespace(chat)
    one, two = sio.test_client(app, namespace="/x"), sio.test_client(app, namespace="/x")
    sid = str(two.emit("sid", callback=True, namespace="/x"))
    one.emit("all", namespace="/x")
    one.emit("others", namespace="/x")
    chat.emit("from outside", "data")
    chat.send("text", room=sid)
    chat.enter_room(sid, "room")
    t.note("rooms", [name for name in chat.rooms(sid) if name != sid])
    chat.emit("to the room", room="room")
    chat.leave_room(sid, "room")
    chat.emit("to nobody", room="room")
    chat.enter_room(sid, "room")
    chat.close_room("room")
    chat.emit("to nobody again", room="room")
    t.note("one", one.get_received("/x"))
    t.note("two", two.get_received("/x"))
    chat.disconnect(sid)
    t.note("seen", seen)
    t.note("connected", [one.is_connected("/x"), two.is_connected("/x")])
    t.note("is_asyncio_based", chat.is_asyncio_based())


@scenario("1.11.2")
def an_own_trigger_event(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []

    def trigger_event(self: Any, event: str, *args: Any) -> Any:
        seen.append([event, isinstance(args[0], str), *[arg for arg in args[1:] if not isinstance(arg, dict)]])
        return api.Namespace.trigger_event(self, event, *args)

    methods: dict[str, Callable[..., object]] = {
        "on_a": lambda self, *args: list(args),
        "on_connect": lambda self: None,
    }
    sio.on_namespace(api.namespace("/x", trigger_event=trigger_event, **methods))
    client = sio.test_client(app, namespace="/x")
    t.note("a", client.emit("a", 1, 2, callback=True, namespace="/x"))
    t.note("unknown", client.emit("unknown", 3, callback=True, namespace="/x"))
    client.disconnect("/x")
    t.note("seen", [entry for entry in seen if entry != ["connect", True, None]][-3:])


@scenario("1.1.2")
def errors_are_what_except_takes(api: Api, t: Transcript) -> None:
    t.note("refusal", kind(api.ConnectionRefusedError("x")))
    t.note("is an Exception", issubclass(api.ConnectionRefusedError, Exception))
