"""Options and attributes of ``SocketIO`` (spec 1.1.3, 1.2)."""

from __future__ import annotations

import gc
import json
import warnings
from functools import partial
from typing import Any

import flask
from flask import Flask

from tests.parity.kit import Api, Transcript, outcome, req, scenario


@scenario("1.2.9, 6.4 #16", "unknown-option")
def an_option_nobody_knows(api: Api, t: Transcript) -> None:
    accepted = outcome(lambda: api.socketio(Flask("parity"), pin_timeout=5) is not None)
    t.differs("unknown-option", "pin_timeout=5", accepted, theirs=True, ours="ValueError")


@scenario("1.2.10", "async-mode")
def async_modes(api: Api, t: Transcript) -> None:
    t.attempt("impossible", lambda: api.socketio(Flask("parity"), async_mode="x"), words="Invalid async_mode specified")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        _, sio = api.make(async_mode="threading")
    t.note("a text", isinstance(sio.async_mode, str))
    t.differs("async-mode", "its name", sio.async_mode, theirs="threading", ours="trio")
    t.differs("async-mode", "warnings", len(said), theirs=0, ours=1)


def _accepts(api: Api, transports: object) -> str:
    api.make(transports=transports)
    return "accepted"


@scenario("1.2.12", "unknown-transport")
def transports(api: Api, t: Transcript) -> None:
    for given in ("polling", ["websocket"], ["polling", "websocket"]):
        t.attempt(f"{given}", partial(_accepts, api, given))
    t.attempt("none that exists", partial(_accepts, api, ["smoke signals"]))
    one_of_two = outcome(partial(_accepts, api, ["polling", "smoke signals"]))
    t.differs("unknown-transport", "one of two", one_of_two, theirs="accepted", ours="ValueError")


def _restore_json(api: Api) -> None:
    """What one server of theirs is given, all servers of the process use from then on."""
    if api.side == "theirs":
        api.socketio(Flask("parity"), json=json)


@scenario("1.2.5, 1.13.9")
def flasks_json(api: Api, t: Transcript) -> None:
    app, sio = api.make(json=flask.json)
    sio.on_event("a", lambda data: {"got": data})
    try:
        t.note("answer", sio.test_client(app).emit("a", {"b": [1, None]}, callback=True))
    finally:
        _restore_json(api)


@scenario("1.2.5", "json-per-server")
def a_json_module_of_ones_own(api: Api, t: Transcript) -> None:
    class Loud:
        """Doubles numbers, so that everybody can see where it was used."""

        @staticmethod
        def dumps(data: Any, **options: Any) -> str:
            return flask.json.dumps(data, **options).replace("21", "42")

        @staticmethod
        def loads(text: str, **options: Any) -> Any:
            return flask.json.loads(text, **options)

    plain, plain_sio = api.make()
    app, sio = api.make(json=Loud)
    clients = [each.test_client(made) for made, each in ((app, sio), (plain, plain_sio))]
    sio.emit("a", 21)
    plain_sio.emit("a", 21)
    try:
        received = [client.get_received()[0]["args"] for client in clients]
    finally:
        _restore_json(api)
    t.note("its own server", received[0])
    t.differs("json-per-server", "another server", received[1], theirs=[42], ours=[21])


@scenario("1.1.3, 1.2.2")
def attributes(api: Api, t: Transcript) -> None:
    app, sio = api.make(cookie="io", allow_upgrades=False, ping_interval=10)
    t.note("extension", app.extensions["socketio"] is sio)
    t.note("options", [sio.server_options[name] for name in ("cookie", "allow_upgrades", "ping_interval")])
    eio: Any = sio.server.eio
    t.note("eio", [eio.allow_upgrades, eio.cookie, eio.ping_interval])
    t.note("server", [sio.server.async_handlers, sio.server.always_connect])
    t.note("middleware", sio.sockio_mw is not None)
    t.note("wrapped", app.wsgi_app is sio.sockio_mw)


@scenario("1.1.1")
def names_of_the_package(api: Api, t: Transcript) -> None:
    for name in ("SocketIO", "Namespace", "SocketIOTestClient", "ConnectionRefusedError", "emit", "send", "call"):
        t.note(name, getattr(api, name).__name__)
    for name in ("join_room", "leave_room", "close_room", "rooms", "disconnect"):
        t.note(name, callable(getattr(api, name)))


@scenario("1.1.3, 1.4.3")
def below_socketio(api: Api, t: Transcript) -> None:
    """What applications reach for on ``socketio.server`` and its manager."""
    app, sio = api.make()
    sids: list[str] = []
    sio.on_event("connect", lambda: sids.append(req.sid))
    client = sio.test_client(app, query_string="a=b")
    [sid] = sids
    server: Any = sio.server
    manager = server.manager
    t.note("get_environ", server.get_environ(sid)["QUERY_STRING"])
    t.note("get_environ in the namespace", server.get_environ(sid, "/")["flask.app"] is app)
    server.enter_room(sid, "room")
    t.note("rooms", sorted("its own" if name == sid else name for name in server.rooms(sid)))
    t.note("participants", [found[0] == sid for found in manager.get_participants("/", "room")])
    t.note("namespaces", list(manager.get_namespaces()))
    t.note("is_connected", [manager.is_connected(sid, "/"), manager.is_connected("nobody", "/")])
    t.note(
        "ids",
        [manager.sid_from_eio_sid(client.eio_sid, "/") == sid, manager.eio_sid_from_sid(sid, "/") == client.eio_sid],
    )
    t.note("saved_session", "saved_session" in server.environ[client.eio_sid])
    server.emit("a", {"b": 1}, to="room")
    server.leave_room(sid, "room")
    server.emit("c", to="room")
    t.note("received", client.get_received())
    server.disconnect(sid)
    t.note("connected", client.is_connected())


@scenario("1.15.1, 6.4 #17", "plain-wsgi")
def a_plain_wsgi_server(api: Api, t: Transcript) -> None:
    app, _ = api.make()
    app.add_url_rule("/", view_func=lambda: "page")
    t.note("views", app.test_client().get("/").text)
    answer = app.test_client().get("/socket.io/?EIO=4&transport=polling&sid=unknown")
    t.differs("plain-wsgi", "status", answer.status_code, theirs=400, ours=500)
    t.differs("plain-wsgi", "names the server to use", "serve" in answer.text, theirs=False, ours=True)


@scenario("1.9.7", "stop")
def stopping_in_a_view(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    @app.route("/stop")
    def stop() -> str:
        return str(outcome(sio.stop))

    t.differs("stop", "answer", app.test_client().get("/stop").text, theirs="RuntimeError", ours="None")


@scenario("1.3.12", "async-handlers")
def asynchronous_handlers(api: Api, t: Transcript) -> None:
    app, sio = api.make()

    async def handler(number: int) -> int:
        return number + 1

    sio.on_event("a", handler)
    client = sio.test_client(app)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs never awaits it, and Python says so
        answer = outcome(lambda: client.emit("a", 1, callback=True))
        gc.collect()
    t.differs("async-handlers", "answer", answer, theirs="TypeError", ours=2)
