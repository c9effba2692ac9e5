"""What a handler finds: request, session, g, its context; and what becomes of its result (spec 1.3, 1.4)."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import anyio.lowlevel
import pytest
from flask import current_app, g, session

from tests.bridge.kit import errors, make, req, serving
from trioflask_sio import Namespace, SocketIO, emit

pytestmark = pytest.mark.anyio

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")


def describe() -> tuple[Any, ...]:
    return req.sid, req.namespace, req.event["message"], req.event["args"], current_app.name


async def test_request_says_who_where_and_what_in_both_kinds_of_handler() -> None:
    socketio = make()
    seen: list[Any] = []

    @socketio.on("connect", namespace="/room")
    def connect(auth: Any) -> None:
        seen.append((*describe()[:3], req.event["args"][1]))

    @socketio.on("sync", namespace="/room")
    def plain(*args: Any) -> None:
        seen.append(describe())

    @socketio.on("async", namespace="/room")
    async def coroutine(*args: Any) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(describe())

    async with serving(socketio) as net:
        peer = await net.peer("/room", {"token": 1})
        assert await peer.ask("sync", 1, {"a": b"x"}, namespace="/room") == []
        assert await peer.ask("async", 2, namespace="/room") == []
    sid = peer.sid("/room")
    assert seen == [
        (sid, "/room", "connect", {"token": 1}),
        (sid, "/room", "sync", (1, {"a": b"x"}), "bridge"),
        (sid, "/room", "async", (2,), "bridge"),
    ]


async def test_the_disconnect_handler_has_the_request_and_the_reason() -> None:
    socketio = make()
    seen: list[Any] = []

    @socketio.on("disconnect")
    def disconnect(reason: str) -> None:
        seen.append((reason, *describe()))

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.leave()
        await net.empty()
    reason = socketio.reason.CLIENT_DISCONNECT
    assert seen == [(reason, peer.sid(), "/", "disconnect", (reason,), "bridge")]


async def test_g_is_new_and_the_session_stays_for_each_event() -> None:
    socketio = make()

    @socketio.event
    def count() -> Any:
        g.seen = g.get("seen", 0) + 1
        session["n"] = session.get("n", 0) + 1
        return g.seen, session["n"]

    @socketio.event
    async def count_async() -> Any:
        return count()

    async with serving(socketio) as net:
        one, two = await net.peers(2)
        assert await one.ask("count") == [1, 1]
        assert await one.ask("count_async") == [1, 2]
        assert await one.ask("count") == [1, 3]
        assert await two.ask("count") == [1, 1]


async def test_teardown_runs_after_each_event_with_the_error_where_one_escapes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    socketio = make()
    seen: list[Any] = []
    assert socketio.app is not None

    @socketio.app.teardown_request
    def teardown(error: BaseException | None) -> None:
        seen.append((req.event["message"], type(error)))

    @socketio.event
    def good() -> int:
        return 1

    @socketio.event
    async def good_async() -> int:
        return 1

    @socketio.event
    def bad() -> None:
        raise KeyError("sync")

    @socketio.event
    async def bad_async() -> None:
        raise KeyError("async")

    async with serving(socketio) as net:
        peer = await net.peer()
        for name in ("bad", "good", "bad_async", "good_async"):
            peer.emit(name)
        assert await peer.ask("good") == [1]
    none = type(None)
    assert seen == [
        ("bad", KeyError),
        ("good", none),
        ("bad_async", KeyError),
        ("good_async", none),
        ("good", none),
    ]
    assert [record.exc_info is not None for record in errors(caplog)] == [True, True]


async def test_a_teardown_that_fails_is_logged_and_hurts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    assert socketio.app is not None

    @socketio.app.teardown_appcontext
    def teardown(error: BaseException | None) -> None:
        raise ValueError("teardown")

    socketio.on_event("x", lambda: 5)
    async with serving(socketio) as net:
        peer = await net.peer()
        assert await peer.ask("x") == [5]
        assert await peer.ask("x") == [5]
    assert "teardown" in caplog.text


@pytest.mark.parametrize("kind", ["sync", "async", "mixed"])
async def test_context_variables_come_from_the_start_and_go_with_the_event(kind: str) -> None:
    socketio = make(worker_threads=1, max_threads=1)
    threads: set[int] = set()

    def swap(value: str) -> str:
        before = mark.get()
        mark.set(value)
        threads.add(threading.get_ident())
        return before

    @socketio.event
    def sync(value: str) -> str:
        return swap(value)

    @socketio.on("async")
    async def coroutine(value: str) -> str:
        before = swap(value)
        await anyio.lowlevel.checkpoint()
        assert mark.get() == value
        return before

    mark.set("before serve")
    async with serving(socketio) as net:
        peer = await net.peer()
        names = {"sync": ["sync"] * 4, "async": ["async"] * 4, "mixed": ["sync", "async"] * 2}[kind]
        asked = [peer.start_ask(name, f"event {number}") for number, name in enumerate(names)]
        assert [await peer.acked(number) for number in asked] == [["before serve"]] * 4
    assert len(threads) == (2 if kind == "mixed" else 1), "the events have shared a thread, so the test tells something"


def results() -> dict[str, tuple[Any, list[Any]]]:
    return {
        "none": (None, []),
        "tuple": ((1, "b"), [1, "b"]),
        "empty": ((), []),
        "list": ([1, 2], [[1, 2]]),
        "false": (False, [False]),
        "zero": (0, [0]),
        "dict": ({"a": None}, [{"a": None}]),
        "binary": ((b"\x00\x01", {"deep": [b"z"]}), [b"\x00\x01", {"deep": [b"z"]}]),
    }


def answering(socketio: SocketIO) -> None:
    for name, (value, _) in results().items():

        def plain(value: Any = value) -> Any:
            return value

        async def coroutine(value: Any = value) -> Any:
            return value

        socketio.on_event(name, plain)
        socketio.on_event(f"{name} async", coroutine)


async def test_what_a_handler_returns_is_the_acknowledgement() -> None:
    socketio = make()
    answering(socketio)
    async with serving(socketio) as net:
        peer = await net.peer()
        for name, (_, answer) in results().items():
            assert await peer.ask(name) == answer, name
            assert await peer.ask(f"{name} async") == answer, name


@pytest.mark.parametrize("suffix", ["", "_async"])
async def test_an_answer_that_cannot_be_sent_is_logged_and_not_sent(
    suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    socketio = make()

    @socketio.event
    def thing() -> object:
        return object()

    @socketio.event
    async def thing_async() -> object:
        return object()

    socketio.on_event("after", lambda: None)
    async with serving(socketio) as net:
        peer = await net.peer()
        number = peer.start_ask(f"thing{suffix}")
        assert await peer.ask("after") == []
        assert all(getattr(packet, "id", None) != number for packet in peer._waiting)
    [record] = errors(caplog)
    assert "thing" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is TypeError


async def test_an_emit_before_the_return_arrives_before_the_acknowledgement() -> None:
    socketio = make()

    @socketio.event
    def plain() -> str:
        emit("note", 1)
        return "done"

    @socketio.event
    async def coroutine() -> str:
        emit("note", 2)
        return "done"

    async with serving(socketio) as net:
        peer = await net.peer()
        for name in ("plain", "coroutine"):
            number = peer.start_ask(name)
            order = [type(await peer._read()).__name__ for _ in range(2)]
            assert order == ["Event", "Ack"], (name, number)


async def test_catch_alls_get_what_nobody_else_handles() -> None:
    socketio = make(namespaces=["/", "/a", "/b"])

    @socketio.on("*")
    def any_event(event: str, *args: Any) -> Any:
        return "event", event, args, req.event["message"], list(req.event["args"])

    @socketio.on("known", namespace="*")
    def any_namespace(*args: Any) -> Any:
        return "namespace", req.namespace, args, req.event["message"]

    @socketio.on("*", namespace="*")
    async def anything(event: str, *args: Any) -> Any:
        return "both", req.namespace, event, args

    async with serving(socketio) as net:
        peer = await net.peer()
        await peer.connect("/a")
        assert await peer.ask("x", 1, 2) == ["event", "x", [1, 2], "*", ["x", 1, 2]]
        assert await peer.ask("known", 1) == ["event", "known", [1], "*", ["known", 1]]
        assert await peer.ask("known", 1, namespace="/a") == ["namespace", "/a", [1], "known"]
        assert await peer.ask("other", 1, namespace="/a") == ["both", "/a", "other", [1]]


async def test_an_event_without_a_handler_is_not_acknowledged() -> None:
    socketio = make()
    socketio.on_event("known", lambda: "yes")
    async with serving(socketio) as net:
        peer = await net.peer()
        number = peer.start_ask("unknown")
        assert await peer.ask("known") == ["yes"]
        assert all(getattr(packet, "id", None) != number for packet in peer._waiting)


async def test_class_based_namespaces() -> None:
    class Room(Namespace):
        def on_connect(self, auth: Any) -> Any:
            return auth != {"name": "eve"}

        def on_say(self, *words: str) -> Any:
            self.emit("said", " ".join(words), to=req.sid)
            return len(words)

        async def on_later(self) -> Any:
            return req.sid

        def on_disconnect(self) -> None:
            left.append(req.namespace)

    left: list[str] = []
    socketio = make()
    room = Room("/room")
    socketio.on_namespace(room)
    async with serving(socketio) as net:
        peer = await net.peer("/room", {"name": "ada"})
        assert await peer.ask("say", "a", "b", namespace="/room") == [2]
        assert await peer.value("said", "/room") == "a b"
        assert await peer.ask("later", namespace="/room") == [peer.sid("/room")]
        for number in range(100):
            assert await peer.ask(f"unknown {number}", namespace="/room") == [], "an empty acknowledgement"
        assert len(room._found) < 10, "names that clients invent are not kept"
    assert left == ["/room"]


async def test_a_wrong_number_of_arguments_is_an_error_of_that_event_alone(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    socketio.on_event("one", lambda x: x)
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("one")
        peer.emit("one", 1, 2)
        assert await peer.ask("one", 3) == [3]
    assert [record.exc_info[0] for record in errors(caplog) if record.exc_info] == [TypeError, TypeError]


async def test_a_coroutine_out_of_a_plain_decorator_is_named_and_closed(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()

    async def inner() -> None:
        raise AssertionError("never runs")

    socketio.on_event("wrapped", lambda: inner())
    socketio.on_event("after", lambda: 1)
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.start_ask("wrapped")
        assert await peer.ask("after") == [1]
    assert "async def" in caplog.text


async def test_sys_exit_in_a_handler_ends_that_handler(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()

    @socketio.event
    def leave() -> None:
        raise SystemExit(3)

    @socketio.event
    async def leave_async() -> None:
        raise SystemExit(3)

    socketio.on_event("after", lambda: 1)
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("leave")
        peer.emit("leave_async")
        assert await peer.ask("after") == [1]
    assert [record.exc_info[0] for record in errors(caplog) if record.exc_info] == [SystemExit, SystemExit]


async def test_the_environ_may_grow_in_one_event_while_another_reads_the_headers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Found by two first events of one client in two namespaces: the session's copy is kept in the environ."""
    socketio = make(namespaces=["/", "/other"])
    stop = threading.Event()

    @socketio.on("grow", namespace="/other")
    def grow() -> None:
        for number in range(1_000_000):
            if stop.is_set():
                return
            req.environ[f"key {number}"] = number

    socketio.on_event("read", lambda: len([list(req.headers) for _ in range(300)]))
    async with serving(socketio) as net:
        peer = await net.peer()
        await peer.connect("/other")
        peer.emit("grow", namespace="/other")
        assert await peer.ask("read") == [300]
        stop.set()
    assert not errors(caplog)
