"""``flask.session`` in handlers, managed and not (spec 1.8)."""

from __future__ import annotations

from typing import Any

from flask import Flask, Request, Response, session
from flask.sessions import SessionInterface, SessionMixin

from tests.parity.kit import Api, Transcript, scenario


class StoredSession(dict[str, Any], SessionMixin):
    """A session that lives in a store on the server."""


class Store(SessionInterface):
    """A small server-side session interface over one dict, as extensions have it."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {"visits": 1}
        self.saved = 0

    def open_session(self, app: Flask, request: Request) -> StoredSession:
        """What is stored now."""
        return StoredSession(self.data)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Stored."""
        self.saved += 1
        self.data = dict(session)


def _with_routes(app: Flask) -> None:
    @app.route("/set/<value>")
    def store(value: str) -> str:
        session["user"] = value
        return "stored"

    app.add_url_rule("/get", view_func=lambda: dict(session), endpoint="get")


@scenario("1.8.1")
def a_fork_of_the_cookie(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    _with_routes(app)
    sio.on_event("get", lambda: dict(session))
    sio.on_event("set", lambda value: session.update(user=value))
    sio.on_event("get", lambda: dict(session), namespace="/x")
    browser = app.test_client()
    browser.get("/set/anna")
    client = sio.test_client(app, flask_test_client=browser)
    t.note("from the cookie", client.emit("get", callback=True))
    client.emit("set", "berta")
    t.note("kept", client.emit("get", callback=True))
    t.note("the route sees", browser.get("/get").json)
    browser.get("/set/clara")
    t.note("handlers do not see the route's", client.emit("get", callback=True))
    t.note("a new client does", sio.test_client(app, flask_test_client=browser).emit("get", callback=True))
    client.connect("/x")
    t.note("a test client that connects again is forked anew", client.emit("get", callback=True, namespace="/x"))


@scenario("1.8.1")
def without_a_secret_key(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    app.secret_key = None
    sio.on_event("set", lambda value: session.update(a=value))
    sio.on_event("get", lambda: dict(session))
    client = sio.test_client(app)
    client.emit("set", [1])
    t.note("kept", client.emit("get", callback=True))


@scenario("1.8.2")
def unmanaged_with_cookies(api: Api, t: Transcript) -> None:
    app, sio = api.make(manage_session=False)
    _with_routes(app)
    sio.on_event("get", lambda: dict(session))
    sio.on_event("set", lambda value: session.update(user=value))
    browser = app.test_client()
    browser.get("/set/anna")
    client = sio.test_client(app, flask_test_client=browser)
    client.emit("set", "berta")
    t.note("as at the handshake", client.emit("get", callback=True))


@scenario("1.8.2, 1.7.4")
def unmanaged_with_a_store(api: Api, t: Transcript) -> None:
    app, sio = api.make(manage_session=False)
    store = app.session_interface = Store()
    _with_routes(app)

    @sio.on("visit")
    def visit() -> int:
        session["visits"] += 1
        return int(session["visits"])

    @sio.on("fail")
    def fail() -> None:
        session["visits"] = -1
        raise LookupError

    client = sio.test_client(app)
    t.note("visit", client.emit("visit", callback=True))
    t.note("stored", store.data)
    t.note("the route sees", app.test_client().get("/get").json)
    store.data["visits"] = 10
    t.note("the route's are seen", client.emit("visit", callback=True))
    t.attempt("a failure", lambda: client.emit("fail"))
    t.note("is not stored", store.data)
    sio.on_error_default(lambda error: "handled")
    client.emit("fail")
    t.note("nor with an error handler", store.data)


@scenario("1.8.3")
def manage_session_at_run_time(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    t.note("default", sio.manage_session)
    sio.on_event("set", lambda value: session.update(a=value))
    sio.on_event("get", lambda: dict(session))
    sio.manage_session = False
    client = sio.test_client(app)
    client.emit("set", 1)
    t.note("not kept", client.emit("get", callback=True))
    sio.manage_session = True
    client.emit("set", 1)
    t.note("kept", client.emit("get", callback=True))
