"""How long a stop lasts: one deadline for server and handlers, and none after a second signal (design §8.14)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from tests.bridge.kit import DEADLINE, Flag, Net, make, req, until
from tests.e2e.wire import WebSocket
from trioflask_sio.bridge.serving import _serve
from trioflask_sio.server.config import ServeConfig
from trioflask_sio.server.serve import StopSignal

pytestmark = pytest.mark.anyio

LONG = 60.0
"""A shutdown timeout that no test waits for."""


async def timed(steps: Callable[[], Awaitable[None]]) -> float:
    begun = anyio.current_time()
    with anyio.fail_after(DEADLINE):
        await steps()
    return anyio.current_time() - begun


@pytest.mark.parametrize("early", [True, False], ids=["before the handlers are waited for", "while they are"])
async def test_a_stop_that_is_hurried_waits_for_no_stuck_handler(early: bool) -> None:
    """And yet each disconnect handler runs, once."""
    socketio = make(disconnect_grace=LONG)
    gate = Flag()
    left: list[str] = []
    socketio.on_event("stuck", gate.wait)
    socketio.on_event("disconnect", lambda: left.append(req.sid))
    runtime = socketio.next_runtime()
    peers: list[str] = []

    async def stop() -> None:
        async with anyio.create_task_group() as group:
            async with runtime.running(LONG), anyio.create_task_group() as hosting:
                await hosting.start(runtime.run_engine)
                net = Net(socketio, runtime, group)
                for _ in range(3):
                    peer = await net.peer()
                    peer.emit("stuck")
                    peers.append(peer.sid())
                if early:
                    runtime.stop_within(0)
                else:
                    group.start_soon(hurry)
                hosting.cancel_scope.cancel()
            group.cancel_scope.cancel()

    async def hurry() -> None:
        await until(lambda: not runtime.engine.sessions)
        await anyio.wait_all_tasks_blocked()
        runtime.stop_within(0)

    assert await timed(stop) < 5
    gate.set()
    assert sorted(left) == sorted(peers)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_second_signal_is_passed_on_to_the_handlers(anyio_backend: str) -> None:
    socketio = make(disconnect_grace=LONG)
    gate, begun = Flag(), Flag()
    left: list[str] = []

    @socketio.event
    def stuck() -> None:
        begun.set()
        gate.wait()

    socketio.on_event("disconnect", lambda: left.append(req.sid))
    signal = StopSignal()

    def talk(port: int) -> tuple[WebSocket, str]:
        client = WebSocket(port, "EIO=4&transport=websocket")
        client.receive()
        client.send("40")
        sid = json.loads(str(client.receive())[2:])["sid"]
        client.send('42["stuck"]')
        return client, sid

    async def stop() -> None:
        config = ServeConfig(port=0, shutdown_timeout=LONG)
        async with trio.open_nursery() as nursery:
            bound: Any = await nursery.start(_serve, socketio, config, signal, lambda bound: None)
            client, sid = await trio.to_thread.run_sync(talk, bound[0].port)
            await begun.seen()
            signal.request()
            signal.request()
            await trio.to_thread.run_sync(client.closed)
            client.close()
        assert left == [sid]

    assert await timed(stop) < 5
    gate.set()


@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize(("signals", "timeout"), [(1, 0.3), (2, LONG)])
async def test_a_stuck_view_is_left_behind_by_the_deadline_and_named(
    anyio_backend: str, signals: int, timeout: float, caplog: pytest.LogCaptureFixture
) -> None:
    socketio = make()
    gate, begun = Flag(), Flag()
    assert socketio.app is not None

    @socketio.app.route("/stuck")
    def stuck() -> str:
        begun.set()
        gate.wait()
        return "too late"

    signal = StopSignal()

    async def stop() -> None:
        async with trio.open_nursery() as nursery:
            config = ServeConfig(port=0, shutdown_timeout=timeout)
            bound: Any = await nursery.start(_serve, socketio, config, signal, lambda bound: None)
            client = await trio.open_tcp_stream("127.0.0.1", bound[0].port)
            await client.send_all(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
            await begun.seen()
            for _ in range(signals):
                signal.request()
        await client.aclose()

    assert await timed(stop) < 3
    gate.set()
    assert "left behind: [GET /stuck]" in caplog.text
