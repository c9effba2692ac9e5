"""What a connect handler may answer, and what the client reads (spec 1.5)."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable
from typing import Any

import pytest

from tests.bridge.kit import Flag, Refused, errors, make, req, serving, until
from trioflask_sio import ConnectionRefusedError, SocketIO, emit, join_room

pytestmark = pytest.mark.anyio

DEFAULT = {"message": "Connection rejected by server"}


def connecting(socketio: SocketIO, kind: str, act: Callable[[], Any]) -> None:
    """A connect handler of a kind."""
    if kind == "sync":
        socketio.on("connect")(lambda: act())
    else:

        @socketio.on("connect")
        async def connect() -> Any:
            return act()


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


async def outcome(socketio: SocketIO, auth: Any = None) -> Any:
    """None when the client got in, else what it reads. It may try again, and leaves no trace when it is refused."""
    async with serving(socketio) as net:
        peer = await net.open()
        try:
            await peer.connect("/", auth)
        except Refused as refused:
            await net.empty()
            return refused.data
        return None


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("result", [None, True, 0, "", (), {}])
async def test_everything_but_false_accepts(kind: str, result: Any) -> None:
    socketio = make()
    connecting(socketio, kind, lambda: result)
    assert await outcome(socketio) is None


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("act", "data"),
    [
        (lambda: False, DEFAULT),
        (raising(ConnectionRefusedError()), DEFAULT),
        (raising(ConnectionRefusedError("no")), {"message": "no"}),
        (raising(ConnectionRefusedError(404)), {"message": "404"}),
        (raising(ConnectionRefusedError("no", {"code": 1})), {"message": "no", "data": {"code": 1}}),
        (raising(ConnectionRefusedError("no", 1, 2)), {"message": "no", "data": [1, 2]}),
        (raising(builtins.ConnectionRefusedError("builtin")), {"message": "builtin"}),
        (raising(builtins.ConnectionRefusedError()), DEFAULT),
    ],
)
async def test_refusals(kind: str, act: Callable[[], Any], data: Any, caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    connecting(socketio, kind, act)
    socketio.on_event("disconnect", lambda: pytest.fail("a refused client never was there"))
    assert await outcome(socketio) == data
    assert not errors(caplog)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("answer", "let_in"), [("no handler", False), (None, False), ("yes", False), (1, False), (True, True)]
)
async def test_an_exception_refuses_unless_the_error_handler_returns_true(
    kind: str, answer: Any, let_in: bool, caplog: pytest.LogCaptureFixture
) -> None:
    socketio = make()
    connecting(socketio, kind, raising(KeyError("x")))
    seen: list[str] = []
    if answer != "no handler":

        @socketio.on_error()
        def failed(error: BaseException) -> Any:
            seen.append(repr(error))
            return answer

    assert await outcome(socketio) == (None if let_in else DEFAULT)
    assert seen == ([] if answer == "no handler" else ["KeyError('x')"])
    assert len(errors(caplog)) == (1 if answer == "no handler" else 0)


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), builtins.ConnectionRefusedError("no")])
async def test_refusals_pass_by_the_error_handlers(error: Exception) -> None:
    socketio = make()
    connecting(socketio, "sync", raising(error))
    socketio.on_error_default(lambda _: True)
    assert await outcome(socketio) == {"message": "no"}


async def test_data_that_cannot_be_sent_leaves_the_message() -> None:
    socketio = make()
    connecting(socketio, "sync", raising(ConnectionRefusedError("no", object())))
    assert await outcome(socketio) == {"message": "no"}


async def test_auth_goes_where_the_signature_takes_it() -> None:
    seen: list[Any] = []

    def without() -> None:
        seen.append("none")

    def with_auth(auth: Any) -> None:
        seen.append(auth)

    def with_default(auth: Any = "default") -> None:
        seen.append(auth)

    def many(*args: Any) -> None:
        seen.append(args)

    async def coroutine(auth: Any) -> None:
        seen.append(auth)

    class Callable_:
        def __call__(self, auth: Any) -> None:
            seen.append(auth)

    def bound(prefix: str, auth: Any) -> None:
        seen.append((prefix, auth))

    for handler in (without, with_auth, with_default, many, coroutine, Callable_(), functools.partial(bound, "p")):
        socketio = make()
        socketio.on_event("connect", handler)
        assert await outcome(socketio, {"t": 1}) is None
    assert seen == ["none", {"t": 1}, {"t": 1}, ({"t": 1},), {"t": 1}, {"t": 1}, ("p", {"t": 1})]


@pytest.mark.parametrize("auth", [None, {}])
async def test_a_falsy_auth_is_none(auth: Any) -> None:
    socketio = make()
    seen: list[Any] = []

    @socketio.on("connect")
    def connect(auth: Any) -> None:
        seen.append((auth, len(req.event["args"])))

    assert await outcome(socketio, auth) is None
    assert seen == [(None, 1)]


def unwrapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    def inner(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return inner


async def test_a_decorator_without_wraps_around_a_handler_without_arguments() -> None:
    socketio = make()
    seen: list[str] = []

    @socketio.on("connect")
    @unwrapped
    def connect() -> None:
        seen.append("connect")

    @socketio.on("disconnect")
    @unwrapped
    def leaving() -> None:
        seen.append("disconnect")

    assert await outcome(socketio, {"t": 1}) is None
    assert seen == ["connect", "disconnect"]


@pytest.mark.parametrize("decorate", [unwrapped, lambda fn: fn])
async def test_a_type_error_in_the_body_runs_it_once(decorate: Any, caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    seen: list[str] = []

    def needs_two(one: int, two: int) -> None:
        raise AssertionError((one, two))

    def connect(auth: Any) -> None:
        seen.append("body")
        needs_two(1)  # type: ignore[call-arg]  # the mistake

    socketio.on_event("connect", decorate(connect))
    assert await outcome(socketio, {"t": 1}) == DEFAULT
    assert seen == ["body"]
    assert len(errors(caplog)) == 1


async def test_emits_and_rooms_of_the_connect_handler() -> None:
    socketio = make()

    @socketio.on("connect")
    def connect() -> None:
        join_room("room")
        emit("hello", req.sid)
        emit("came", broadcast=True, include_self=False)

    async with serving(socketio) as net:
        first, second = await net.peers(2)
        assert await second.value("hello") == second.sid()
        await first.next("came")
        socketio.emit("to the room", to="room")
        await first.next("to the room")
        await second.next("to the room")


async def test_rooms_of_a_refused_client_are_undone() -> None:
    socketio = make()

    @socketio.on("connect")
    def connect(auth: Any) -> bool:
        join_room("room")
        return auth is None

    async with serving(socketio) as net:
        peer = await net.peer()
        eve = await net.open()
        with pytest.raises(Refused):
            await eve.connect("/", {"name": "eve"})
        assert net.hub.adapter.participants("/", "room") is not None
        assert list(net.hub.adapter.participants("/", "room")) == [peer.sid()]


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_client_that_leaves_while_connect_decides(accepts: bool) -> None:
    socketio = make()
    began, gate = Flag(), Flag()
    left: list[str] = []

    @socketio.on("connect")
    def connect() -> bool:
        began.set()
        gate.wait()
        return accepts

    socketio.on_event("disconnect", lambda: left.append(req.sid))
    async with serving(socketio) as net:
        peer = await net.open()
        peer.start_connect()
        await began.seen()
        [sid] = net.hub.sockets
        peer.close()
        await peer.ended()
        gate.set()
        await net.empty()
    assert left == ([sid] if accepts else []), "only who was let in is heard to leave"


async def test_a_connect_handler_that_sleeps_is_cancelled_when_its_client_leaves() -> None:
    socketio = make()
    ended = Flag()
    entered = Flag()

    @socketio.on("connect")
    def connect() -> None:
        entered.set()
        try:
            socketio.sleep(60)
        finally:
            ended.set()

    async with serving(socketio) as net:
        peer = await net.open()
        peer.start_connect()
        await entered.seen()
        peer.close()
        await ended.seen()
        await until(lambda: not net.hub.sockets)


async def test_always_connect_answers_first_and_puts_out_later() -> None:
    socketio = make(always_connect=True)
    connecting(socketio, "sync", lambda: False)
    async with serving(socketio) as net:
        peer = await net.peer()
        await peer.put_out()
        await net.empty()


async def test_events_sent_before_connect_has_decided_wait_for_it() -> None:
    socketio = make()
    lines: list[Any] = []
    gate = Flag()

    @socketio.on("connect")
    def connect() -> None:
        gate.wait()
        lines.append("connected")

    socketio.on_event("early", lines.append)
    async with serving(socketio) as net:
        peer = await net.open()
        peer.start_connect()
        peer.emit("early", 1)
        number = peer.start_ask("early", 2)
        gate.set()
        await peer.connected()
        assert await peer.acked(number) == []
    assert lines == ["connected", 1, 2]
