"""The middleware that ``SocketIO(app)`` leaves on the application (spec 6.4 #17)."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType

import pytest
from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client

from trioflask_sio import SocketIO
from trioflask_sio.bridge.middleware import SioMiddleware, install


@pytest.fixture
def app() -> Flask:
    app = Flask("some.chat")
    app.add_url_rule("/", "index", lambda: request.environ["flask.app"].name)
    app.add_url_rule("/<path:rest>", "rest", lambda rest: rest)
    return app


def test_ordinary_requests_pass_and_find_the_application(app: Flask) -> None:
    install(app)
    assert app.test_client().get("/").text == "some.chat"


def test_plain_wsgi_is_told_how_to_start(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    install(app, object_name="sio")
    client = app.test_client()
    reply = client.get("/socket.io/?EIO=4&transport=polling")
    assert reply.status_code == 500
    assert reply.content_type == "text/plain; charset=utf-8"
    for command in (
        "python -m trioflask_sio serve", "hypercorn -k trio", "uvicorn", "gunicorn --worker-class asgi -w 1",
    ):  # fmt: skip
        assert f"  {command} some.chat:sio\n" in reply.text
    assert client.post("/socket.io/?EIO=4&sid=x").status_code == 500
    assert [record.getMessage() for record in caplog.records] == [reply.text]  # once, however often clients try


@pytest.mark.parametrize("path", ["/socket.io", "/socket.iou/", "/x/socket.io/", "/socket"])
def test_only_the_path_with_its_slash_is_ours(app: Flask, path: str) -> None:
    install(app)
    assert app.test_client().get(path).text == path[1:]


@pytest.mark.parametrize("path", ["live", "/live", "/live/", "live/"])
def test_another_path(app: Flask, path: str) -> None:
    middleware = install(app, path=path)
    assert middleware.path == "live"
    client = app.test_client()
    assert client.get("/live/").status_code == 500
    assert client.get("/socket.io/").status_code == 200


def test_a_second_installation_replaces_the_first(app: Flask) -> None:
    first = install(app, path="old")
    assert install(app, path="new") is first
    assert app.wsgi_app is first
    assert not isinstance(first.wsgi_app, SioMiddleware)
    client = app.test_client()
    assert client.get("/old/").status_code == 200
    assert client.get("/new/").status_code == 500


def test_a_second_installation_below_another_middleware(app: Flask) -> None:
    first = install(app, path="old")
    app.wsgi_app = outer = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented way to add one
    install(app, path="new")
    assert app.wsgi_app is outer
    assert outer.app is first
    assert app.test_client().get("/new/").status_code == 500


def test_a_script_is_named_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    main.__file__ = "/srv/site/chat.py"
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert "hypercorn -k trio chat:socketio" in install(Flask("__main__")).instructions()
    del main.__file__  # an interactive session
    assert "hypercorn -k trio your_module:socketio" in install(Flask("__main__")).instructions()


def test_the_commands_name_the_variable_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("site_chat")
    monkeypatch.setitem(sys.modules, "site_chat", module)
    module.app = app = Flask("site_chat")  # type: ignore[attr-defined]  # a module made here
    module.realtime = SocketIO(app)  # type: ignore[attr-defined]  # a module made here
    assert "uvicorn site_chat:realtime\n" in app.test_client().get("/socket.io/").text


def test_the_object_itself_under_a_wsgi_server(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(SocketIO(Flask("some.chat")))
    for path in ("/", "/socket.io/?EIO=4&transport=polling"):
        reply = client.get(path)
        assert reply.status_code == 500
        assert "python -m trioflask_sio serve some.chat:socketio" in reply.text
    assert [record.exc_info for record in caplog.records] == [None], "said once, and no traceback per request"
    assert "init_app" in Client(SocketIO()).get("/").text


def test_servers_still_see_an_asgi_application() -> None:
    socketio = SocketIO(Flask("some.chat"))
    assert inspect.iscoroutinefunction(getattr(socketio, "__call__"))  # noqa: B004, B009  # as uvicorn and hypercorn ask


def test_repr(app: Flask) -> None:
    assert repr(install(app)) == "<SioMiddleware of 'some.chat' for /socket.io/>"
