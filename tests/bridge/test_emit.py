"""Who receives an emit, from where it may come, and in which order (spec 1.9.1, 1.10, 6.4 #4; design §8.3, §8.4)."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import anyio.lowlevel
import anyio.to_thread
import pytest

from tests.bridge.kit import Net, Peer, in_thread, make, req, serving, until
from trioflask_sio import (
    NotServing,
    SocketIO,
    UsageError,
    aio,
    close_room,
    emit,
    join_room,
    leave_room,
    rooms,
    send,
)

pytestmark = pytest.mark.anyio


async def heard(socketio: SocketIO, peers: list[Peer]) -> list[list[Any]]:
    """The names of what each has received so far."""
    await in_thread(socketio.emit, "end")
    return [await peer.names_until("end") for peer in peers]


def forms(socketio: SocketIO, sids: list[str]) -> dict[str, tuple[Any, str]]:
    """What the first of three clients (in no room; the others are in ``room``) says, and who hears it."""
    me, second, third = sids
    return {
        "to the sender": (lambda: emit("x"), "1"),
        "empty to": (lambda: emit("x", to=""), "1"),
        "broadcast": (lambda: emit("x", broadcast=True), "123"),
        "others": (lambda: emit("x", broadcast=True, include_self=False), "23"),
        "others by skip": (lambda: emit("x", broadcast=True, skip_sid=me), "23"),
        "skip list": (lambda: emit("x", broadcast=True, skip_sid=[me, third]), "2"),
        "skip tuple": (lambda: emit("x", broadcast=True, skip_sid=(me, third)), "2"),
        "skip union": (lambda: emit("x", broadcast=True, include_self=False, skip_sid=third), "2"),
        "room": (lambda: emit("x", to="room"), "23"),
        "room alias": (lambda: emit("x", room="room"), "23"),
        "list": (lambda: emit("x", to=[me, "room"]), "123"),
        "list once": (lambda: emit("x", to=[second, "room", third]), "23"),
        "sid": (lambda: emit("x", to=third), "3"),
        "nobody": (lambda: emit("x", to=[]), ""),
        "room 0": (lambda: emit("x", to=0), "3"),
        "nowhere": (lambda: emit("x", to="no such room"), ""),
        "other namespace": (lambda: emit("x", namespace="/other", broadcast=True), ""),
        "object": (lambda: socketio.emit("x"), "123"),
        "object broadcast": (lambda: socketio.emit("x", broadcast=True), "123"),
        "object to": (lambda: socketio.emit("x", to="room"), "23"),
        "object nobody": (lambda: socketio.emit("x", to=[]), ""),
        "object room 0": (lambda: socketio.emit("x", to=0), "3"),
        "object others": (lambda: socketio.emit("x", include_self=False), "23"),
        "object empty": (lambda: socketio.emit("x", to="", namespace=None), "123"),
        "send": (lambda: send("x", broadcast=True), "123"),
        "object send": (lambda: socketio.send("x", skip_sid=second), "13"),
    }


async def three(net: Net) -> list[Peer]:
    peers = await net.peers(3)
    for peer in peers[1:]:
        net.hub.enter_room(peer.sid(), "/", "room")
    net.hub.enter_room(peers[2].sid(), "/", 0)
    return peers


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_who_hears_it(kind: str) -> None:
    socketio = make()
    table: dict[str, tuple[Any, str]] = {}
    socketio.on_event("sync", lambda name: table[name][0]())

    @socketio.on("async")
    async def coroutine(name: str) -> None:
        table[name][0]()

    async with serving(socketio) as net:
        peers = await three(net)
        table.update(forms(socketio, [peer.sid() for peer in peers]))
        for name, (_, expected) in table.items():
            await peers[0].ask(kind, name)
            got = await heard(socketio, peers)
            assert "".join(str(number) for number, names in enumerate(got, 1) if names) == expected, name
            assert all(len(names) <= 1 for names in got), name


@pytest.mark.parametrize(
    ("payload", "args"),
    [
        ((), []),
        ((None,), []),
        (((),), []),
        (((None,),), [None]),
        ((1,), [1]),
        (([1, 2],), [[1, 2]]),
        (((1, 2),), [1, 2]),
        (((b"x", {"b": b"y"}),), [b"x", {"b": b"y"}]),
    ],
)
async def test_the_payload(payload: tuple[Any, ...], args: list[Any]) -> None:
    socketio = make()
    async with serving(socketio) as net:
        peer = await net.peer()
        socketio.emit("x", *payload)
        assert (await peer.next("x")).args == args


async def test_send_and_its_json_form() -> None:
    socketio = make()
    async with serving(socketio) as net:
        peer = await net.peer()
        socketio.send("text")
        socketio.send({"a": 1}, json=True)
        assert await peer.value("message") == "text"
        assert await peer.value("json") == {"a": 1}


async def test_data_changed_after_the_emit_has_left_as_it_was() -> None:
    socketio = make()

    @socketio.event
    def go() -> None:
        data = {"n": 1}
        emit("x", data)
        data["n"] = 2

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("go")
        assert await peer.value("x") == {"n": 1}


async def test_what_cannot_be_sent_is_the_callers_error_and_nothing_is_sent() -> None:
    socketio = make()
    async with serving(socketio) as net:
        peer = await net.peer()
        for wrong in (object(), {"deep": [{1, 2}]}, float("nan")):
            with pytest.raises((TypeError, ValueError)):
                await in_thread(socketio.emit, "x", wrong)
        with pytest.raises(TypeError, match="one payload"):
            socketio.emit("x", 1, 2)
        with pytest.raises(TypeError, match="skip_sid"):
            socketio.emit("x", skip_sid=3)
        assert await heard(socketio, [peer]) == [[]]


async def test_before_the_start_nobody_and_after_the_end_an_error() -> None:
    socketio = make()
    socketio.emit("x", 1)
    assert socketio.operations.rooms("nobody", "/") == []
    socketio.close_room("room")
    with pytest.raises(TypeError):
        socketio.emit("x", object())
    async with serving(socketio) as net:
        peer = await net.peer()
        assert await heard(socketio, [peer]) == [[]]
    with pytest.raises(NotServing):
        socketio.emit("x")
    with pytest.raises(NotServing):
        await in_thread(socketio.emit, "x")
    with pytest.raises(NotServing):
        socketio.close_room("room")
    with pytest.raises(NotServing):
        socketio.operations.disconnect("nobody", "/")


async def test_outside_of_a_handler_the_functions_name_the_methods() -> None:
    socketio = make()
    assert socketio.app is not None
    with pytest.raises(UsageError, match=r"socketio\.emit"):
        emit("x")
    with socketio.app.app_context(), pytest.raises(UsageError, match=r"socketio\.emit"):
        emit("x")
    with socketio.app.test_request_context("/"):
        with pytest.raises(UsageError, match="sid"):
            emit("x")
        with pytest.raises(UsageError, match="sid"):
            socketio.emit("x", include_self=False)
        with pytest.raises(UsageError, match="sid"):
            join_room("room")


# --- rooms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_rooms_from_a_handler(kind: str) -> None:
    socketio = make()
    told: list[Any] = []

    def act(other: str) -> None:
        join_room("a")
        join_room("b")
        join_room("a", sid=other, namespace="/")
        told.append((rooms(), rooms(other)))
        leave_room("a")
        leave_room("never joined")
        told.append((rooms(), rooms(other)))
        close_room("a")
        told.append((rooms(), rooms(other), rooms("nobody")))
        with pytest.raises(KeyError):
            join_room("a", sid="nobody")
        with pytest.raises(ValueError, match="namespace"):
            join_room("a", sid=other, namespace="/nowhere")

    socketio.on_event("sync", act)

    @socketio.on("async")
    async def coroutine(other: str) -> None:
        act(other)

    async with serving(socketio) as net:
        peer, other = await net.peers(2)
        me, you = peer.sid(), other.sid()
        assert await peer.ask(kind, you) == []
        assert told == [
            ([me, "a", "b"], [you, "a"]),
            ([me, "b"], [you, "a"]),
            ([me, "b"], [you], []),
        ]
        await in_thread(socketio.operations.enter_room, me, "/", "c")
        assert await in_thread(socketio.operations.rooms, me, "/") == [me, "b", "c"]
        with pytest.raises(KeyError):
            await in_thread(socketio.operations.enter_room, "nobody", "/", "c")


async def test_a_join_takes_effect_before_a_later_emit_of_the_same_handler() -> None:
    socketio = make()

    @socketio.event
    def go() -> None:
        for number in range(50):
            join_room(number)
            emit("x", number, to=number)
            leave_room(number)

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("go")
        assert await peer.values(50, "x") == list(range(50))


# --- threads ----------------------------------------------------------------------------------------------------------


async def test_fifty_foreign_threads_each_in_its_order() -> None:
    socketio = make()
    start = threading.Barrier(50)

    def emitter(thread: int) -> None:
        start.wait(10)
        for number in range(40):
            socketio.emit("x", [thread, number])

    async with serving(socketio) as net:
        peer = await net.peer()
        threads = [threading.Thread(target=emitter, args=(thread,)) for thread in range(50)]
        for thread in threads:
            thread.start()
        got = defaultdict(list)
        for _ in range(50 * 40):
            thread_number, number = await peer.value("x")
            got[thread_number].append(number)
        for thread in threads:
            await in_thread(thread.join, 10)
    assert got == {thread: list(range(40)) for thread in range(50)}


async def test_two_threads_never_mix_their_attachments() -> None:
    socketio = make()

    def emitter(mark: int) -> None:
        for number in range(200):
            block = bytes([mark]) * 50
            socketio.emit("x", {"mark": mark, "number": number, "parts": [block, block, block]})

    async with serving(socketio) as net:
        peer = await net.peer()
        threads = [threading.Thread(target=emitter, args=(mark,)) for mark in (1, 2)]
        for thread in threads:
            thread.start()
        numbers = defaultdict(list)
        for _ in range(400):
            value = await peer.value("x")
            assert value["parts"] == [bytes([value["mark"]]) * 50] * 3
            numbers[value["mark"]].append(value["number"])
        for thread in threads:
            await in_thread(thread.join, 10)
    assert numbers == {1: list(range(200)), 2: list(range(200))}


async def test_an_async_handlers_emits_keep_their_place_among_those_of_threads() -> None:
    socketio = make()

    @socketio.event
    async def go() -> None:
        await anyio.to_thread.run_sync(lambda: socketio.emit("x", 1))
        socketio.emit("x", 2)
        await anyio.to_thread.run_sync(lambda: socketio.emit("x", 3))
        emit("x", 4)

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("go")
        assert await peer.values(4, "x") == [1, 2, 3, 4]


async def test_tasks_that_an_async_handler_starts_are_heard_while_it_waits() -> None:
    socketio = make()

    @socketio.event
    async def go() -> None:
        async def child() -> None:
            await anyio.lowlevel.checkpoint()
            emit("from the child")
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(child)

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("go")
        await peer.next("from the child")
        peer.close()


async def test_an_emit_followed_by_foreign_code_does_not_wait_for_its_end() -> None:
    socketio = make()
    gate = threading.Event()

    @socketio.event
    def go() -> None:
        emit("x")
        gate.wait(10)

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("go")
        await peer.next("x")
        gate.set()


# --- aio.emit ---------------------------------------------------------------------------------------------------------


async def test_the_awaitable_emit_waits_for_the_clients_outbox() -> None:
    socketio = make()
    done: list[int] = []

    @socketio.event
    async def pour() -> None:
        for number in range(20):
            await aio.emit("drop", "x" * 20_000)
            done.append(number)

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.wire.stall()
        peer.emit("pour")
        await until(lambda: not peer.wire.room())
        assert len(done) < 10, "it keeps the client's pace"
        peer.wire.resume()
        for _ in range(20):
            await peer.next("drop")


async def test_the_awaitable_emit_to_a_room_or_all_waits_for_nobody() -> None:
    socketio = make()

    @socketio.event
    async def go() -> str:
        await aio.emit("x", 1, broadcast=True)
        await aio.emit("x", 2, room="room")
        await aio.emit("x", 3, to=req.sid)
        return "done"

    async with serving(socketio) as net:
        peers = await three(net)
        peers[2].wire.stall()
        assert await peers[0].ask("go") == ["done"]
        assert await peers[0].values(2, "x") == [1, 3]
        assert await peers[1].values(2, "x") == [1, 2]
        peers[2].wire.resume()
