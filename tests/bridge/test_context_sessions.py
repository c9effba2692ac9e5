"""Sessions of events (spec 1.8)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask, Request, Response, request, session
from flask.sessions import SecureCookieSessionInterface, SessionInterface, SessionMixin

from tests.bridge.context_kit import event, handshake
from trioflask_sio.bridge.context import Connection
from trioflask_sio.bridge.flask_variants import LIGHT, LightContext, ManagedSession

DEADLINE = 20


@pytest.fixture(params=["light", "public"])
def light(request: pytest.FixtureRequest) -> type[LightContext] | None:
    return LIGHT if request.param == "light" else None


def make_app(secret: str | None = "test") -> Flask:
    app = Flask("sessions")
    app.secret_key = secret

    @app.route("/set/<value>")
    def put(value: str) -> str:
        session["value"] = value
        return value

    @app.route("/get")
    def get() -> dict[str, Any]:
        return dict(session)

    return app


def cookie_of(app: Flask, value: str) -> tuple[str, str]:
    """The handshake header of a browser that has visited ``/set/<value>``."""
    return ("cookie", app.test_client().get(f"/set/{value}").headers["Set-Cookie"].partition(";")[0])


def opened() -> Any:
    """The session object behind the proxy."""
    return session._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy


def write_and_fail(key: str, value: Any) -> None:
    """A handler that raises after it wrote."""
    session[key] = value
    raise ZeroDivisionError


# --- managed (1.8.1) ------------------------------------------------------------------------------------------------


def test_it_is_forked_once_and_shared_by_all_namespaces(light: type[LightContext] | None) -> None:
    app = make_app()
    connection = Connection(app, handshake(cookie_of(app, "cookie")), light=light)
    with event(connection, namespace="/a"):
        assert dict(session) == {"value": "cookie"}
        session["mine"] = [1]
        first = opened()
    with event(connection, "other", "/b"):
        assert opened() is first
        assert session["mine"] == [1]
        assert request.environ["saved_session"] is first
    assert connection.environ["saved_session"] == {"value": "cookie", "mine": [1]}
    assert isinstance(first, SessionMixin)


def test_neither_side_sees_the_others_later_changes(light: type[LightContext] | None) -> None:
    app = make_app()
    client = app.test_client()
    cookie = client.get("/set/early").headers["Set-Cookie"].partition(";")[0]
    connection = Connection(app, handshake(("cookie", cookie)), light=light)
    with event(connection):
        session["value"] = "of the handler"
    assert client.get("/get").json == {"value": "early"}
    client.get("/set/late")
    with event(connection):
        assert session["value"] == "of the handler"


def test_a_new_connection_forks_anew(light: type[LightContext] | None) -> None:
    app = make_app()
    header = cookie_of(app, "cookie")
    for _ in range(2):
        with event(Connection(app, handshake(header), light=light)):
            assert dict(session) == {"value": "cookie"}
            session.clear()


def test_it_is_writable_without_a_secret_key(light: type[LightContext] | None) -> None:
    connection = Connection(make_app(secret=None), handshake(), light=light)
    with event(connection):
        session["a"] = 1
        session.permanent = True
    with event(connection):
        assert session == {"a": 1, "_permanent": True}


def test_it_is_never_saved(light: type[LightContext] | None) -> None:
    app = make_app()
    store = app.session_interface = Store()
    with event(Connection(app, handshake(), light=light)):
        session["a"] = 1
    assert store.saved == []


def test_changes_survive_a_handler_that_raises(light: type[LightContext] | None) -> None:
    connection = Connection(make_app(), handshake(), light=light)
    with pytest.raises(ZeroDivisionError), event(connection):
        write_and_fail("a", 1)
    with event(connection):
        assert session["a"] == 1


def test_two_first_events_at_once_share_one_fork(light: type[LightContext] | None) -> None:
    meeting = threading.Barrier(2)

    class Meeting(SecureCookieSessionInterface):
        def open_session(self, app: Flask, request: Request) -> Any:
            meeting.wait(DEADLINE)  # both are in here before either has forked
            return super().open_session(app, request)

    app = make_app()
    header = cookie_of(app, "cookie")
    app.session_interface = Meeting()
    connection = Connection(app, handshake(header), light=light)

    def handle(sid: str) -> Any:
        with event(connection, sid):
            session[sid] = True
            return opened()

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(handle, ["one", "two"])
    assert one is two
    assert one == {"value": "cookie", "one": True, "two": True}


# --- Flask's own (1.8.2) --------------------------------------------------------------------------------------------


class Plain(dict[str, Any], SessionMixin):
    """A session of a store, that notes whether it was changed only if it is told to."""


class Unmarked(dict[str, Any]):
    """A session of a store that knows nothing of ``modified``."""

    accessed = False


class Store(SessionInterface):
    """Server-side sessions under one key."""

    def __init__(self, make: type[Any] = Plain) -> None:
        self.make = make
        self.data: dict[str, Any] = {"count": 0}
        self.saved: list[dict[str, Any]] = []
        self.modified: bool | None = None

    def open_session(self, app: Flask, request: Request) -> Any:
        opened = self.make(self.data)
        if self.modified is not None:
            opened.modified = self.modified
        return opened

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        assert isinstance(response, Response)
        response.set_cookie("thrown", "away")
        self.data = dict(session)
        self.saved.append(dict(session))


def stored(light: type[LightContext] | None, make: type[Any] = Plain) -> tuple[Store, Connection]:
    app = make_app()
    store = app.session_interface = Store(make)
    return store, Connection(app, handshake(), light=light)


def test_a_cookie_session_is_the_handshakes_every_time(light: type[LightContext] | None) -> None:
    app = make_app()
    connection = Connection(app, handshake(cookie_of(app, "cookie")), light=light)
    for _ in range(2):
        with event(connection, manage=False):
            assert dict(session) == {"value": "cookie"}
            session["value"] = "lost"
    assert "saved_session" not in connection.environ


@pytest.mark.parametrize("make", [Plain, Unmarked])
def test_a_stored_session_is_current_and_saved(light: type[LightContext] | None, make: type[Any]) -> None:
    store, connection = stored(light, make)
    for _ in range(3):
        with event(connection, manage=False):
            session["count"] += 1
    store.data["count"] = 10  # a view wrote it meanwhile
    with event(connection, manage=False):
        session["count"] += 1
    assert [saved["count"] for saved in store.saved] == [1, 2, 3, 11]


def test_an_unchanged_session_is_not_saved(light: type[LightContext] | None) -> None:
    store, connection = stored(light)
    store.modified = False
    with event(connection, manage=False):
        assert session["count"] == 0
    assert store.saved == []
    with event(connection, manage=False):
        session.modified = True
    assert len(store.saved) == 1


def test_a_handler_that_raises_saves_nothing(light: type[LightContext] | None) -> None:
    store, connection = stored(light)
    with pytest.raises(ZeroDivisionError), event(connection, manage=False):
        write_and_fail("count", 5)
    assert store.saved == []


def test_without_a_secret_key_reading_works_and_saving_is_nothing(light: type[LightContext] | None) -> None:
    connection = Connection(make_app(secret=None), handshake(), light=light)
    with event(connection, manage=False):
        assert session.get("a") is None
        with pytest.raises(RuntimeError, match="secret key"):
            session["a"] = 1


def test_who_manages_may_change_at_run_time(light: type[LightContext] | None) -> None:
    """Spec 1.8.3."""
    store, connection = stored(light)
    with event(connection, manage=True):
        session["count"] = "managed"
    with event(connection, manage=False):
        assert session["count"] == 0
        session["count"] = "stored"
    with event(connection, manage=True):
        assert session["count"] == "managed"
    assert store.data == {"count": "stored"}


def test_a_managed_session_is_a_dictionary() -> None:
    managed = ManagedSession({"a": 1})
    assert managed == {"a": 1}
    assert (managed.permanent, managed.modified, managed.new) == (False, True, False)
