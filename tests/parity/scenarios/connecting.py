"""Connect and disconnect handlers, refusals, error handlers (spec 1.5, 1.6, 1.7)."""

from __future__ import annotations

import builtins
import json
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask

from tests.parity.kit import Api, Transcript, outcome, req, scenario


def _connects(sio: Any, app: Flask, auth: object) -> object:
    return sio.test_client(app, auth=auth).is_connected()


@scenario("1.5.1, 1.13.13")
def signatures_of_connect(api: Api, t: Transcript) -> None:
    seen: list[object] = []

    def with_default(auth: object = "default") -> None:
        seen.append(["with default", auth])

    handlers: dict[str, Callable[..., None]] = {
        "none": lambda: seen.append(["none"]),
        "auth": lambda auth: seen.append(["auth", auth]),
        "with default": with_default,
        "star": lambda *args: seen.append(["star", *args]),
    }
    for name, handler in handlers.items():
        app, sio = api.make()
        sio.on_event("connect", handler)
        t.note(name, sio.test_client(app).is_connected())
        t.note(f"{name}, with auth", sio.test_client(app, auth={"token": 1}).is_connected())
    t.note("seen", seen)


@scenario("1.5.1")
def an_undecorated_decorator_around_connect(api: Api, t: Transcript) -> None:
    """A wrapper without functools.wraps around a handler without parameters."""
    app, sio = api.make()
    seen: list[str] = []

    def logged(handler: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **kwargs: object) -> object:
            return handler(*args, **kwargs)

        return wrapper

    sio.on_event("connect", logged(lambda: seen.append("connected")))
    client = sio.test_client(app)
    t.note("connected", client.is_connected())
    t.note("seen", seen)


@scenario("1.5.1", "typeerror-inside")
def a_type_error_in_connect(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    calls: list[object] = []

    @sio.on("connect")
    def connect(auth: object = None) -> None:
        calls.append(auth)
        raise TypeError("in the body")

    t.attempt("what the test sees", lambda: sio.test_client(app))
    t.differs("typeerror-inside", "calls", len(calls), theirs=4, ours=1)


@scenario("1.5.2")
def auth_arrives(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    sio.on_event("connect", lambda auth: seen.append(auth))
    for auth in (None, {}, {"token": "x"}, {"nested": [1, None]}):
        sio.test_client(app, auth=auth)
    t.note("seen", seen)


@scenario("1.5.2", "strict-auth")
def auth_that_is_no_object(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    sio.on_event("connect", lambda auth: seen.append(auth))
    for auth in ("text", ["list"]):
        connected = outcome(partial(_connects, sio, app, auth))
        t.differs("strict-auth", f"{auth!r}", connected, theirs=True, ours="RuntimeError")
    t.differs("strict-auth", "seen", seen, theirs=["text", ["list"]], ours=[])


@scenario("1.5.2")
def auth_that_is_no_object_and_is_let_in(api: Api, t: Transcript) -> None:
    app, sio = api.make(**({"strict_auth": False} if api.side == "ours" else {}))
    seen: list[object] = []
    sio.on_event("connect", lambda auth: seen.append(auth))
    for auth in ("text", ["list"], "", []):
        sio.test_client(app, auth=auth)
    t.note("seen", seen)


@scenario("1.5.3")
def what_connect_returns(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    results: list[Any] = [None, True, False, 0, "", [], (False,)]
    sio.on_event("connect", lambda auth: results[auth["number"]])
    for number, result in enumerate(results):
        t.note(repr(result), sio.test_client(app, auth={"number": number}).is_connected())


@scenario("1.5.3, 1.5.4, 1.5.8")
def refusals(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    gone: list[object] = []
    sio.on_event("disconnect", lambda reason: gone.append(reason))

    @sio.on("connect")
    def connect(auth: dict[str, Any]) -> None:
        api.join_room("room")
        raise api.ConnectionRefusedError(*auth["args"])

    for args in ([], ["no"], ["no", {"why": 1}], ["no", 1, 2], [5]):
        t.note(f"args {args}", json.dumps(api.ConnectionRefusedError(*args).error_args))
        client = sio.test_client(app, auth={"args": args})
        t.note("connected", client.is_connected())
        t.attempt("received", client.get_received, words="not connected")
    sio.emit("to the room", to="room")
    t.note("disconnect handlers", gone)


@scenario("1.5.3", "builtin-refusal")
def the_builtin_refusal(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @sio.on("connect")
    def connect() -> None:
        raise builtins.ConnectionRefusedError("no")

    t.note("refuses", sio.test_client(app).is_connected())
    seen: list[str] = []
    sio.on_error_default(lambda error: seen.append(type(error).__name__))
    connected = sio.test_client(app).is_connected()
    t.differs("builtin-refusal", "with an error handler", connected, theirs=True, ours=False)
    t.differs("builtin-refusal", "the error handler", seen, theirs=["ConnectionRefusedError"], ours=[])


@scenario("1.5.6")
def acting_in_connect(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @sio.on("connect")
    def connect() -> None:
        api.emit("welcome", {"to": "you"})
        api.join_room("room")
        api.emit("joined", to="room")

    client = sio.test_client(app)
    t.note("received", client.get_received())
    sio.emit("later", to="room")
    t.note("still there", client.get_received())


@scenario("1.5.7", "disconnect-in-connect")
def leaving_in_connect(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("connect", lambda: api.disconnect())
    gone: list[object] = []
    sio.on_event("disconnect", gone.append)
    client = sio.test_client(app)
    t.differs("disconnect-in-connect", "connected", client.is_connected(), theirs=True, ours=False)
    t.differs("disconnect-in-connect", "reasons", gone, theirs=[], ours=["server disconnect"])
    sio.emit("anything")
    names = [entry["name"] for entry in client.queue]
    t.differs("disconnect-in-connect", "received", names, theirs=["anything"], ours=[])


@scenario("1.5.9", "error-in-connect")
def an_error_in_connect(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("connect", lambda: 1 // 0)
    t.attempt("without an error handler", lambda: sio.test_client(app))
    seen: list[object] = []
    sio.on_error()(lambda error: seen.append(type(error).__name__))
    connected = sio.test_client(app).is_connected()
    t.note("the error handler saw", seen)
    t.differs("error-in-connect", "one that returns None", connected, theirs=True, ours=False)
    sio.on_error()(lambda error: True)
    t.note("one that returns True", sio.test_client(app).is_connected())
    sio.on_error()(lambda error: False)
    t.note("one that returns False", sio.test_client(app).is_connected())


@scenario("2.5.2", "not-yet-connected")
def others_reach_nobody_who_is_connecting(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @sio.on("connect")
    def connect() -> None:
        thread = threading.Thread(target=sio.emit, args=("from elsewhere",))
        thread.start()
        thread.join(10)
        api.emit("from its handler", broadcast=True)

    names = [entry["name"] for entry in sio.test_client(app).get_received()]
    both = ["from elsewhere", "from its handler"]
    t.differs("not-yet-connected", "received", names, theirs=both, ours=["from its handler"])


@scenario("1.5.10")
def connect_runs_once_for_each_namespace(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    sio.on_event("connect", lambda: seen.append(req.namespace), namespace="*")
    sio.on_event("a", lambda: None, namespace="/x")
    sids = []
    sio.on_event("sid", lambda: req.sid)
    sio.on_event("sid", lambda: req.sid, namespace="/x")
    client = sio.test_client(app)
    client.connect("/x")
    sids = [client.emit("sid", callback=True), client.emit("sid", callback=True, namespace="/x")]
    t.note("seen", seen)
    t.note("two sids", len(set(sids)))


@scenario("1.6.1, 1.13.13")
def signatures_of_disconnect(api: Api, t: Transcript) -> None:
    seen: list[object] = []

    def optional(reason: str = "") -> None:
        seen.append(["optional", reason])

    handlers: dict[str, Callable[..., None]] = {
        "none": lambda: seen.append(["none"]),
        "reason": lambda reason: seen.append(["reason", reason]),
        "optional": optional,
        "star": lambda *args: seen.append(["star", *args]),
    }
    for handler in handlers.values():
        app, sio = api.make()
        sio.on_event("disconnect", handler)
        sio.test_client(app).disconnect()
    t.note("seen", seen)


@scenario("1.6.1", "disconnect-without-reason")
def disconnect_without_a_parameter_beside_an_error_handler(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[str] = []
    errors: list[str] = []
    sio.on_event("disconnect", lambda: seen.append("disconnected"))
    sio.on_error()(lambda error: errors.append(type(error).__name__))
    sio.test_client(app).disconnect()
    t.differs("disconnect-without-reason", "handler", seen, theirs=[], ours=["disconnected"])
    t.differs("disconnect-without-reason", "error handler", errors, theirs=["TypeError"], ours=[])


@scenario("1.6.2")
def the_names_of_the_reasons(api: Api, t: Transcript) -> None:
    for name in ("SERVER_DISCONNECT", "CLIENT_DISCONNECT", "PING_TIMEOUT", "TRANSPORT_CLOSE", "TRANSPORT_ERROR"):
        t.note(name, getattr(api.SocketIO.reason, name))


@scenario("1.6.3, 1.6.4, 1.10.6")
def what_disconnect_handlers_find(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []

    @sio.on("disconnect")
    def gone(reason: str) -> str:
        seen.append([reason, len(api.rooms()), "room" in api.rooms(), req.event["message"], req.event["args"]])
        api.emit("farewell")
        api.emit("news", broadcast=True, include_self=False)
        return "ignored"

    @sio.on("leave")
    def leave() -> str:
        api.join_room("room")
        api.disconnect()
        seen.append("after disconnect()")
        return "answer"

    sio.on_event("join", lambda: api.join_room("room"))
    stays, leaves, left = sio.test_client(app), sio.test_client(app), sio.test_client(app)
    left.emit("join")
    left.disconnect()
    leaves.emit("leave")
    t.note("seen", seen)
    t.note("others hear", [entry["name"] for entry in stays.get_received()])
    t.note("connected", [client.is_connected() for client in (stays, leaves, left)])
    t.attempt("emit after it", lambda: leaves.emit("join"), words="not connected")


@scenario("1.6.4, 1.13.11")
def putting_another_client_out(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    sio.on_event("sid", lambda: req.sid)
    sio.on_event("kick", lambda sid: api.disconnect(sid))
    sio.on_event("disconnect", seen.append)
    one, two = sio.test_client(app), sio.test_client(app)
    one.emit("kick", two.emit("sid", callback=True))
    one.emit("kick", "nobody")
    t.note("seen", seen)
    t.note("connected", [one.is_connected(), two.is_connected()])


@scenario("1.7.1, 1.7.2, 1.13.8")
def who_handles_an_error(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    def fail() -> None:
        raise LookupError("wrong")

    for namespace in ("/", "/own", "/none"):
        sio.on_event("fail", fail, namespace=namespace)
    client = sio.test_client(app)
    client.connect("/own")
    client.connect("/none")
    t.attempt("nobody", lambda: client.emit("fail"), words="wrong")
    sio.on_error("*")(lambda error: "never")
    t.attempt("a handler for '*'", lambda: client.emit("fail"), words="wrong")
    sio.on_error("/own")(lambda error: ["own", str(error), req.event["message"], req.namespace])
    t.attempt("another namespace's", lambda: client.emit("fail", namespace="/none"), words="wrong")
    sio.on_error_default(lambda error: ["default", req.namespace])
    t.note("its own", client.emit("fail", callback=True, namespace="/own"))
    t.note("the default one", client.emit("fail", callback=True, namespace="/none"))
    sio.on_error("/none")(lambda error: 1 // 0)
    t.attempt("one that fails", lambda: client.emit("fail", namespace="/none"))
    t.note("still connected", client.is_connected("/none"))


@scenario("1.7.3")
def a_refusal_outside_connect(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    sio.on_error_default(lambda error: seen.append("told"))

    @sio.on("a")
    def a() -> None:
        raise api.ConnectionRefusedError("too late")

    client = sio.test_client(app)
    t.attempt("what the test sees", lambda: client.emit("a", callback=True))
    t.note("error handlers", seen)
    t.note("connected", client.is_connected())


@scenario("1.7.4")
def errors_in_disconnect_and_classes(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    sio.on_event("disconnect", lambda reason: 1 // 0)
    sio.on_namespace(api.namespace("/x", on_fail=lambda self: 1 // 0))
    sio.on_error_default(lambda error: seen.append([req.namespace, req.event["message"], type(error).__name__]))
    client = sio.test_client(app)
    client.connect("/x")
    t.note("answer", outcome(lambda: client.emit("fail", callback=True, namespace="/x")))
    client.disconnect()
    t.note("seen", seen)


@scenario("1.5.4", "refusal-with-bytes")
def a_refusal_with_bytes(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @sio.on("connect")
    def connect() -> None:
        raise api.ConnectionRefusedError("no", b"bytes")

    answer = outcome(partial(_connects, sio, app, None))
    t.differs("refusal-with-bytes", "connected", answer, theirs="ValueError", ours=False)


@scenario("1.5.5, 1.5.8")
def always_connect(api: Api, t: Transcript) -> None:
    app, sio = api.make(always_connect=True)
    gone: list[object] = []
    sio.on_event("disconnect", gone.append)

    @sio.on("connect")
    def connect(auth: dict[str, Any]) -> Any:
        api.emit("hello")
        return auth["let in"]

    client = sio.test_client(app, auth={"let in": True})
    t.note("let in", [client.is_connected(), client.get_received()])
    refused = sio.test_client(app, auth={"let in": False})
    t.note("refused", refused.is_connected())
    sio.emit("news")
    t.note("what both hear", [len(client.get_received()), [entry["name"] for entry in refused.queue]])
    t.note("disconnect handlers", gone)
