"""What a handler's call looks like: contexts, ``request``, arguments, results (spec 1.4)."""

from __future__ import annotations

from typing import Any

from flask import (
    Response,
    abort,
    current_app,
    flash,
    g,
    get_flashed_messages,
    has_app_context,
    has_request_context,
    render_template_string,
    session,
    url_for,
)

from tests.parity.kit import Api, Transcript, outcome, req, scenario


@scenario("1.4.2")
def contexts_are_fresh_for_each_event(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    torn: list[object] = []
    ran: list[str] = []
    app.before_request(lambda: ran.append("before"))

    @app.after_request
    def after(response: Response) -> Response:
        ran.append("after")
        return response

    app.teardown_request(lambda error: torn.append(type(error).__name__))
    app.teardown_appcontext(lambda error: torn.append(type(error).__name__))

    @sio.on("a")
    def a() -> list[object]:
        g.count = g.get("count", 0) + 1
        return [g.count, current_app.name, req.endpoint]

    @sio.on("b")
    def b() -> None:
        raise LookupError

    client = sio.test_client(app)
    torn.clear()
    t.note("first", client.emit("a", callback=True))
    t.note("second", client.emit("a", callback=True))
    t.note("torn down", torn[:])
    torn.clear()
    t.attempt("an error", lambda: client.emit("b"))
    t.note("torn down with the error", torn)
    t.note("before_request and after_request", ran)


@scenario("1.4.3, 1.13.1")
def request_is_the_handshake(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @sio.on("a")
    def a() -> dict[str, object]:
        return {
            "args": req.args.to_dict(flat=False),
            "header": req.headers.get("X-Custom"),
            "names": sorted(req.headers.keys()),
            "method": req.method,
            "path": req.path.rstrip("/"),
            "remote": req.remote_addr,
            "cookies": dict(req.cookies),
        }

    client = sio.test_client(app, query_string="?foo=bar&foo=baz&x=", headers={"X-Custom": "yes", "Cookie": "a=b"})
    for name, value in client.emit("a", callback=True).items():
        t.note(name, value)
    t.note("without the question mark", sio.test_client(app, query_string="foo=1").emit("a", callback=True)["args"])


@scenario("1.4.3")
def the_environ_is_one_for_the_connection(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    environs: list[int] = []

    def keep() -> object:
        environs.append(id(req.environ))
        seen = req.environ.get("kept")
        req.environ["kept"] = req.namespace
        return seen

    sio.on_event("a", keep)
    sio.on_event("a", keep, namespace="/x")
    client = sio.test_client(app)
    t.note("first", client.emit("a", callback=True))
    t.note("second", client.emit("a", callback=True))
    t.note("one object", len(set(environs)))


@scenario("1.4.4")
def what_request_is_given(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    events: list[object] = []

    def shown() -> None:
        event = req.event
        # Without auth: (environ,) up to python-socketio 5.16, (environ, None) after it. Either will do.
        given = event["args"][:1] if event["args"][1:] == (None,) else event["args"]
        args = tuple("environ" if isinstance(arg, dict) and "wsgi.version" in arg else arg for arg in given)
        is_tuple = isinstance(event["args"], tuple)
        events.append([event["message"], list(args), is_tuple, req.namespace, type(req.sid).__name__])

    sio.on_event("connect", lambda auth=None: shown())
    sio.on_event("disconnect", lambda reason: shown())
    sio.on_event("a", lambda *args: shown())
    sio.on_event("*", lambda *args: shown())
    sio.on_event("a", lambda *args: shown(), namespace="/x")
    client = sio.test_client(app)
    client.emit("a", 1, {"b": [2]})
    client.emit("other", 3)
    client.connect("/x")
    client.emit("a", namespace="/x")
    client.disconnect()
    with_auth = sio.test_client(app, auth={"token": 1})
    with_auth.disconnect()
    for number, event in enumerate(events):
        t.note(f"event {number}", event)


@scenario("1.4.5")
def results_answer(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    results: dict[str, Any] = {
        "None": None, "False": False, "0": 0, "empty text": "", "list": [1, 2], "tuple": (1, 2), "()": (), "(5,)": (5,),
        "dict": {"a": 1}, "nested": ({"a": [1]}, None), "bytes": b"\x00\xff", "in a dict": {"b": b"x"}, "[]": [],
    }  # fmt: skip
    sio.on_event("ask", lambda what: results[what])
    client = sio.test_client(app)
    for what in results:
        t.note(what, client.emit("ask", what, callback=True))
    t.note("not asked for", client.emit("ask", "dict"))


@scenario("1.4.6")
def nobody_handles_it(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("a", lambda: None)
    sio.on_namespace(api.namespace("/x", on_a=lambda self: "a"))
    client = sio.test_client(app)
    client.connect("/x")
    t.note("functions: no answer", client.emit("b", callback=True))
    t.note("a class: an empty answer", client.emit("b", callback=True, namespace="/x"))
    t.note("a class: its method", client.emit("a", callback=True, namespace="/x"))


@scenario("1.4.7, 1.7.1")
def wrong_arguments(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    calls: list[str] = []

    @sio.on("two")
    def two(a: object, b: object) -> None:
        calls.append("two")

    client = sio.test_client(app)
    t.attempt("too few", lambda: client.emit("two", 1, callback=True), words="missing 1 required positional argument")
    t.attempt("too many", lambda: client.emit("two", 1, 2, 3), words="takes 2 positional arguments")
    sio.on_error()(lambda error: f"told: {type(error).__name__}")
    t.note("the error handler", client.emit("two", callback=True))
    t.note("the body", calls)


@scenario("1.4.9, 1.12.9")
def emits_come_before_the_answer(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @sio.on("a")
    def a(*args: object) -> str:
        api.emit("first", {"n": 1})
        api.send("second")
        api.send({"n": 3}, json=True)
        api.emit("fourth", (1, [2], None))
        api.emit("fifth")
        api.emit("sixth", b"bytes")
        return "answer"

    client = sio.test_client(app)
    t.note("answer", client.emit("a", callback=True))
    for entry in client.get_received():
        t.note(str(entry["name"]), entry)


@scenario("1.12.7, 1.13.6")
def arguments_arrive(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    sio.on_event("echo", lambda *args: list(args))
    client = sio.test_client(app)
    lists: list[tuple[Any, ...]] = [
        (),
        (None,),
        (1, "two", 3.5),
        ({"a": [True, None]},),
        (b"\x01", [b"\x02"]),
        ("ü 😀",),
        ([],),
    ]
    for args in lists:
        t.note(repr(args), client.emit("echo", *args, callback=True))


@scenario("1.8.1, 1.13.15")
def a_managed_session_is_a_dict(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @sio.on("a")
    def a(value: object) -> list[object]:
        before = dict(session)
        session["kept"] = value
        return [before, session == {"kept": value}, isinstance(session._get_current_object(), dict)]  # type: ignore[attr-defined]  # a LocalProxy

    client = sio.test_client(app)
    t.note("first", outcome(lambda: client.emit("a", 1, callback=True)))
    t.note("second", outcome(lambda: client.emit("a", 2, callback=True)))


@scenario("1.4.2")
def flasks_helpers_in_handlers(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    app.add_url_rule("/page/<name>", "page", lambda name: name)

    @sio.on("helpers")
    def helpers() -> list[object]:
        flash("kept in the session")
        return [
            url_for("page", name="x"),
            render_template_string("{{ request.namespace }} {{ 1 + 1 }}"),
            get_flashed_messages(),
            has_request_context(),
            has_app_context(),
        ]

    @sio.on("abort")
    def stop(code: int) -> None:
        abort(code)

    client = sio.test_client(app)
    t.note("helpers", client.emit("helpers", callback=True))
    t.attempt("abort", lambda: client.emit("abort", 404), words="404 Not Found")
    t.note("no context is left", [has_request_context(), has_app_context()])


@scenario("1.8.1")
def attributes_of_a_managed_session(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @sio.on("a")
    def a() -> dict[str, object]:
        session["a"] = 1
        names = ("modified", "accessed", "new", "permanent")
        return {name: bool(getattr(session, name)) for name in names}

    for name, value in sio.test_client(app).emit("a", callback=True).items():
        t.note(name, value)


@scenario("1.4.5, 1.4.6")
def events_with_odd_names(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    for name in ("with spaces", "ü 😀", "", "on_a", "__init__"):
        sio.on_event(name, lambda name=name: [name])
    sio.on_namespace(api.namespace("/x", on_a=lambda self: "a", helper=lambda self: "not an event"))
    client = sio.test_client(app)
    client.connect("/x")
    for name in ("with spaces", "ü 😀", "", "on_a", "__init__"):
        t.note(repr(name), client.emit(name, callback=True))
    for name in ("a", "on_a", "helper", "__init__", "emit", "with spaces"):
        t.note(f"a class: {name}", client.emit(name, callback=True, namespace="/x"))
