"""Who hears of a handler's exception, and what the client gets then (spec 1.7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bridge.kit import errors, make, req, serving
from trioflask_sio import ConnectionRefusedError, HandlerCancelled, Namespace, SocketIO

pytestmark = pytest.mark.anyio


def failing(socketio: SocketIO, namespace: str = "/") -> None:
    @socketio.on("sync", namespace=namespace)
    def sync() -> None:
        raise KeyError("sync")

    @socketio.on("async", namespace=namespace)
    async def coroutine() -> None:
        raise KeyError("async")

    socketio.on_event("hello", lambda: "alive", namespace=namespace)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_without_a_handler_it_is_logged_once_with_its_traceback(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    socketio = make()
    failing(socketio)
    async with serving(socketio) as net:
        peer = await net.peer()
        number = peer.start_ask(kind)
        assert await peer.ask("hello") == ["alive"], "the connection stays"
        assert all(getattr(packet, "id", None) != number for packet in peer._waiting), "and nothing is acknowledged"
    [record] = errors(caplog)
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError
    assert repr(kind) in record.getMessage()
    assert peer.sid() in record.getMessage()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_namespaces_handler_comes_before_the_default_one(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    failing(socketio)
    failing(socketio, "/other")

    @socketio.on_error("/other")
    def own(error: BaseException) -> Any:
        return "own", repr(error), req.namespace, req.event["message"], req.sid

    @socketio.on_error_default
    def default(error: BaseException) -> Any:
        return "default", repr(error), req.namespace, req.event["message"], req.sid

    async with serving(socketio) as net:
        peer = await net.peer()
        await peer.connect("/other")
        assert await peer.ask(kind) == ["default", f"KeyError({kind!r})", "/", kind, peer.sid()]
        answer = await peer.ask(kind, namespace="/other")
        assert answer == ["own", f"KeyError({kind!r})", "/other", kind, peer.sid("/other")]
    assert not errors(caplog)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_error_handler_that_raises_is_logged(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    failing(socketio)
    raised: list[BaseException] = [ValueError("in the error handler"), HandlerCancelled("in the error handler")]

    @socketio.on_error()
    def failed(error: BaseException) -> None:
        raise raised.pop(0)

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit(kind)
        peer.emit(kind)
        assert await peer.ask("hello") == ["alive"]
    [record] = errors(caplog)
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError
    assert not raised


async def test_a_refusal_outside_connect_is_one_line_and_no_acknowledgement(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    socketio.on_error_default(lambda _: pytest.fail("refusals pass by the error handlers"))

    @socketio.event
    def refuse() -> None:
        raise ConnectionRefusedError("no")

    socketio.on_event("hello", lambda: "alive")
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.start_ask("refuse")
        assert await peer.ask("hello") == ["alive"]
        assert not peer._waiting
    [record] = errors(caplog)
    assert record.exc_info is None
    assert "connect handler" in record.getMessage()


async def test_errors_of_class_based_handlers_and_of_disconnect_handlers(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    class Room(Namespace):
        def on_fail(self) -> None:
            raise KeyError("class")

        def on_disconnect(self) -> None:
            raise KeyError("disconnect")

    socketio = make()
    socketio.on_namespace(Room("/room"))

    @socketio.on_error("/room")
    def failed(error: BaseException) -> str:
        seen.append((repr(error), req.event["message"]))
        return "handled"

    async with serving(socketio) as net:
        peer = await net.peer("/room")
        assert await peer.ask("fail", namespace="/room") == ["handled"]
    assert seen == [("KeyError('class')", "fail"), ("KeyError('disconnect')", "disconnect")]
    assert not errors(caplog)


async def test_a_disconnect_handler_that_fails_is_logged_and_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()

    @socketio.on("disconnect")
    def leaving() -> None:
        raise KeyError("x")

    @socketio.on("disconnect", namespace="/async")
    async def leaving_async() -> None:
        raise KeyError("x")

    async with serving(socketio) as net:
        peer = await net.peer()
        await peer.connect("/async")
        peer.close()
        await net.empty()
    assert len(errors(caplog)) == 2


def test_what_cannot_be_an_error_handler() -> None:
    socketio = make()
    with pytest.raises(ValueError, match="callable"):
        socketio.on_error()("x")  # type: ignore[type-var]  # the mistake
    with pytest.raises(ValueError, match="callable"):
        socketio.on_error_default("x")  # type: ignore[type-var]  # the mistake
    with pytest.raises(ValueError, match="namespace instance"):
        socketio.on_namespace(Namespace)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match="callable"):
        socketio.on_event("x", "y")  # type: ignore[arg-type]  # the mistake
