"""What an idle client costs: one task, and few bytes (design §5, §8.13)."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest
import trio

from tests.engine.kit import SOCKET, Recorder, settle, stage
from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.engine.engine import Engine
from trioflask_sio.engine.transport import HttpResponse, PeerGone
from trioflask_sio.testing.wires import make_request

COUNT = 200


class Silent:
    """A WebSocket, and the request for it, that hold nothing but a parked task."""

    framed = True
    can_try_send = True

    def __init__(self) -> None:
        self.request = make_request("GET", SOCKET)
        self.gone = anyio.Event()

    async def accept(
        self,
        *,
        max_message: int,
        headers: Sequence[tuple[str, str]] = (),
        deflate: bool = False,
        deflate_threshold: int = 1024,
    ) -> Silent:
        await anyio.lowlevel.checkpoint()
        return self

    async def reject(self, response: HttpResponse) -> None:
        raise AssertionError(f"refused: {response}")

    async def receive(self) -> list[str | bytes]:
        await self.gone.wait()
        raise PeerGone

    def try_send(self, data: bytes | memoryview) -> int:
        return len(data)

    async def send_bytes(self, data: bytes | memoryview) -> None:
        raise AssertionError("try_send took everything")

    async def send_message(self, message: str | bytes) -> None:
        raise AssertionError("this transport takes whole frames")

    async def wait_gone(self) -> None:
        await self.gone.wait()

    def abort(self) -> None:
        self.gone.set()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await anyio.lowlevel.checkpoint()


def tasks_below(task: trio.lowlevel.Task) -> int:
    return 1 + sum(tasks_below(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


def measure() -> tuple[float, float]:
    """Bytes of the engine, and of everything, per idle WebSocket client."""

    async def main() -> tuple[float, float]:
        engine = Engine(EngineConfig(connect_timeout=None), Recorder())
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            silent = [Silent() for _ in range(COUNT)]
            await settle()
            gc.collect()
            tracemalloc.start(1)
            try:
                for one in silent:
                    nursery.start_soon(engine.handle_websocket, one)
                await settle()
                gc.collect()
                taken = tracemalloc.take_snapshot()
            finally:
                tracemalloc.stop()
            assert len(engine.sessions) == COUNT
            ours = taken.filter_traces((tracemalloc.Filter(True, "*/trioflask_sio/engine/*"),))
            everything = sum(trace.size for trace in taken.traces)
            nursery.cancel_scope.cancel()
            return sum(trace.size for trace in ours.traces) / COUNT, everything / COUNT

    return trio.run(main)


def test_an_idle_websocket_client_costs_few_bytes() -> None:
    ours, everything = measure()
    frames_are_objects = sys.version_info < (3, 11)
    most, most_of_all = (5000, 11_000) if frames_are_objects else (3500, 8000)
    assert ours < most, f"{ours:.0f} bytes of the engine per idle client"
    assert everything < most_of_all, f"{everything:.0f} bytes per idle client, its trio task included"


def test_an_idle_websocket_client_is_one_task() -> None:
    async def main() -> None:
        async with stage() as s:
            root = trio.lowlevel.current_root_task()
            assert root is not None
            before = tasks_below(root)
            for _ in range(10):
                await s.open_socket()
            await settle()
            assert tasks_below(root) == before + 10

    trio.run(main)


def test_a_parked_poll_is_one_task() -> None:
    async def main() -> None:
        async with stage() as s:
            root = trio.lowlevel.current_root_task()
            assert root is not None
            before = tasks_below(root)
            sids = [await s.open_polling() for _ in range(10)]
            polls = [s.client.start("GET", f"EIO=4&transport=polling&sid={sid}") for sid in sids]
            await settle()
            assert tasks_below(root) == before + 10
            assert not any(poll.response for poll in polls)

    trio.run(main)


@pytest.mark.anyio
async def test_a_session_has_no_dictionary() -> None:
    async with stage() as s:
        await s.open_socket()
        for thing in (s.session, s.session.carrier, s.session.outbox, s.session.heartbeat):
            assert not hasattr(thing, "__dict__"), thing


if __name__ == "__main__":
    ours, everything = measure()
    print(f"bytes per idle WebSocket client: {ours:.0f} of the engine, {everything:.0f} with its task")
