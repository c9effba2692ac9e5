"""That nothing is left behind: descriptors and tasks after every ending, interpreter state, other threads' servers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
import trio

from tests.server.helpers import UPGRADE, FakeEngine, connect, masked, running, text, until
from trioflask_sio.server.listener import Bound

GET = b"GET /socket.io/ HTTP/1.1\r\nHost: a\r\n\r\n"
PARK = b"GET /socket.io/?park HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def descriptors() -> Iterator[None]:
    """The test must give back every file descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before


ENDINGS = [
    b"",
    GET,
    GET[:9],
    PARK,
    PARK + GET,
    b"NONSENSE\r\n\r\n",
    UPGRADE + b"\r\n",
    UPGRADE + b"\r\n" + text("x") + b"\x81",
    UPGRADE + b"\r\n" + masked(0x88, b""),
    b"POST /socket.io/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_a_thousand_connections_of_every_ending_leave_nothing(descriptors: None) -> None:
    async def one(bound: Bound, n: int) -> None:
        stream = await trio.open_tcp_stream(bound.host, bound.port)
        async with stream:
            await stream.send_all(ENDINGS[n % len(ENDINGS)])
            if n % 3:
                with trio.move_on_after(0.001):
                    await stream.receive_some(100)
            if n % 2:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))

    async def main() -> None:
        engine = FakeEngine()
        async with running(engine) as [bound]:
            for base in range(0, 1000, 50):
                async with trio.open_nursery() as nursery:
                    for n in range(base, base + 50):
                        nursery.start_soon(one, bound, n)
            await until(lambda: not engine.parked and not engine.transports)
            assert (await (await connect(bound)).ask(GET))[0] == 200

    trio.run(main)


def test_two_servers_in_two_threads(descriptors: None) -> None:
    """Nothing here is global to the process: each thread's loop has its own server."""

    async def main() -> bytes:
        async with running() as [bound]:
            return (await (await connect(bound)).ask(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"))[1]

    async def both() -> list[bytes]:
        got: list[bytes] = []
        async with trio.open_nursery() as nursery:
            for _ in range(2):

                async def one() -> None:
                    got.append(await trio.to_thread.run_sync(trio.run, main))

                nursery.start_soon(one)
        return got

    assert trio.run(both) == [b"hello GET /x"] * 2
