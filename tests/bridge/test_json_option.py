"""``json=``: a module of the application's choice writes and reads payloads (spec 1.2.5, 2.10.4)."""

from __future__ import annotations

import datetime
import decimal
import json
from typing import Any

import flask.json
import pytest
from flask import Flask, current_app
from flask.json.provider import DefaultJSONProvider

from tests.bridge.kit import errors, gone, in_thread, serving
from trioflask_sio import ConfigError, SocketIO, UsageError, emit

pytestmark = pytest.mark.anyio

DAY = datetime.date(2024, 2, 29)


class Tagged:
    """A module that marks what has passed through it, in both directions."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.separators: set[Any] = set()

    def dumps(self, data: object, separators: Any = None) -> str:
        self.written.append(data)
        self.separators.add(separators)
        return json.dumps(data, separators=separators, default=lambda odd: f"odd:{odd}")

    def loads(self, text: str) -> Any:
        return json.loads(text, parse_float=lambda digits: f"float:{digits}")


class Provider(DefaultJSONProvider):
    """An application's own JSON that looks at its application."""

    @staticmethod
    def default(o: Any) -> Any:
        return f"{current_app.name}:{o}"


def create(json: Any, name: str = "json", **options: Any) -> SocketIO:
    app = Flask(name)
    app.secret_key = "test"
    return SocketIO(app, json=json, overlap_after=30.0, **options)


def echo(socketio: SocketIO) -> None:
    @socketio.on("echo")
    def echo(*args: Any) -> Any:
        emit("dated", {"day": DAY, "raw": b"\x00\x01"})
        return args


async def test_any_module_with_the_two_functions() -> None:
    module = Tagged()
    socketio = create(module)
    echo(socketio)
    async with serving(socketio) as net:
        peer = await net.peer()
        assert await peer.ask("echo", 5.5, {"x": [6.5, b"bytes"]}) == ["float:5.5", {"x": ["float:6.5", b"bytes"]}]
        assert await peer.value("dated") == {"day": "odd:2024-02-29", "raw": b"\x00\x01"}
        await in_thread(lambda: socketio.emit("dated", DAY))
        assert await peer.value("dated") == "odd:2024-02-29"
    assert module.separators == {(",", ":")}
    assert {"sid": peer.sid()} in module.written


async def test_flasks_own_asks_the_application_in_an_application_context() -> None:
    socketio = create(flask.json, "first")
    assert socketio.app is not None
    socketio.app.json = Provider(socketio.app)
    echo(socketio)
    async with serving(socketio) as net:
        peer = await net.peer(auth={"a": 1})
        assert await peer.ask("echo", 1.5) == [1.5]
        assert await peer.value("dated") == {"day": "first:2024-02-29", "raw": b"\x00\x01"}
        # From a thread without any context, and from one with the context of another application.
        await in_thread(lambda: socketio.emit("dated", DAY))
        assert await peer.value("dated") == "first:2024-02-29"
        with Flask("second").app_context():
            socketio.emit("dated", DAY)
        assert await peer.value("dated") == "first:2024-02-29"
        assert not current_app


def test_flasks_own_in_the_default_form_and_with_the_test_client() -> None:
    socketio = create(flask.json)
    echo(socketio)
    assert socketio.app is not None
    client = socketio.test_client(socketio.app)
    assert client.emit("echo", {"price": decimal.Decimal("1.50")}, callback=True) == {"price": "1.50"}
    [dated] = client.get_received()
    assert dated["args"] == [{"day": "Thu, 29 Feb 2024 00:00:00 GMT", "raw": b"\x00\x01"}]


async def test_two_servers_have_one_each() -> None:
    plain, other = create(None, "plain"), create(Tagged(), "other")
    for socketio in (plain, other):
        socketio.on_event("echo", lambda value: value)
    async with serving(plain) as first, serving(other) as second:
        one, two = await first.peer(), await second.peer()
        assert await one.ask("echo", 1.5) == [1.5]
        assert await two.ask("echo", 1.5) == ["float:1.5"]


async def test_what_it_cannot_write_is_the_emitters_error_and_what_it_cannot_read_closes_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    socketio = create(flask.json)
    async with serving(socketio) as net:
        peer, bystander = await net.peers(2)
        with pytest.raises(TypeError, match="not JSON serializable"):
            socketio.emit("unsendable", object())
        peer.send('2["echo",]')
        await gone(peer)
        socketio.emit("still here")
        assert (await bystander.next()).name == "still here"
    assert errors(caplog) == []


def test_a_factory_gives_the_application_later() -> None:
    socketio = SocketIO(json=flask.json)
    with pytest.raises(UsageError, match="init_app"):
        socketio.emit("too early")
    app = Flask("later")
    socketio.init_app(app, ping_interval=5)
    echo(socketio)
    client = socketio.test_client(app)
    assert client.emit("echo", 1, callback=True) == 1
    assert client.get_received()[0]["args"][0]["day"] == "Thu, 29 Feb 2024 00:00:00 GMT"


def test_an_object_without_the_functions_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="no function dumps"):
        create(object())
    assert create(json).options.hub.json is create(json).options.hub.json  # the built-in codec for both
