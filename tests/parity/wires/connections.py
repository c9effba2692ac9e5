"""Connecting, refusing, leaving, rooms and sessions over real servers."""

from __future__ import annotations

import threading
from typing import Any

import requests
from flask import session

from tests.parity.kit import Transcript, req
from tests.parity.wire_kit import SECONDS, Stage, Wire, wire


def _guarded(stage: Stage) -> None:
    @stage.on("connect")
    def connect(auth: dict[str, Any]) -> bool | None:
        if auth["kind"] == "false":
            return False
        if auth["kind"] == "fails":
            raise LookupError("in connect")
        if auth["kind"] == "refused":
            raise stage.api.ConnectionRefusedError(*auth["args"])
        stage.note(auth)
        return None

    stage.on("disconnect")(lambda reason: stage.note(reason))


@wire("1.5.2, 1.5.3, 1.5.4, 1.5.8", serve=_guarded)
def refused_clients(wire: Wire, t: Transcript) -> None:
    t.note("False", wire.refused(auth={"kind": "false"}))
    for args in ([], ["no"], ["no", {"why": [1, None]}], ["no", 1, 2]):
        t.note(f"{args}", wire.refused(auth={"kind": "refused", "args": args}))
    with wire.visit(auth={"kind": "welcome", "ü": [1]}):
        t.note("only this one got in", wire.noted(1))


@wire("1.5.9", "error-in-connect", serve=_guarded)
def errors_in_connect(wire: Wire, t: Transcript) -> None:
    answer = wire.refused(auth={"kind": "fails"}, wait_timeout=0.5)
    told = ["ConnectionError", {"message": "Connection rejected by server"}]
    t.differs("error-in-connect", "without an error handler", answer, theirs=["ConnectionError", None], ours=told)


@wire("2.4.1", "invalid-namespace", serve=_guarded)
def unknown_namespaces(wire: Wire, t: Transcript) -> None:
    exception, told = wire.refused(namespace="/nobody serves this")
    t.note("exception", exception)
    words = {"message": "Invalid namespace"}
    t.differs("invalid-namespace", "told", told, theirs="Unable to connect", ours=words)


def _reasons(stage: Stage) -> None:
    stage.on("disconnect")(lambda reason: stage.note([reason, req.namespace, req.event["message"]]))
    stage.on("put me out")(lambda: stage.api.disconnect())
    stage.on("put out")(lambda sid: stage.api.disconnect(sid))
    stage.on("ready")(lambda: None)


@wire("1.6.2, 2.9", serve=_reasons)
def why_clients_left(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        visitor.ask("ready")
        visitor.client.disconnect()
        t.note("the client left", wire.noted(1)[-1])
    with wire.visit() as visitor:
        visitor.emit("put me out")
        t.note("put out by itself, the client hears", visitor.next())
        t.note("put out by itself", wire.noted(2)[-1])
    with wire.visit() as one, wire.visit() as two:
        one.emit("put out", two.sid)
        t.note("put out by another, the client hears", two.next())
        t.note("put out by another", wire.noted(3)[-1])
        t.note("the other stays", one.ask("ready"))
    with wire.visit(transports=("websocket",)) as visitor:
        visitor.ask("ready")
        visitor.client.eio.ws.close()
        t.note("the transport closed", wire.noted(4)[-1])


def _request(stage: Stage) -> None:
    stage.on("request")(
        lambda: {
            "args": req.args.to_dict(flat=False).get("a"),
            "header": req.headers.get("X-Custom"),
            "method": req.method,
            "path": req.path,
            "remote": req.remote_addr,
            "sid": req.sid,
            "host": req.headers["Host"].partition(":")[0],
            "scheme": req.scheme,
        }
    )


@wire("1.4.3", serve=_request)
def the_request_of_handlers(wire: Wire, t: Transcript) -> None:
    for transports in (("polling",), ("polling", "websocket")):
        with wire.visit("?a=1&a=2", transports, headers={"X-Custom": "yes"}) as visitor:
            seen = visitor.ask("request")
            t.note(f"{transports}: sid", seen.pop("sid") == visitor.sid)
            t.note(f"{transports}", seen)
    with wire.visit(headers={"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}) as visitor:
        seen = visitor.ask("request")
        t.note("behind a proxy", [seen["remote"], seen["scheme"]])


def _rooms(stage: Stage) -> None:
    api = stage.api
    stage.on("join")(lambda room: api.join_room(room))
    stage.on("leave")(lambda room: api.leave_room(room))
    stage.on("say")(lambda options, text: api.emit("said", text, **options))
    stage.on("close")(lambda room: api.close_room(room))


@wire("1.10.2, 1.10.5", serve=_rooms)
def rooms_and_broadcasts(wire: Wire, t: Transcript) -> None:
    with wire.visit() as one, wire.visit() as two:
        one.ask("join", "room")
        two.ask("say", {"to": "room"}, "to the room")
        t.note("one", one.next())
        one.ask("say", {"broadcast": True, "include_self": False}, "to the others")
        t.note("two", two.next())
        one.ask("say", {"to": two.sid}, "to two")
        t.note("two again", two.next())
        one.ask("leave", "room")
        two.ask("say", {"to": "room"}, "to nobody")
        two.ask("join", "room")
        one.ask("close", "room")
        one.ask("say", {"to": "room"}, "to nobody")
        one.ask("say", {"broadcast": True}, "to all")
        t.note("both", [one.next(), two.next()])
        t.note("nothing else", [one.heard.empty(), two.heard.empty()])


def _sessions(stage: Stage) -> None:
    @stage.app.route("/login/<name>")
    def login(name: str) -> str:
        session["user"] = name
        return str(session["user"])

    @stage.app.route("/whoami")
    def whoami() -> str:
        return str(session.get("user"))

    stage.on("get")(lambda: session.get("user"))
    stage.on("set")(lambda name: session.update(user=name))


@wire("1.8.1", serve=_sessions)
def sessions_of_cookies(wire: Wire, t: Transcript) -> None:
    with requests.Session() as browser:
        browser.get(f"{wire.url}/login/anna", timeout=SECONDS)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        with wire.visit(headers={"Cookie": cookies}) as visitor:
            t.note("from the cookie", visitor.ask("get"))
            visitor.ask("set", "berta")
            t.note("kept for the connection", visitor.ask("get"))
            t.note("not for views", browser.get(f"{wire.url}/whoami", timeout=SECONDS).text)
        with wire.visit(headers={"Cookie": cookies}) as visitor:
            t.note("forked anew", visitor.ask("get"))
    with wire.visit() as visitor:
        t.note("without a cookie", visitor.ask("get"))


def _loops(stage: Stage) -> None:
    @stage.on("loop")
    def loop() -> None:
        stage.note("started")
        try:
            for _ in range(50):
                stage.sio.sleep(0.02)
            stage.note("finished")
        finally:
            stage.note("left")


@wire("6.4 #14", "handlers-cancelled", serve=_loops)
def handlers_of_a_client_that_leaves(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        visitor.emit("loop")
        wire.noted(1)
    noted = wire.noted(2)
    noted = wire.noted(3) if "finished" in noted else noted
    ended = ["started", "finished", "left"]
    t.differs("handlers-cancelled", "noted", noted, theirs=ended, ours=["started", "left"])


def _greets(stage: Stage) -> None:
    api = stage.api

    @stage.on("connect")
    def connect() -> None:
        api.join_room("room")
        stage.note(req.args.get("who"))

    stage.on("say")(lambda text: api.send(text, to="room"))


@wire("1.5.6", serve=_greets)
def rooms_joined_in_connect(wire: Wire, t: Transcript) -> None:
    with wire.visit("?who=one") as one, wire.visit("?who=two") as two:
        t.note("connected", wire.noted(2))
        two.emit("say", "hello")
        t.note("heard", [one.next(), two.next()])


def _transports(stage: Stage) -> None:
    def transport() -> Any:
        return stage.sio.server.transport(req.sid, stage.namespace)

    stage.on("transport")(transport)


@wire("1.1.3", serve=_transports)
def the_transport_of_a_client(wire: Wire, t: Transcript) -> None:
    for transports in (("websocket",), ("polling",)):
        with wire.visit(transports=transports) as visitor:
            t.note(f"{transports}", visitor.ask("transport"))


def _more_namespaces(stage: Stage) -> None:
    stage.on("say")(lambda text: stage.api.emit("said", [req.namespace, text], broadcast=True))
    more = stage.api.namespace(
        f"{stage.namespace}/more",
        on_connect=lambda self: stage.note(["connect", req.namespace]),
        on_disconnect=lambda self, reason: stage.note(["disconnect", reason]),
        on_say=lambda self, text: self.emit("said", [req.namespace, text]),
        on_ask=lambda self, *args: args,
        on_leave=lambda self: stage.api.disconnect(),
    )
    stage.sio.on_namespace(more)


@wire("1.11.1, 1.11.4, 1.13.5", serve=_more_namespaces)
def several_namespaces_of_a_client(wire: Wire, t: Transcript) -> None:
    more = f"{wire.namespace}/more"
    with wire.visit(more=[more]) as visitor:
        t.note("connected", wire.noted(1))
        t.note("two sids", visitor.client.get_sid(more) != visitor.sid)
        visitor.client.on("said", lambda data: visitor.heard.put(["said in more", data]), namespace=more)
        visitor.emit("say", "here")
        t.note("here", visitor.next())
        visitor.client.emit("say", "there", namespace=more)
        t.note("there", visitor.next())
        t.note("answer", visitor.client.call("ask", (1, "two"), namespace=more, timeout=SECONDS))
        t.note("no method", visitor.client.call("unknown", 1, namespace=more, timeout=SECONDS))
        visitor.client.emit("leave", namespace=more)
        t.note("put out of one", wire.noted(2)[-1])
        visitor.emit("say", "still here")
        t.note("the other stays", visitor.next())


def _user_sessions(stage: Stage) -> None:
    def sessions() -> list[object]:
        server: Any = stage.sio.server
        sid, namespace = req.sid, stage.namespace
        found = [dict(server.get_session(sid, namespace=namespace))]
        server.save_session(sid, {"a": 1}, namespace=namespace)
        with server.session(sid, namespace=namespace) as data:
            data["b"] = [2]
        return [*found, server.get_session(sid, namespace=namespace)]

    stage.on("sessions")(sessions)


@wire("1.8.5, 2.12", serve=_user_sessions)
def user_sessions_of_the_server(wire: Wire, t: Transcript) -> None:
    with wire.visit() as one, wire.visit() as two:
        t.note("at first, then saved", one.ask("sessions"))
        t.note("kept", one.ask("sessions"))
        t.note("another client's", two.ask("sessions"))


def _ticker(stage: Stage) -> None:
    """A thread that the first client starts and all others find running: the pattern of the guide's example."""
    lock = threading.Lock()
    threads: list[object] = []

    def tick() -> None:
        for _ in range(200):
            stage.sio.sleep(0.01)
            stage.sio.emit("tick", namespace=stage.namespace)

    @stage.on("connect")
    def connect() -> None:
        with lock:
            if not threads:
                threads.append(stage.sio.start_background_task(tick))
            stage.note(len(threads))


@wire("1.15.4", serve=_ticker)
def a_background_thread_of_all_clients(wire: Wire, t: Transcript) -> None:
    with wire.visit() as one, wire.visit() as two:
        t.note("threads", wire.noted(2))
        t.note("ticks", [[visitor.next() for _ in range(3)][-1] for visitor in (one, two)])


def _task_of_connect(stage: Stage) -> None:
    @stage.on("connect")
    def connect() -> None:
        sid, sent = req.sid, threading.Event()

        def greet() -> None:
            stage.sio.emit("greeting", "to you", to=sid, namespace=stage.namespace)
            stage.sio.emit("greeting", "to all", namespace=stage.namespace)
            sent.set()

        stage.sio.start_background_task(greet)
        stage.note(sent.wait(SECONDS))


@wire("1.13.12", serve=_task_of_connect)
def a_task_of_connect_that_emits_at_once(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        t.note("emitted before the client was let in", wire.noted(1))
        t.note("received", visitor.next_sorted(2))
