"""``socketio.server``, ``server.manager`` and ``server.eio`` (spec 1.1.3), and user sessions (2.12).

Asked from a worker, an async handler, a thread of nobody's, a test; before, while and after a server runs.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

import anyio
import pytest
from flask import Flask, session

from tests.bridge.kit import Net, Peer, errors, in_thread, make, req, serving
from trioflask_sio import Namespace, NotServing, SocketIO, UsageError, emit, join_room, rooms

pytestmark = pytest.mark.anyio


async def eio_sid(net: Net, peer: Peer, namespace: str = "/") -> str:
    """The connection's id, from the engine's own register."""
    return str(net.hub.find(peer.sid(namespace), namespace).client.session.eio_sid)


# --- before and after a server -------------------------------------------------------------------------------------


def test_before_the_start_nobody_is_there() -> None:
    socketio = make(namespaces=["/", "/x"], ping_interval=7, ping_timeout=3, cookie="io", allow_upgrades=False)
    server = socketio.server
    assert server.manager.rooms == {}
    assert list(server.manager.get_participants("/", None)) == []
    assert server.manager.get_namespaces() == []
    assert not server.manager.is_connected("nobody", "/")
    assert server.rooms("nobody") == []
    assert server.eio.sockets == {}
    assert dict(server.environ) == {}
    assert server.get_environ("nobody") is None
    for ask in (server.transport, server.get_session, server.eio.transport, server.environ.__getitem__):
        with pytest.raises(KeyError, match="nobody"):
            ask("nobody")
    server.emit("nobody hears this", {"a": 1})
    server.send("nor this", to="nobody")
    server.close_room("nowhere")
    server.disconnect("nobody")
    with pytest.raises(TypeError):
        server.emit("unsendable", object())
    with pytest.raises(UsageError, match="running server"):
        server.call("anybody", to="nobody")


def test_what_it_is_set_up_as() -> None:
    socketio = make(namespaces=["/", "/x"], ping_interval=7, ping_timeout=3, cookie="io", allow_upgrades=False)
    server = socketio.server
    assert (server.eio.ping_interval, server.eio.ping_timeout) == (7, 3)
    assert (server.eio.cookie, server.eio.allow_upgrades, server.eio.transports) == (
        "io",
        False,
        ["polling", "websocket"],
    )
    assert server.eio.max_http_buffer_size == 1_000_000
    assert server.async_mode == server.eio.async_mode == socketio.async_mode
    assert (server.async_handlers, server.always_connect, server.namespaces) == (True, False, ["/", "/x"])
    assert make(namespaces="*").server.namespaces == "*"
    assert make().server.namespaces == ["/"]
    assert (server.manager.write_only, server.manager.channel, len(server.manager.host_id)) == (
        False,
        "flask-socketio",
        32,
    )
    assert server.reason.PING_TIMEOUT == "ping timeout"
    assert socketio.wsgi_server is None
    app = Flask("later")
    before = make(always_connect=True)
    before.init_app(app, async_handlers=False)
    assert (before.server.always_connect, before.server.async_handlers) == (True, False)


def test_handlers_are_listed() -> None:
    socketio = make()

    @socketio.on("ask")
    def ask() -> None: ...

    @socketio.on("*", namespace="/x")
    def anything(event: str) -> None: ...

    class Chat(Namespace):
        def on_ask(self) -> None: ...

    chat = Chat("/chat")
    socketio.on_namespace(chat)
    assert list(socketio.handlers) == [("ask", ask, "/"), ("*", anything, "/x")]
    assert socketio.server.handlers == {"/": {"ask": ask}, "/x": {"*": anything}}
    assert socketio.server.namespace_handlers == {"/chat": chat}
    assert chat.server is socketio.server
    with pytest.raises(UsageError, match="not registered"):
        _ = Chat("/other").server


async def test_after_the_stop() -> None:
    socketio = make()
    async with serving(socketio) as net:
        peer = await net.peer()
        sid = peer.sid()
        assert socketio.server.manager.is_connected(sid, "/")
    assert not socketio.server.manager.is_connected(sid, "/")
    assert socketio.server.eio.sockets == {}
    with pytest.raises(KeyError):
        socketio.server.transport(sid)
    with pytest.raises(NotServing):
        socketio.server.emit("too late")


# --- a running server ----------------------------------------------------------------------------------------------


async def test_looks_from_a_handler_see_what_the_handler_did_before() -> None:
    socketio = make()
    server = socketio.server

    @socketio.on("look")
    def look(other: str) -> dict[str, Any]:
        join_room("tables")
        server.enter_room(other, "tables")
        server.enter_room(other, 7)
        seen = {
            "mine": rooms() == server.rooms(req.sid) == server.manager.get_rooms(req.sid, "/"),
            "tables": [sid for sid, _ in server.manager.get_participants("/", "tables")] == [req.sid, other],
            "both": len(list(server.manager.get_participants("/", ["tables", 7, "no such room"]))),
            "all": len(list(server.manager.get_participants("/", None))),
            "nobody": list(server.manager.get_participants("/", "no such room")),
            "same environ": server.get_environ(req.sid) is req.environ,
            "transport": server.transport(req.sid),
            "namespaces": server.manager.get_namespaces(),
            "shape": sorted(map(str, server.manager.rooms["/"])) == sorted(["None", req.sid, other, "tables", "7"]),
        }
        server.leave_room(other, 7)
        server.close_room("tables")
        seen["left"] = server.rooms(other) == [other]
        return seen

    async with serving(socketio) as net:
        one, two = await net.peers(2)
        [seen] = await one.ask("look", two.sid())
    assert seen == {
        "mine": True,
        "tables": True,
        "both": 2,
        "all": 2,
        "nobody": [],
        "same environ": True,
        "transport": "websocket",
        "namespaces": ["/"],
        "shape": True,
        "left": True,
    }


async def test_the_two_ids_of_a_client() -> None:
    socketio = make(namespaces=["/", "/x"])
    manager = socketio.server.manager
    async with serving(socketio) as net:
        peer = await net.peer()
        await peer.connect("/x")
        other = await net.peer()
        mine = await eio_sid(net, peer)
        for namespace in ("/", "/x"):
            assert manager.eio_sid_from_sid(peer.sid(namespace), namespace) == mine
            assert manager.sid_from_eio_sid(mine, namespace) == peer.sid(namespace)
        assert manager.sid_from_eio_sid(await eio_sid(net, other), "/x") is None
        assert manager.eio_sid_from_sid(peer.sid("/x"), "/") is None
        assert manager.rooms["/x"] == {None: {peer.sid("/x"): mine}, peer.sid("/x"): {peer.sid("/x"): mine}}
        found = socketio.server.eio.sockets[mine]
        assert (found.connected, found.closed, found.upgraded, found.transport) == (True, False, True, "websocket")
        assert set(socketio.server.eio.sockets) == set(socketio.server.environ) == {mine, await eio_sid(net, other)}


async def test_acts_from_a_thread_of_nobodys() -> None:
    socketio = make(namespaces=["/", "/x"])
    server = socketio.server
    async with serving(socketio) as net:
        one, two = await net.peers(2)
        await one.connect("/x")
        await in_thread(lambda: server.emit("all", (1, 2), skip_sid=two.sid()))
        await in_thread(lambda: server.emit("one", "x", to=one.sid()))
        await in_thread(lambda: server.emit("two", "x", room=two.sid()))
        await in_thread(lambda: server.send("hello", namespace="/x"))
        assert (await one.next("all")).args == [1, 2]
        assert await one.value("one") == "x"
        assert (await one.next("message", "/x")).args == ["hello"]
        assert (await two.next()).name == "two"
        answers: list[Any] = []
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                answers.append(await in_thread(lambda: server.call("question", 1, sid=two.sid(), timeout=5)))

            tasks.start_soon(ask)
            two.answer(await two.next("question"), "answer")
        assert answers == ["answer"]
        await in_thread(lambda: server.disconnect(one.sid("/x"), "/x"))
        await one.put_out("/x")
        assert not server.manager.is_connected(one.sid("/x"), "/x")
        assert server.manager.get_namespaces() == ["/"]


async def test_an_async_handler_may_look_and_is_told_where_it_cannot_wait() -> None:
    socketio = make()
    server = socketio.server

    @socketio.on("look")
    async def look() -> list[Any]:
        join_room("tables")
        with pytest.raises(UsageError, match=r"aio\.disconnect"):
            server.disconnect(req.sid)
        with server.session(req.sid) as kept:
            kept["seen"] = True
        return [server.manager.rooms["/"].get("tables") is not None, server.transport(req.sid), len(server.eio.sockets)]

    async with serving(socketio) as net:
        peer = await net.peer()
        assert await peer.ask("look") == [[True, "websocket", 1]]
        assert server.get_session(peer.sid()) == {"seen": True}


async def test_a_client_counts_as_connected_in_its_connect_handler_and_no_more_in_its_disconnect_handler() -> None:
    socketio = make()
    seen: list[Any] = []
    server = socketio.server

    @socketio.on("connect")
    def connect() -> None:
        server.save_session(req.sid, {"name": "Ann"})
        seen.append(server.manager.is_connected(req.sid, "/"))

    @socketio.on("disconnect")
    def disconnect() -> None:
        seen.append(server.manager.is_connected(req.sid, "/"))
        seen.append(list(server.manager.get_participants("/", None)))
        seen.append(server.rooms(req.sid) == [req.sid])
        seen.append(server.get_session(req.sid))
        seen.append(server.get_environ(req.sid) is req.environ)

    async with serving(socketio) as net:
        peer = await net.peer()
        sid = peer.sid()
        peer.close()
        await net.empty()
        assert seen == [True, False, [], True, {"name": "Ann"}, True]
        with pytest.raises(KeyError):
            server.get_session(sid)


async def test_an_environ_asked_for_from_two_threads_before_any_event_is_one() -> None:
    socketio = make()
    async with serving(socketio) as net:
        peer = await net.peer()
        both = threading.Barrier(2)

        def ask() -> Any:
            both.wait(10)
            return socketio.server.get_environ(peer.sid())

        found: list[Any] = []
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(lambda: _collect(found, ask))
        assert found[0] is found[1]
        assert found[0]["QUERY_STRING"] == "EIO=4&transport=websocket"


def _fail_in_the_middle(block: AbstractContextManager[dict[str, Any]]) -> None:
    with block as kept:
        kept["before"] = True
        _ = 1 / 0


async def _collect(into: list[Any], fn: Any) -> None:
    into.append(await in_thread(fn))


async def test_background_tasks_and_sleep(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    done: list[str] = []

    def work(what: str) -> None:
        socketio.server.sleep(0.001)
        done.append(what)
        socketio.server.emit("done", what)

    async with serving(socketio) as net:
        peer = await net.peer()
        task = socketio.server.start_background_task(work, "it")
        assert await peer.value("done") == "it"
        await in_thread(lambda: task.join(5))
    assert done == ["it"]
    assert errors(caplog) == []


# --- user sessions -------------------------------------------------------------------------------------------------


async def test_user_sessions_are_one_dictionary_for_each_connection_and_namespace() -> None:
    socketio = make(namespaces=["/", "/x"])
    server = socketio.server

    class Chat(Namespace):
        def on_keep(self, value: Any) -> None:
            with self.session(req.sid) as kept:
                kept["value"] = value

        def on_replace(self, value: Any) -> None:
            self.save_session(req.sid, {"new": value})

        def on_kept(self) -> Any:
            return self.get_session(req.sid)

    socketio.on_namespace(Chat("/chat"))
    async with serving(socketio) as net:
        one, two = await net.peers(2)
        for peer in (one, two):
            await peer.connect("/chat")
        await one.ask("keep", 5, namespace="/chat")
        assert await one.ask("kept", namespace="/chat") == [{"value": 5}]
        assert await two.ask("kept", namespace="/chat") == [{}]
        assert server.get_session(one.sid()) == {}
        await one.ask("replace", 6, namespace="/chat")
        assert server.get_session(one.sid("/chat"), "/chat") == {"new": 6}
        with pytest.raises(ZeroDivisionError):
            _fail_in_the_middle(server.session(one.sid()))
        assert server.get_session(one.sid()) == {"before": True}
        # Leaving a namespace and coming back on the same connection finds it again; a new connection does not.
        one.leave("/chat")
        await net.empty_but(3)
        await one.connect("/chat")
        assert server.get_session(one.sid("/chat"), "/chat") == {"new": 6}
        with pytest.raises(KeyError, match="/x"):
            server.get_session(one.sid(), "/x")


# --- the test client -----------------------------------------------------------------------------------------------


def test_with_the_test_client() -> None:
    app = Flask("tested")
    app.secret_key = "secret"
    socketio = SocketIO(app, namespaces=["/", "/x"])

    @app.route("/login")
    def login() -> str:
        session["name"] = "Ann"
        return "in"

    @socketio.on("work")
    def work() -> None:
        session["worked"] = True
        with socketio.server.session(req.sid) as kept:
            kept["sid"] = req.sid
        emit("known", socketio.server.get_environ(req.sid) is req.environ)

    web = app.test_client()
    web.get("/login")
    client = socketio.test_client(app, flask_test_client=web)
    other = socketio.test_client(app, "/x")
    client.emit("work")
    server = socketio.server
    assert client.get_received() == [{"name": "known", "args": [True], "namespace": "/"}]
    assert server.environ[client.eio_sid]["saved_session"] == {"name": "Ann", "worked": True}
    sid = server.manager.sid_from_eio_sid(client.eio_sid, "/")
    assert sid is not None
    assert server.get_session(sid) == {"sid": sid}
    assert server.manager.get_namespaces() == ["/", "/x"]
    assert server.transport(sid) == "websocket"
    assert set(server.eio.sockets) == {client.eio_sid, other.eio_sid}
    server.emit("news", 1, namespace="/x")
    assert other.get_received("/x") == [{"name": "news", "args": [1], "namespace": "/x"}]
    server.disconnect(sid)
    assert not client.is_connected()
    assert not server.manager.is_connected(sid, "/")
