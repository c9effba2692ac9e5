"""``manage_session`` with sessions that live on the server and with cookies, in whole applications (spec 1.8).

The handlers run in worker threads of a served ``SocketIO``; the views are called over Flask's test client, whose cookie
the handshake carries as a browser's would.
"""

from __future__ import annotations

import pickle
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cachelib import FileSystemCache
from flask import Flask, Request, Response, session
from flask.sessions import SessionInterface, SessionMixin
from flask.testing import FlaskClient
from flask_session import Session

from tests.bridge.kit import Net, Peer, errors, serving
from trioflask_sio import SocketIO

pytestmark = pytest.mark.anyio

Setup = Callable[[Flask, Path], None]


class KeyValueSession(dict[str, Any], SessionMixin):
    """One session of ``KeyValueInterface``; it does not know whether it was changed."""

    def __init__(self, key: str, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.key = key


class KeyValueInterface(SessionInterface):
    """Sessions in a key-value store, as Flask-KVSession keeps them: the cookie holds the key alone."""

    def __init__(self) -> None:
        self.store: dict[str, bytes] = {}

    def open_session(self, app: Flask, request: Request) -> KeyValueSession:
        key = request.cookies.get("key", "")
        found = self.store.get(key)
        return KeyValueSession(key or secrets.token_hex(8), pickle.loads(found) if found else {})

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        assert isinstance(session, KeyValueSession)
        self.store[session.key] = pickle.dumps(dict(session))
        response.set_cookie("key", session.key)


def flask_session(app: Flask, folder: Path) -> None:
    app.config["SESSION_TYPE"] = "cachelib"
    app.config["SESSION_CACHELIB"] = FileSystemCache(str(folder))
    Session(app)


def key_value(app: Flask, folder: Path) -> None:
    app.session_interface = KeyValueInterface()


def cookies(app: Flask, folder: Path) -> None:
    """Flask's own."""


STORES = pytest.mark.parametrize("setup", [flask_session, key_value])
EVERY = pytest.mark.parametrize("setup", [flask_session, key_value, cookies])


def create(setup: Setup, folder: Path, **options: Any) -> tuple[Flask, SocketIO]:
    """An application with views and handlers that read and write the session."""
    app = Flask("stores")
    app.secret_key = "test"
    setup(app, folder)
    socketio = SocketIO(app, overlap_after=30.0, **options)

    @app.route("/put/<key>/<value>")
    def put(key: str, value: str) -> str:
        session[key] = value
        return value

    @app.route("/seen")
    def seen() -> dict[str, Any]:
        return _visible()

    @socketio.on("put")
    def put_by_event(key: str, value: str) -> None:
        session[key] = value

    @socketio.on("put later")
    async def put_in_a_task(key: str, value: str) -> None:
        session[key] = value

    @socketio.on("put and fail")
    def put_and_fail(key: str, value: str) -> None:
        session[key] = value
        raise ZeroDivisionError(key)

    @socketio.on_error()
    def failed(error: Exception) -> str:
        return f"failed on {error}"

    @socketio.on("seen")
    def seen_by_event() -> dict[str, Any]:
        return _visible()

    return app, socketio


def _visible() -> dict[str, Any]:
    return {key: value for key, value in session.items() if not key.startswith("_")}


async def browser(net: Net, web: FlaskClient) -> Peer:
    """A WebSocket of the browser that ``web`` is."""
    cookie = "; ".join(f"{cookie.key}={cookie.value}" for cookie in (web._cookies or {}).values())
    wire = net.client.socket({"EIO": "4", "transport": "websocket"}, [("cookie", cookie)])
    assert await wire.wait_open() is None
    await wire.receive()
    peer = Peer(wire)
    await peer.connect()
    return peer


async def seen(peer: Peer) -> Any:
    [found] = await peer.ask("seen")
    return found


@contextmanager
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert errors(caplog) == []


@STORES
async def test_views_and_handlers_share_a_stored_session(
    setup: Setup, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app, socketio = create(setup, tmp_path, manage_session=False)
    web, other = app.test_client(), app.test_client()
    web.get("/put/name/Ann")
    other.get("/put/name/Bob")
    with quiet(caplog):
        async with serving(socketio) as net:
            peer, stranger = await browser(net, web), await browser(net, other)
            assert await seen(peer) == {"name": "Ann"}
            await peer.ask("put", "color", "red")
            assert web.get("/seen").json == {"name": "Ann", "color": "red"}
            web.get("/put/color/blue")  # after the handshake: handlers see the present state
            assert await seen(peer) == {"name": "Ann", "color": "blue"}
            await peer.ask("put later", "task", "done")
            assert web.get("/seen").json == {"name": "Ann", "color": "blue", "task": "done"}
            assert await seen(stranger) == {"name": "Bob"}
            assert not [environ for environ in socketio.server.environ.values() if "saved_session" in environ]


@STORES
async def test_a_handler_that_fails_stores_nothing(setup: Setup, tmp_path: Path) -> None:
    app, socketio = create(setup, tmp_path, manage_session=False)
    web = app.test_client()
    web.get("/put/name/Ann")
    async with serving(socketio) as net:
        peer = await browser(net, web)
        assert await peer.ask("put and fail", "name", "nobody") == ["failed on name"]
        assert await seen(peer) == {"name": "Ann"}
    assert web.get("/seen").json == {"name": "Ann"}


@EVERY
async def test_managed_sessions_are_forked_at_the_first_event_and_stored_nowhere(setup: Setup, tmp_path: Path) -> None:
    app, socketio = create(setup, tmp_path)
    web = app.test_client()
    web.get("/put/name/Ann")
    async with serving(socketio) as net:
        peer = await browser(net, web)
        await peer.ask("put", "color", "red")
        await peer.ask("put later", "task", "done")
        assert await seen(peer) == {"name": "Ann", "color": "red", "task": "done"}
        web.get("/put/name/Eve")
        assert web.get("/seen").json == {"name": "Eve"}
        assert (await seen(peer))["name"] == "Ann"
        assert await seen(await browser(net, web)) == {"name": "Eve"}


async def test_cookie_sessions_that_are_not_managed_are_always_the_handshakes(tmp_path: Path) -> None:
    app, socketio = create(cookies, tmp_path, manage_session=False)
    web = app.test_client()
    web.get("/put/name/Ann")
    async with serving(socketio) as net:
        peer = await browser(net, web)
        await peer.ask("put", "name", "lost")
        assert await seen(peer) == {"name": "Ann"}


@STORES
async def test_it_may_be_flipped_at_run_time(setup: Setup, tmp_path: Path) -> None:
    app, socketio = create(setup, tmp_path)
    web = app.test_client()
    web.get("/put/name/Ann")
    async with serving(socketio) as net:
        peer = await browser(net, web)
        await peer.ask("put", "name", "managed")
        socketio.manage_session = False
        assert await seen(peer) == {"name": "Ann"}
        await peer.ask("put", "name", "stored")
        assert web.get("/seen").json == {"name": "stored"}
        socketio.manage_session = True
        assert await seen(peer) == {"name": "managed"}


@STORES
def test_with_the_test_client(setup: Setup, tmp_path: Path) -> None:
    app, socketio = create(setup, tmp_path, manage_session=False)
    web = app.test_client()
    web.get("/put/name/Ann")
    client = socketio.test_client(app, flask_test_client=web)
    client.emit("put", "color", "red")
    assert client.emit("seen", callback=True) == {"name": "Ann", "color": "red"}
    assert web.get("/seen").json == {"name": "Ann", "color": "red"}
