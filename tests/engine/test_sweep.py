"""Cancel at every step of the main scenarios; nothing is left behind (style.md §5).

An instrument counts task steps and cancels a scope after step n, for n = 1, 2, … until the scenario ends before. What
is cancelled is everything, the connections alone (a server that stops), or the engine alone.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from tests.engine.kit import POLL, SOCKET, Recorder, item, virtual
from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.engine.engine import Engine
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.testing.wires import EngineClient, MemoryExchange, SocketClient

logger = logging.getLogger("test.sweep")


class CancelAfter(trio.abc.Instrument):
    """Cancels before the n-th task step.

    Args:
        steps: n.
        scopes: what is cancelled; anything with ``cancel``.
    """

    def __init__(self, steps: int, *scopes: Any) -> None:
        self._left = steps
        self._scopes = scopes

    @property
    def struck(self) -> bool:
        return self._left <= 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            for scope in self._scopes:
                scope.cancel()


class World:
    """One engine, and every connection that was made to it."""

    def __init__(self) -> None:
        self.listener = Recorder(echo=True)
        config = EngineConfig(max_inbound_bytes=200, goodbye_timeout=5)
        self.engine = Engine(config, self.listener, logger=logger)
        self.sockets: list[SocketClient] = []
        self.exchanges: list[MemoryExchange] = []
        self.client: EngineClient

    def start(self, method: str, sid: str | None = None, data: str = "") -> MemoryExchange:
        query = POLL if sid is None else {**POLL, "sid": sid}
        exchange = self.client.start(method, query, data)
        self.exchanges.append(exchange)
        return exchange

    def socket(self, sid: str | None = None, **options: Any) -> SocketClient:
        socket = SocketClient(**options)
        self.sockets.append(socket)
        return self.client.socket(SOCKET if sid is None else {**SOCKET, "sid": sid}, client=socket)

    async def open_polling(self) -> str:
        await self.start("GET").wait_response()
        return self.listener.opened[-1].eio_sid


async def polling(world: World) -> None:
    sid = await world.open_polling()
    poll = world.start("GET", sid)
    await trio.sleep(1)
    await world.start("POST", sid, "4a\x1e4b").wait_response()
    await poll.wait_response()
    session = world.listener.opened[-1]
    session.send(item("last"))
    session.close(CloseReason.SERVER_DISCONNECT)
    await world.start("GET", sid).wait_response()


async def websocket(world: World) -> None:
    for framed in (True, False):
        socket = world.socket(framed=framed, capacity=50)
        await socket.receive()
        socket.send("4x", b"\x01")
        await socket.receive()
        socket.stall()
        session = world.listener.opened[-1]
        session.send(item("y" * 100, b"z" * 100))
        await trio.sleep(1)
        socket.resume()
        await trio.sleep(1)
        session.send(item("last"))
        session.close(CloseReason.SERVER_DISCONNECT)
        await socket.wait_closed()


async def upgrade(world: World) -> None:
    sid = await world.open_polling()
    poll = world.start("GET", sid)
    await trio.sleep(1)
    socket = world.socket(sid)
    socket.send("2probe")
    await socket.receive()
    await poll.wait_response()
    session = world.listener.opened[-1]
    session.send(item("between"))
    post = world.start("POST", sid, "4p")
    socket.send("5", "4x")
    await post.wait_response()
    await socket.receive()
    socket.cut()
    await socket.wait_finished()


async def pausing(world: World) -> None:
    socket = world.socket()
    await socket.receive()
    session = world.listener.opened[-1]
    session.hold(1000)
    socket.send("4x")
    await trio.sleep(1)
    session.release(1000)
    await trio.sleep(1)
    socket.send("1")
    await socket.wait_finished()


async def once(scenario: Callable[[World], Awaitable[None]], what: str, steps: int) -> bool:
    """Run with a cancellation at this step; True when it struck. The client gives up at the same moment."""
    world = World()
    engine_scope, client_scope = trio.CancelScope(), trio.CancelScope()

    async def host(*, task_status: trio.TaskStatus[None]) -> None:
        with engine_scope:
            await world.engine.run(task_status=task_status)

    with trio.fail_after(1000), trio.CancelScope() as everything:
        async with trio.open_nursery() as hosting:
            await hosting.start(host)
            async with anyio.create_task_group() as connections:
                world.client = EngineClient(world.engine, connections)
                targets = {"everything": everything, "connections": connections.cancel_scope, "engine": engine_scope}
                instrument = CancelAfter(steps, targets[what], client_scope)
                trio.lowlevel.add_instrument(instrument)
                try:
                    with client_scope:
                        await scenario(world)
                except Exception:
                    if not instrument.struck:
                        raise
                finally:
                    trio.lowlevel.remove_instrument(instrument)
            engine_scope.cancel()
    check(world)
    return instrument.struck


def check(world: World) -> None:
    engine, listener = world.engine, world.listener
    assert not engine.sessions
    assert not engine._farewells
    assert (engine._guests, engine._writers, len(engine.timers)) == (0, 0, 0)
    assert sorted(map(id, listener.opened)) == sorted(id(session) for session, _ in listener.closed)
    assert all(socket.closed is not None for socket in world.sockets if socket.accepted)


@pytest.mark.parametrize("what", ["everything", "connections", "engine"])
@pytest.mark.parametrize("scenario", [polling, websocket, upgrade, pausing])
def test_cancelled_at_each_step_nothing_is_left(scenario: Callable[[World], Awaitable[None]], what: str) -> None:
    for steps in itertools.count(1):
        if not virtual(lambda steps=steps: once(scenario, what, steps)):  # type: ignore[misc]  # a default binds it
            break
    assert steps > 10
