"""The handshake's one pass through the WSGI middlewares of the application (spec 3.15.2, design §8.21)."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
from flask import Flask, Response, request, url_for
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.bridge.context_kit import event, handshake
from trioflask_sio.bridge.context import Connection
from trioflask_sio.bridge.middleware import install

PROXIED = (
    ("x-forwarded-for", "203.0.113.5"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "public.example"),
    ("x-forwarded-prefix", "/chat"),
)

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


def make_app() -> Flask:
    app = Flask("middlewares")
    app.add_url_rule("/page", "page", lambda: request.remote_addr or "")
    return app


def wrap(app: Flask, middleware: Callable[..., Any]) -> None:
    app.wsgi_app = middleware(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented way to add one


@pytest.mark.parametrize("when", ["before", "after", "both", "without installing"])
def test_proxy_fix_acts_on_what_handlers_see(when: str) -> None:
    app = make_app()
    if when == "both":
        wrap(app, lambda inner: ProxyFix(inner, x_for=0, x_proto=1, x_host=0, x_prefix=0))
    if when == "before":
        wrap(app, lambda inner: ProxyFix(inner, x_for=1, x_proto=1, x_host=1, x_prefix=1))
    if when != "without installing":
        install(app)
    if when in ("after", "without installing"):
        wrap(app, lambda inner: ProxyFix(inner, x_for=1, x_proto=1, x_host=1, x_prefix=1))
    if when == "both":
        wrap(app, lambda inner: ProxyFix(inner, x_for=1, x_proto=0, x_host=1, x_prefix=1))
    connection = Connection(app, handshake(*PROXIED))
    with event(connection):
        assert request.remote_addr == "203.0.113.5"
        assert url_for("page", _external=True) == "https://public.example/chat/page"
    assert connection.refusal is None


def test_they_run_once_per_connection_also_when_two_events_come_at_once() -> None:
    app = make_app()
    passes: list[str] = []
    meeting = threading.Barrier(2)

    def counting(inner: Any) -> Any:
        def middleware(environ: Any, start_response: Any) -> Any:
            passes.append(environ["PATH_INFO"])
            return inner(environ, start_response)

        return middleware

    wrap(app, counting)
    connection = Connection(app, handshake())

    def handle(sid: str) -> Any:
        meeting.wait(20)
        with event(connection, sid):
            return request.environ

    with ThreadPoolExecutor(2) as pool:
        environs = list(pool.map(handle, ["one", "two"]))
    with event(connection):
        pass
    assert passes == ["/socket.io/"]
    assert environs[0] is environs[1] is connection.environ


def test_a_generator_as_middleware() -> None:
    app = make_app()
    closed: list[bool] = []

    def lazy(inner: Any) -> Any:
        def middleware(environ: Any, start_response: Any) -> Iterator[bytes]:
            environ["lazy"] = True
            try:
                yield from inner(environ, start_response)
            finally:
                closed.append(True)

        return middleware

    wrap(app, lazy)
    with event(Connection(app, handshake())):
        assert request.environ["lazy"] is True
    assert closed == [True]


def test_what_a_middleware_undoes_on_the_way_out_stays_for_handlers() -> None:
    app = make_app()

    def undoing(inner: Any) -> Any:
        def middleware(environ: Any, start_response: Any) -> Any:
            environ["tenant"] = "blue"
            try:
                return inner(environ, start_response)
            finally:
                del environ["tenant"]

        return middleware

    wrap(app, undoing)
    with event(Connection(app, handshake())):
        assert request.environ["tenant"] == "blue"


def test_middlewares_see_an_ordinary_call_and_no_marker_is_left() -> None:
    app = make_app()
    seen: list[Any] = []

    def watching(inner: Any) -> Any:
        def middleware(environ: Any, start_response: Any) -> Any:
            def noting(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                seen.append(status)
                return start_response(status, headers, exc_info)

            body = inner(environ, noting)
            seen.append(list(body))
            return body

        return middleware

    wrap(app, watching)
    connection = Connection(app, handshake())
    assert seen == []  # not before the first event
    assert not [key for key in connection.environ if key.startswith("trioflask_sio")]
    assert seen == ["204 NO CONTENT", []]


def test_nothing_of_the_application_runs_in_the_pass() -> None:
    app = make_app()
    ran: list[str] = []
    app.before_request(lambda: ran.append("before"))

    @app.after_request
    def note_reply(response: Response) -> Response:
        ran.append("after")
        return response

    app.teardown_request(lambda exc: ran.append("teardown"))
    app.teardown_appcontext(lambda exc: ran.append("teardown app"))

    @app.route("/socket.io/")
    def shadow() -> str:
        ran.append("view")
        return ""

    def note(sender: Any, **kwargs: Any) -> None:
        ran.append("signal")

    signals = [flask.request_started, flask.request_finished, flask.appcontext_pushed, flask.request_tearing_down]
    for signal in signals:
        signal.connect(note, app)
    assert Connection(app, handshake()).environ["PATH_INFO"] == "/socket.io/"
    assert ran == []


def test_ordinary_requests_are_as_they_were() -> None:
    app = make_app()
    ran: list[str] = []
    app.before_request(lambda: ran.append("before"))
    app.teardown_request(lambda exc: ran.append("teardown"))
    assert Connection(app, handshake()).environ
    assert app.test_client().get("/page", environ_base={"REMOTE_ADDR": "192.0.2.1"}).text == "192.0.2.1"
    assert ran == ["before", "teardown"]
    with app.test_request_context("/page"):
        assert request.endpoint == "page"
    with app.test_client() as client:
        client.get("/page")
        assert request.path == "/page"


def test_a_request_within_the_pass_is_ordinary() -> None:
    """A middleware that asks the application something before it calls on."""
    app = make_app()

    def asking(inner: Any) -> Any:
        def middleware(environ: Any, start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/socket.io/":
                environ["asked"] = app.test_client().get("/page").status_code
            return inner(environ, start_response)

        return middleware

    wrap(app, asking)
    assert Connection(app, handshake()).environ["asked"] == 200


def test_context_variables_of_middlewares_stay_in_the_pass() -> None:
    app = make_app()

    def painting(inner: Any) -> Any:
        def middleware(environ: Any, start_response: Any) -> Any:
            colour.set("red")
            return inner(environ, start_response)

        return middleware

    wrap(app, painting)
    with event(Connection(app, handshake())):
        assert colour.get() == "none"


def refuse(inner: Any) -> Any:
    def middleware(environ: Any, start_response: Any) -> Any:
        environ["seen"] = True
        start_response("401 Unauthorized", [])
        return [b"who are you?"]

    return middleware


def test_a_middleware_that_answers_itself_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    wrap(app, refuse)
    for _ in range(3):
        connection = Connection(app, handshake())
        assert connection.refusal == "401 Unauthorized"
        with event(connection):
            assert request.path == "/socket.io/"
            assert "seen" not in request.environ
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "'401 Unauthorized'" in record.getMessage()
    assert "'middlewares'" in record.getMessage()


def test_a_dispatcher_that_sends_the_path_elsewhere_counts_as_an_answer() -> None:
    app = make_app()
    wrap(app, lambda inner: DispatcherMiddleware(inner, {"/socket.io": refuse(None)}))
    assert Connection(app, handshake()).refusal == "401 Unauthorized"


def test_a_middleware_that_fails_is_a_programmers_mistake(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()

    def failing(inner: Any) -> Any:
        def middleware(environ: Any, start_response: Any) -> Any:
            raise LookupError("no such header")

        return middleware

    wrap(app, failing)
    with event(Connection(app, handshake())):
        assert request.path == "/socket.io/"
    assert "LookupError: no such header" in caplog.text


def test_two_applications_do_not_meet() -> None:
    one, two = make_app(), make_app()
    wrap(one, lambda inner: ProxyFix(inner))
    with event(Connection(one, handshake(*PROXIED))):
        assert request.remote_addr == "203.0.113.5"
        with event(Connection(two, handshake(*PROXIED))):
            assert request.remote_addr == "192.0.2.7"
        assert request.remote_addr == "203.0.113.5"
