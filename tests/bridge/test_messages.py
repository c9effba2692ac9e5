"""What the library says when it is used wrongly: every way out that a message names exists and works."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import trioflask_sio
from tests.bridge.kit import errors, in_thread, make, serving
from trioflask_sio import Namespace, SocketIO, UsageError

pytestmark = pytest.mark.anyio

ACTS: dict[str, Callable[..., Any]] = {
    name: getattr(trioflask_sio, name)
    for name in ("emit", "send", "call", "close_room", "join_room", "leave_room", "rooms", "disconnect")
}
ROOMED = ("join_room", "leave_room", "close_room", "emit", "send", "call")


def misuse(name: str) -> str:
    """What the function says here, called as in a handler."""
    with pytest.raises(UsageError) as caught:
        ACTS[name](*(("x",) if name in ROOMED else ()))
    return str(caught.value)


@pytest.mark.parametrize("name", ACTS)
def test_outside_of_a_handler_the_form_that_works_is_named(name: str) -> None:
    socketio = make()
    assert socketio.app is not None
    outside = misuse(name)
    with socketio.app.app_context():
        in_context = misuse(name)
    for said in (outside, in_context):
        if hasattr(SocketIO, name):
            method = "emit" if name == "send" else name  # it is an emit
            assert f"use socketio.{method}(…)" in said
        else:
            assert "socketio." not in said
            assert "sid=…, namespace=…)" in said
    assert ("app.app_context()" in outside) is not hasattr(SocketIO, name)
    assert "app_context" not in in_context


async def test_the_form_with_sid_and_namespace_needs_no_handler() -> None:
    socketio = make()
    app = socketio.app
    assert app is not None
    async with serving(socketio) as net:
        peer = await net.peer()
        sid = peer.sid()

        def from_outside() -> tuple[list[Any], list[Any]]:
            with app.app_context():
                trioflask_sio.join_room("chess", sid=sid, namespace="/")
                joined = trioflask_sio.rooms(sid=sid, namespace="/")
                trioflask_sio.leave_room("chess", sid=sid, namespace="/")
                left = trioflask_sio.rooms(sid=sid, namespace="/")
                trioflask_sio.disconnect(sid=sid, namespace="/")
                return joined, left

        joined, left = await in_thread(from_outside)
        assert (sorted(joined), left) == (sorted([sid, "chess"]), [sid])
        await peer.put_out()


def test_the_default_of_namespace_can_be_read_in_help() -> None:
    assert "namespace: 'str | None' = <that of the event>" in str(inspect.signature(trioflask_sio.emit))


# --- registering --------------------------------------------------------------------------------------------------


def test_on_without_parentheses_is_refused() -> None:
    socketio = make()

    def greet() -> None: ...

    with pytest.raises(TypeError, match=r"write @socketio\.on\('greet'\) or @socketio\.event\."):
        socketio.on(greet)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match=r"write @socketio\.on_error\(\)\."):
        socketio.on_error(greet)  # type: ignore[arg-type]  # the mistake


def test_a_class_instead_of_its_instance() -> None:
    class Chess(Namespace): ...

    with pytest.raises(ValueError, match=r"Not a namespace instance: write on_namespace\(Chess\('/x'\)\)"):
        make().on_namespace(Chess)  # type: ignore[arg-type]  # the mistake


# --- handling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_wrong_number_of_arguments_says_what_was_sent(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    if kind == "sync":
        socketio.on_event("say", lambda: None)
    else:

        @socketio.on("say")
        async def say() -> None: ...

    def broken(text: str) -> None:
        len(5)  # type: ignore[arg-type]  # another TypeError, in the function itself

    socketio.on_event("broken", broken)
    socketio.on_event("alive", lambda: "alive")
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("say", "a", "b")
        peer.emit("say", "a")
        peer.emit("broken", "a")
        assert await peer.ask("alive") == ["alive"]
    said = [record.getMessage() for record in errors(caplog)]
    assert said[0].endswith("The client sent 2 arguments with 'say'.")
    assert said[1].endswith("The client sent 1 argument with 'say'.")
    assert said[2].endswith("in namespace /, function " + broken.__qualname__)


async def test_what_cannot_be_sent_is_named(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make()
    socketio.on_event("ask", lambda: {1})
    socketio.on_event("nan", lambda: float("nan"))
    socketio.on_event("done", lambda: "done")
    async with serving(socketio) as net:
        peer = await net.peer()
        with pytest.raises(TypeError, match=r"event 'news' cannot be sent: .*set") as caught:
            await in_thread(socketio.emit, "news", {1})
        assert caught.value.__suppress_context__
        with pytest.raises(ValueError, match=r"event 'news' cannot be sent: "):
            await in_thread(socketio.emit, "news", float("inf"))
        with pytest.raises(TypeError, match=r"event 'quiz' cannot be sent: .*set"):
            await in_thread(lambda: socketio.call("quiz", {1}, to=peer.sid()))
        peer.start_ask("ask")
        peer.start_ask("nan")
        assert await peer.ask("done") == ["done"]
    reasons = [str(record.exc_info[1]) for record in errors(caplog) if record.exc_info]
    named = [reason.partition(" cannot be sent")[0] for reason in reasons]
    assert named == ["the answer to 'ask'", "the answer to 'nan'"]


def test_what_this_version_does_not_have_says_so() -> None:
    with pytest.raises(UsageError, match="admin UI is not part of this version"):
        make().server.instrument(auth=False)
