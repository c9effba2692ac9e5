"""Flask contexts of events (spec 1.4.2 to 1.4.4), light and through Flask's public means alike."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
from flask import (
    Flask,
    Request,
    Response,
    copy_current_request_context,
    current_app,
    flash,
    g,
    get_flashed_messages,
    has_app_context,
    has_request_context,
    request,
    session,
    url_for,
)
from flask.ctx import RequestContext
from flask.sessions import SecureCookieSessionInterface
from flask_login import LoginManager, UserMixin, current_user, login_user
from werkzeug.exceptions import SecurityError

from tests.bridge.context_kit import event, handshake
from trioflask_sio.bridge.context import Connection
from trioflask_sio.bridge.environ import build_environ
from trioflask_sio.bridge.flask_variants import LIGHT, LightContext, PublicContext, light_context_class

DEADLINE = 20


@pytest.fixture(params=["light", "public"])
def light(request: pytest.FixtureRequest) -> type[LightContext] | None:
    return LIGHT if request.param == "light" else None


@pytest.fixture
def app() -> Flask:
    app = Flask("contexts")
    app.secret_key = "test"
    app.add_url_rule("/page/<name>", "page", lambda name: name)
    app.add_url_rule("/<path:anything>", "catch_all", lambda anything: anything)
    return app


@pytest.fixture
def connection(app: Flask, light: type[LightContext] | None) -> Connection:
    headers = (("cookie", "taste=sweet"), ("x-tag", "a"))
    return Connection(app, handshake(*headers, query="EIO=4&name=ada&name=bob"), light=light)


def test_this_flask_is_known() -> None:
    assert LIGHT is not None


def test_the_request_is_the_handshake(connection: Connection) -> None:
    with event(connection):
        assert request.args.getlist("name") == ["ada", "bob"]
        assert request.headers["X-Tag"] == "a"
        assert request.cookies["taste"] == "sweet"
        assert request.remote_addr == "192.0.2.7"
        assert (request.method, request.path) == ("GET", "/socket.io/")
        assert request.get_data() == b""


def test_it_carries_who_and_what(connection: Connection) -> None:
    with event(connection, "sid-1", "/chat", "say"):
        assert request.sid == "sid-1"  # type: ignore[attr-defined]  # ours
        assert request.namespace == "/chat"  # type: ignore[attr-defined]  # ours
        assert request.event == {"message": "say", "args": ()}  # type: ignore[attr-defined]  # ours


def test_the_url_is_not_matched(connection: Connection) -> None:
    with event(connection):  # although there is a route that would take it
        assert (request.endpoint, request.url_rule, request.view_args) == (None, None, None)
        assert request.blueprints == []


def test_the_environ_is_one_dictionary_for_the_whole_connection(connection: Connection) -> None:
    with event(connection, namespace="/a"):
        request.environ["mine"] = 1
        first = request.environ
    with event(connection, "other", "/b"):
        assert request.environ is first is connection.environ
        assert request.environ["mine"] == 1


def test_the_request_object_is_new_for_each_event(connection: Connection) -> None:
    with event(connection):
        request.mine = 1  # type: ignore[attr-defined]  # an application's habit
        assert request.args["EIO"] == "4"
    with event(connection, "other"):
        assert not hasattr(request, "mine")
        assert request.sid == "other"  # type: ignore[attr-defined]  # ours


def test_two_events_in_two_threads_do_not_mix(connection: Connection) -> None:
    meeting = threading.Barrier(2)

    def handle(sid: str) -> tuple[str, str, Any, Any]:
        with event(connection, sid):
            g.mine = sid
            meeting.wait(DEADLINE)
            seen = request.sid, g.mine  # type: ignore[attr-defined]  # ours
            meeting.wait(DEADLINE)
            return *seen, request.environ, session._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(handle, ["one", "two"])
    assert one[:2] == ("one", "one")
    assert two[:2] == ("two", "two")
    assert one[2] is two[2]
    assert one[3] is two[3]


def test_g_is_new_for_each_event(connection: Connection) -> None:
    for _ in range(2):
        with event(connection):
            assert "mine" not in g
            g.mine = 1
            assert current_app.name == "contexts"
    assert not has_request_context()
    assert not has_app_context()


def test_a_context_of_the_caller_is_neither_used_nor_harmed(app: Flask) -> None:
    connection = Connection(app, handshake())
    with app.app_context():
        g.mine = "outer"
        with event(connection):
            assert "mine" not in g
            g.mine = "inner"
        assert g.mine == "outer"


def test_an_event_within_an_event(connection: Connection) -> None:
    """A disconnect handler that runs nested inside ``disconnect()``."""
    with event(connection, message="outer"):
        g.mine = "outer"
        with event(connection, message="inner"):
            assert "mine" not in g
            assert request.event["message"] == "inner"  # type: ignore[attr-defined]  # ours
        assert g.mine == "outer"
        assert request.event["message"] == "outer"  # type: ignore[attr-defined]  # ours


def test_teardown_functions_run_and_request_functions_do_not(app: Flask, connection: Connection) -> None:
    ran: list[Any] = []
    app.before_request(lambda: ran.append("before"))

    @app.after_request
    def note_reply(response: Response) -> Response:
        ran.append("after")
        return response

    app.teardown_request(lambda exc: ran.append(("request", exc)))
    app.teardown_appcontext(lambda exc: ran.append(("app", exc)))
    with event(connection):
        pass
    assert ran == [("request", None), ("app", None)]
    ran.clear()
    error = ValueError("of the handler")
    with pytest.raises(ValueError, match="of the handler"), event(connection):
        raise error
    assert ran == [("request", error), ("app", error)]


def test_teardown_sees_the_request(app: Flask, connection: Connection) -> None:
    seen: list[Any] = []
    app.teardown_request(lambda exc: seen.append((request.sid, g.mine)))  # type: ignore[attr-defined]  # ours
    app.teardown_appcontext(lambda exc: seen.append(g.mine))
    with event(connection, "sid-1"):
        g.mine = 7
    assert seen == [("sid-1", 7), 7]


def test_a_teardown_function_that_fails_leaves_nothing_behind(app: Flask, connection: Connection) -> None:
    @app.teardown_request
    def fail(exc: BaseException | None) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), event(connection):
        pass
    assert not has_request_context()
    assert not has_app_context()


@pytest.mark.parametrize("where", ["session", "appcontext"])
def test_a_push_that_fails_leaves_nothing_behind(app: Flask, connection: Connection, where: str) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError

    ended: list[BaseException | None] = []
    app.teardown_appcontext(ended.append)
    assert connection.environ
    if where == "session":
        app.session_interface = SecureCookieSessionInterface()
        app.session_interface.open_session = fail  # type: ignore[method-assign]  # this application's own way to fail
        with pytest.raises(ZeroDivisionError), event(connection):
            pytest.fail("the handler ran without a session")
    else:
        with flask.appcontext_pushed.connected_to(fail, app), pytest.raises(ZeroDivisionError), event(connection):
            pytest.fail("the handler ran")
    assert len(ended) == 1
    assert not has_request_context()
    assert not has_app_context()


def test_url_for(app: Flask, light: type[LightContext] | None) -> None:
    connection = Connection(app, handshake(scheme="https", root_path="/mounted"), light=light)
    for _ in range(2):
        with event(connection):
            assert url_for("page", name="a") == "/mounted/page/a"
            assert url_for("page", name="a", _external=True) == "https://chat.example/mounted/page/a"


def test_a_host_that_cannot_be_bound_is_told_when_asked(light: type[LightContext] | None) -> None:
    class Strict(Flask):
        def create_url_adapter(self, request: Request | None) -> Any:
            if request is not None:
                raise SecurityError("untrusted host")
            return None

    with event(Connection(Strict("strict"), handshake(), light=light)):
        assert isinstance(request.routing_exception, SecurityError)


def test_flashes_stay_in_the_connection(connection: Connection) -> None:
    with event(connection):
        flash("first")
    with event(connection, namespace="/other"):
        assert get_flashed_messages() == ["first"]
        assert get_flashed_messages() == ["first"]  # as often as one likes within one request
    with event(connection):
        assert get_flashed_messages() == []


def test_copies_of_the_context_work_in_another_thread(app: Flask, connection: Connection) -> None:
    ended: list[str] = []
    app.teardown_request(lambda exc: ended.append(threading.current_thread().name))
    go = threading.Event()
    seen: list[Any] = []
    with event(connection, "sid-1"):
        session["a"] = 1

        @copy_current_request_context
        def work() -> None:
            go.wait(DEADLINE)
            g.mine = 1
            seen.append((request.sid, session["a"], current_app.name, url_for("page", name="x")))  # type: ignore[attr-defined]  # ours

        thread = threading.Thread(target=work, name="copy")
        thread.start()
    go.set()
    thread.join(DEADLINE)
    assert seen == [("sid-1", 1, "contexts", "/page/x")]
    assert ended == [threading.current_thread().name, "copy"]


def test_a_copy_within_the_event_shares_its_g(connection: Connection) -> None:
    with event(connection):
        g.mine = 1
        assert copy_current_request_context(lambda: g.mine)() == 1
        assert copy_current_request_context(lambda: copy_current_request_context(lambda: g.mine)())() == 1


class User(UserMixin):  # type: ignore[misc]  # flask_login has no types
    def __init__(self, name: str) -> None:
        self.id = name


def test_flask_login(app: Flask, light: type[LightContext] | None) -> None:
    manager = LoginManager(app)
    manager.user_loader(User)

    @app.route("/login")
    def login() -> str:
        login_user(User("ada"))
        return "in"

    cookie = app.test_client().get("/login").headers["Set-Cookie"].partition(";")[0]
    with event(Connection(app, handshake(), light=light)):
        assert not current_user.is_authenticated
    connection = Connection(app, handshake(("cookie", cookie)), light=light)
    for _ in range(2):
        with event(connection):
            assert current_user.is_authenticated
            assert current_user.id == "ada"


def test_an_applications_own_request_class(light: type[LightContext] | None) -> None:
    class Special(Request):
        @property
        def shout(self) -> str:
            return self.args["name"].upper()

    app = Flask("special")
    app.request_class = Special
    with event(Connection(app, handshake(query="name=ada"), light=light)):
        assert request.shout == "ADA"  # type: ignore[attr-defined]  # the application's own


def test_an_applications_own_request_context_is_kept() -> None:
    made: list[str] = []

    class Own(Flask):
        def request_context(self, environ: Any) -> RequestContext:
            made.append(environ["PATH_INFO"])
            return super().request_context(environ)

    connection = Connection(Own("own"), handshake())
    with event(connection) as context:
        assert isinstance(context, PublicContext)
        assert request.sid == "sid"  # type: ignore[attr-defined]  # ours
    assert made == ["/socket.io/"]


class Merged(RequestContext):
    """A context that is request and application context in one, as Flask will have it."""

    def __init__(self, app: Flask, environ: Any) -> None:
        super().__init__(app, environ)
        self._whole = app.app_context()
        self.g = self._whole.g

    def push(self) -> None:
        self._whole.push()
        super().push()

    def pop(self, exc: BaseException | None = None) -> None:
        super().pop(exc)
        self._whole.pop(exc)


def test_a_merged_context_is_pushed_once() -> None:
    class Later(Flask):
        def request_context(self, environ: Any) -> RequestContext:
            return Merged(self, environ)

    app = Later("later")
    ended: list[BaseException | None] = []
    app.teardown_appcontext(ended.append)
    connection = Connection(app, handshake())
    for _ in range(2):
        with event(connection):
            assert "mine" not in g
            g.mine = 1
    assert ended == [None, None]


def test_a_public_push_that_fails_early_leaves_nothing_behind() -> None:
    class Early(RequestContext):
        def push(self) -> None:
            raise ZeroDivisionError

    class Own(Flask):
        def request_context(self, environ: Any) -> RequestContext:
            return Early(self, environ)

    connection = Connection(Own("own"), handshake())
    with pytest.raises(ZeroDivisionError), event(connection):
        pytest.fail("the handler ran")
    assert not has_request_context()
    assert not has_app_context()


def test_a_ready_environ_is_taken_too(app: Flask, light: type[LightContext] | None) -> None:
    environ = build_environ(handshake(query="a=b"), app)
    del environ["flask.app"]
    environ["werkzeug.debug.preserve_context"] = lambda context: None  # Flask's test client leaves it there
    connection = Connection(app, environ, light=light)
    with event(connection):
        assert request.args["a"] == "b"
        assert request.environ["flask.app"] is app


@pytest.mark.parametrize(
    ("release", "known"),
    [
        ("3.0.0", True),
        ("3.0.3", True),
        ("3.1.0", True),
        ("3.1.3", True),
        ("3.2.0", False),
        ("4.0", False),
        ("3", False),
    ],
)
def test_which_releases_are_known(release: str, known: bool) -> None:
    assert (light_context_class(release) is not None) is known
