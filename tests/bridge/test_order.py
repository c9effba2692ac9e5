"""In which order one client's events run, and what may overtake what (design §3, §8.1)."""

from __future__ import annotations

import threading
from collections import defaultdict

import anyio.lowlevel
import pytest

from tests.bridge.kit import Flag, make, req, serving
from trioflask_sio import SocketIO, aio, emit

pytestmark = pytest.mark.anyio

MANY = 1_000


def listening(socketio: SocketIO) -> dict[str, list[int]]:
    """Handlers that only note what came, by client; ``end`` answers."""
    seen: dict[str, list[int]] = defaultdict(list)

    @socketio.event
    def sync(number: int) -> None:
        seen[req.sid].append(number)

    @socketio.on("async")
    async def coroutine(number: int) -> None:
        seen[req.sid].append(number)

    socketio.on_event("end", lambda: len(seen[req.sid]))
    return seen


def names(kind: str) -> list[str]:
    return {"sync": ["sync"], "async": ["async"], "mixed": ["sync", "async", "async", "sync", "async"]}[kind]


@pytest.mark.parametrize("kind", ["sync", "async", "mixed"])
async def test_a_thousand_short_handlers_keep_their_order(kind: str) -> None:
    socketio = make()
    seen = listening(socketio)
    async with serving(socketio) as net:
        peer = await net.peer()
        turn = names(kind)
        for number in range(MANY):
            peer.emit(turn[number % len(turn)], number)
        assert await peer.ask("end") == [MANY]
    assert seen[peer.sid()] == list(range(MANY))


async def test_each_of_several_clients_keeps_its_order() -> None:
    socketio = make()
    seen = listening(socketio)
    async with serving(socketio) as net:
        peers = await net.peers(8)
        for number in range(200):
            for peer in peers:
                peer.emit(["sync", "async"][number % 2], number)
        for peer in peers:
            assert await peer.ask("end") == [200]
    assert [seen[peer.sid()] for peer in peers] == [list(range(200))] * 8


async def test_emits_of_many_short_handlers_arrive_in_order() -> None:
    socketio = make()
    socketio.on_event("echo", lambda number: emit("echo", number))

    @socketio.on("echo async")
    async def echo(number: int) -> None:
        emit("echo", number)

    async with serving(socketio) as net:
        peer = await net.peer()
        for number in range(300):
            peer.emit("echo" if number % 3 else "echo async", number)
        assert await peer.values(300, "echo") == list(range(300))


async def test_stop_is_handled_while_start_sleeps_in_its_loop() -> None:
    socketio = make()
    stop = Flag()

    @socketio.event
    def start() -> str:
        emit("started")
        while not stop.is_set:
            socketio.sleep(0.005)
        return "stopped"

    socketio.on_event("stop", stop.set)
    async with serving(socketio) as net:
        peer = await net.peer()
        number = peer.start_ask("start")
        await peer.next("started")
        peer.emit("stop")
        assert await peer.acked(number) == ["stopped"]


async def test_a_handler_in_foreign_code_is_overtaken_after_overlap_after() -> None:
    socketio = make(overlap_after=0.05)
    gate = Flag()

    @socketio.event
    def block() -> str:
        gate.wait()
        return "blocked"

    socketio.on_event("free", gate.set)
    async with serving(socketio) as net:
        peer = await net.peer()
        begun = anyio.current_time()
        number = peer.start_ask("block")
        assert await peer.ask("free") == []
        assert anyio.current_time() - begun > 0.04
        assert await peer.acked(number) == ["blocked"]


async def test_without_overlap_a_handler_in_foreign_code_is_not_overtaken() -> None:
    socketio = make(overlap_after=30.0)
    gate, second = Flag(), Flag()
    socketio.on_event("block", gate.wait)
    socketio.on_event("second", second.set)
    socketio.on_event("open", gate.set)
    async with serving(socketio) as net:
        one, two = await net.peers(2)
        one.emit("block")
        one.emit("second")
        number = two.start_ask("open")
        assert not second.is_set
        assert await two.acked(number) == []
        await second.seen()


async def test_an_awaiting_handler_lets_the_next_one_start() -> None:
    socketio = make()
    gate: list[anyio.Event] = []

    @socketio.event
    async def wait() -> str:
        gate.append(anyio.Event())
        await gate[0].wait()
        return "waited"

    @socketio.event
    async def free() -> None:
        gate[0].set()

    async with serving(socketio) as net:
        peer = await net.peer()
        number = peer.start_ask("wait")
        assert await peer.ask("free") == []
        assert await peer.acked(number) == ["waited"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_async_handlers_false_is_strictly_one_after_another(kind: str) -> None:
    socketio = make(async_handlers=False, overlap_after=0.0)
    at_work: list[int] = []
    seen: list[int] = []

    @socketio.event
    def sync(number: int) -> None:
        at_work.append(number)
        socketio.sleep(0.002)
        seen.extend(at_work)
        at_work.remove(number)

    @socketio.on("async")
    async def coroutine(number: int) -> None:
        at_work.append(number)
        await aio.sleep(0.002)
        seen.extend(at_work)
        at_work.remove(number)

    socketio.on_event("end", lambda: None)
    async with serving(socketio) as net:
        peer = await net.peer()
        peer.burst(kind, range(20))
        await peer.ask("end")
    assert seen == list(range(20)), "each was alone at work"


async def test_one_clients_burst_does_not_hold_up_the_others() -> None:
    socketio = make(worker_threads=1, max_threads=1)
    served: list[int] = []

    @socketio.event
    def work(number: int) -> None:
        served.append(number)
        threading.Event().wait(0.001)

    socketio.on_event("quick", lambda: len(served))
    async with serving(socketio) as net:
        busy, other = await net.peers(2)
        busy.burst("work", range(200))
        assert (await other.ask("quick"))[0] < 100, "its turn came between two quanta of the burst"
        busy.close()


async def test_namespaces_of_one_client_do_not_wait_for_each_other() -> None:
    socketio = make()
    gate = Flag()
    socketio.on_event("block", gate.wait)
    socketio.on_event("open", gate.set, namespace="/other")
    async with serving(socketio) as net:
        peer = await net.peer()
        await peer.connect("/other")
        number = peer.start_ask("block")
        assert await peer.ask("open", namespace="/other") == []
        assert await peer.acked(number) == []
