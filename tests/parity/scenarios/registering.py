"""Registering handlers: decorators, classes, catch-alls, applications that come later (spec 1.2, 1.3)."""

from __future__ import annotations

import warnings
from typing import Any, cast

from flask import Flask

from tests.parity.kit import Api, Transcript, outcome, req, scenario


@scenario("1.3.1, 1.3.2, 1.3.3")
def the_ways_to_register(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    def plain(*args: object) -> str:
        return "plain"

    t.note("on() returns the function", sio.on("a")(plain) is plain)
    t.note("event returns the function", sio.event(plain) is plain)
    t.note("event() with a namespace returns the function", sio.event(namespace="/x")(plain) is plain)
    t.note("on_event() returns nothing", cast("Any", sio).on_event("b", plain))
    client = sio.test_client(app)
    client.connect("/x")
    t.note("answers", [client.emit(name, callback=True) for name in ("a", "b", "plain")])
    t.note("answer in the namespace", client.emit("plain", callback=True, namespace="/x"))


@scenario("1.3.1")
def a_later_handler_replaces_the_earlier(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("a", lambda: "first")
    sio.on_event("a", lambda: "second")
    t.note("answer", sio.test_client(app).emit("a", callback=True))


@scenario("1.3.4, 1.3.5")
def what_cannot_be_registered(api: Api, t: Transcript) -> None:
    _, sio = api.make()
    anything = cast("Any", sio)
    t.attempt("a class", lambda: anything.on_namespace(api.Namespace), words="Not a namespace instance")
    t.attempt("an object", lambda: anything.on_namespace(object()), words="Not a namespace instance")
    t.attempt("on_error", lambda: anything.on_error()("text"), words="exception_handler must be callable")
    t.attempt("on_error_default", lambda: anything.on_error_default(3), words="exception_handler must be callable")


@scenario("1.3.5")
def error_decorators_return_the_function(api: Api, t: Transcript) -> None:
    _, sio = api.make()

    def handle(error: object) -> None:
        del error

    t.note("on_error", sio.on_error("/x")(handle) is handle)
    t.note("on_error_default", sio.on_error_default(handle) is handle)
    t.note("kept", (sio.exception_handlers == {"/x": handle}, sio.default_exception_handler is handle))


@scenario("1.3.7", "missing-slash")
def a_namespace_without_its_slash(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sio.on_event("a", lambda: "found", namespace="chat")
    client = sio.test_client(app, namespace="/chat")
    t.differs("missing-slash", "connected", client.is_connected("/chat"), theirs=False, ours=True)
    t.differs("missing-slash", "warnings", len(said), theirs=0, ours=1)


@scenario("1.3.8, 1.13.6, 1.13.7")
def who_is_found_first(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("known", lambda: "exact")
    sio.on_event("*", lambda name, *args: ["any event", name, *args])
    sio.on_event("everywhere", lambda: "any namespace, this event", namespace="*")
    sio.on_event("only there", lambda: "there", namespace="/there")
    sio.on_event("elsewhere", lambda *args: ["any namespace", req.namespace, *args], namespace="*")
    client = sio.test_client(app)
    client.connect("/there")
    t.note("exact", client.emit("known", callback=True))
    t.note("any event", client.emit("unknown", 1, "two", callback=True))
    t.note("any event comes before any namespace", client.emit("everywhere", callback=True))
    t.note("exact in the other", client.emit("only there", callback=True, namespace="/there"))
    t.note("any namespace", client.emit("elsewhere", 5, callback=True, namespace="/there"))


@scenario("1.3.8")
def functions_shadow_classes(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_namespace(api.namespace("/x", on_a=lambda self: "method a", on_b=lambda self: "method b"))
    sio.on_event("a", lambda: "function a", namespace="/x")
    client = sio.test_client(app, namespace="/x")
    t.note("a", client.emit("a", callback=True, namespace="/x"))
    t.note("b", client.emit("b", callback=True, namespace="/x"))
    sio.on_event("*", lambda name: f"any event {name}", namespace="/x")
    t.note("b behind a catch-all", client.emit("b", callback=True, namespace="/x"))


@scenario("1.3.8")
def catch_alls_and_the_reserved_events(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    seen: list[object] = []
    sio.on_event("*", lambda name, *args: seen.append(["event", name]))
    sio.on_event("connect", lambda: seen.append(["connect", req.namespace]), namespace="*")
    sio.on_event("disconnect", lambda reason: seen.append(["disconnect", req.namespace, reason]), namespace="*")
    client = sio.test_client(app)
    client.emit("message", "x")
    client.disconnect()
    t.note("seen", seen)


@scenario("1.3.10", "catch-all-both")
def any_event_in_any_namespace(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("*", lambda name, *args: ["caught", name, *args], namespace="*")
    client = sio.test_client(app)
    answer = client.emit("anything", 1, callback=True)
    t.differs("catch-all-both", "answer", answer, theirs=["", 400], ours=["caught", "anything", 1])


@scenario("1.3.10", "catch-all-class")
def a_class_for_any_namespace(api: Api, t: Transcript) -> None:
    app, sio = api.make(namespaces="*")
    sio.on_namespace(api.namespace("*", on_a=lambda self, *args: ["method", req.namespace, *args]))
    client = sio.test_client(app, namespace="/some")
    t.note("connected", client.is_connected("/some"))
    answer = outcome(lambda: client.emit("a", 1, callback=True, namespace="/some"))
    t.differs("catch-all-class", "answer", answer, theirs=["", 400], ours=["method", "/some", 1])


@scenario("1.3.11, 1.13.8, 2.4")
def which_namespaces_are_accepted(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("a", lambda: None, namespace="*")
    sio.on_event("a", lambda: None, namespace="/with a handler")
    for name in ("/", "/with a handler", "/without"):
        t.note(name, sio.test_client(app, namespace=name).is_connected(name))
    app, sio = api.make(namespaces=["/listed"])
    for name in ("/", "/listed", "/without"):
        t.note(f"{name}, listed", sio.test_client(app, namespace=name).is_connected(name))
    app, sio = api.make(namespaces="*")
    t.note("all", sio.test_client(app, namespace="/without").is_connected("/without"))


@scenario("1.2.11, 1.13.9")
def an_application_that_comes_later(api: Api, t: Transcript) -> None:
    sio = api.socketio(cookie="given")
    sio.on_event("a", lambda: "kept")
    sio.on_namespace(api.namespace("/x", on_a=lambda self: "kept too"))
    app = Flask("later")
    sio.init_app(app, ping_timeout=7)
    client = sio.test_client(app)
    client.connect("/x")
    t.note("function", client.emit("a", callback=True))
    t.note("class", client.emit("a", callback=True, namespace="/x"))
    t.note("extension", app.extensions["socketio"] is sio)
    t.note("options of both", [sio.server_options[name] for name in ("cookie", "ping_timeout")])


@scenario("1.2.7, 1.2.11", "init-app-again")
def init_app_a_second_time(api: Api, t: Transcript) -> None:
    sio = api.socketio()
    first, second = Flask("first"), Flask("second")
    sio.on_event("early", lambda: "early")
    sio.init_app(first)
    sio.on_event("late", lambda: "late")
    sio.init_app(second)
    client = sio.test_client(second)
    t.note("before the first", client.emit("early", callback=True))
    t.differs("init-app-again", "between", client.emit("late", callback=True), theirs=None, ours="late")


@scenario("1.2.15")
def two_applications_in_one_process(api: Api, t: Transcript) -> None:
    (one, sio_one), (two, sio_two) = api.make(), api.make(path="other")
    sio_one.on_event("a", lambda: "one")
    sio_two.on_event("a", lambda: "two")
    answers = [sio_one.test_client(one).emit("a", callback=True), sio_two.test_client(two).emit("a", callback=True)]
    t.note("answers", answers)
    hearer, other = sio_one.test_client(one), sio_two.test_client(two)
    sio_one.emit("news")
    t.note("heard", (len(hearer.get_received()), len(other.get_received())))


@scenario("1.3.1")
def the_empty_namespace_is_the_root(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("a", lambda: req.namespace, namespace="")
    client = sio.test_client(app, namespace="")
    t.note("answer", client.emit("a", callback=True))
    t.note("a class", api.namespace("").namespace)


@scenario("1.3.4")
def a_class_registered_after_the_application(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    client = sio.test_client(app)
    sio.on_namespace(api.namespace("/late", on_a=lambda self: "late"))
    sio.on_event("b", lambda: "later")
    client.connect("/late")
    t.note("class", client.emit("a", callback=True, namespace="/late"))
    t.note("function", client.emit("b", callback=True))
