"""Signs of life to the exact moment (spec 3.8; decision 6.4 #15; pain 3). All on the virtual clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trio

from tests.engine.kit import POLL, Recorder, Stage, body, item, settle, stage, virtual
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.session import Session
from trioflask_sio.protocol.eio_machine import State
from trioflask_sio.protocol.eio_packet import Message, Packet, Ping, Pong, decode, encode
from trioflask_sio.testing.wires import SocketClient


async def until(s: Stage, count: int = 1) -> float:
    """The moment at which ``count`` sessions have closed."""
    moments: list[float] = []
    done = trio.Event()

    def note(session: Session, reason: CloseReason) -> None:
        moments.append(trio.current_time())
        if len(moments) == count:
            done.set()

    s.listener.on_close = note
    await done.wait()
    s.listener.on_close = None
    return moments[-1]


@pytest.mark.parametrize(("interval", "timeout"), [(25.0, 20.0), (0.3, 0.2), (1.0, 60.0)])
@pytest.mark.parametrize("kind", ["silent", "half open", "stalled"])
def test_a_dead_client_is_gone_exactly_at_interval_plus_timeout(kind: str, interval: float, timeout: float) -> None:
    async def main() -> None:
        async with stage(ping_interval=interval, ping_timeout=timeout, connect_timeout=None) as s:
            start = trio.current_time()
            socket = await s.open_socket(capacity=5)
            if kind == "half open":
                socket.half_open()
            elif kind == "stalled":
                socket.stall()
            assert await until(s) == start + interval + timeout
            assert s.listener.reasons == [CloseReason.PING_TIMEOUT]

    virtual(main)


def test_a_polling_client_without_pong_gets_the_close_in_its_poll() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            sid = await s.open_polling()
            start = s.session.opened_at
            assert await s.get(sid) == "2"
            assert trio.current_time() == start + 25
            assert await s.get(sid) == "1"
            assert trio.current_time() == start + 45
            assert s.listener.reasons == [CloseReason.PING_TIMEOUT]

    virtual(main)


def test_a_polling_client_that_never_polls_again_is_gone_too() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            await s.open_polling()
            assert await until(s) == s.session.opened_at + 45
            assert not s.engine._farewells

    virtual(main)


def test_the_next_ping_comes_an_interval_after_the_pong() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            start = trio.current_time()
            socket = await s.open_socket()
            for delay, expected in ((0.0, 25.0), (19.5, 50.0), (3.0, 94.5), (0.0, 122.5)):
                assert await socket.receive() == "2"
                assert trio.current_time() - start == pytest.approx(expected)
                await trio.sleep(delay)
                socket.send("3")

    virtual(main)


def test_only_a_pong_counts() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            start = trio.current_time()
            socket = await s.open_socket()
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def chatter() -> None:
                    while True:
                        socket.send("4busy", "6")
                        await trio.sleep(1)

                assert await until(s) == start + 45
                nursery.cancel_scope.cancel()

    virtual(main)


def test_a_pong_to_no_ping_puts_nothing_off() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            start = trio.current_time()
            socket = await s.open_socket()
            await trio.sleep(24)
            socket.send("3")
            assert await socket.receive() == "2"
            assert trio.current_time() - start == 25

    virtual(main)


def test_without_monitoring_pings_go_on_and_nobody_is_closed() -> None:
    async def main() -> None:
        async with stage(monitor_clients=False, connect_timeout=None) as s:
            socket = await s.open_socket()
            await trio.sleep(1010)
            assert socket.received() == ["2"] * 40
            assert not s.session.closed

    virtual(main)


def test_a_day_of_heartbeats_takes_no_time_and_the_wall_clock_has_no_say() -> None:
    async def main() -> tuple[int, float]:
        began = time.perf_counter()
        async with stage(connect_timeout=None) as s:
            sockets = [await s.open_socket() for _ in range(3)]
            sid = await s.open_polling()

            async def answer(socket: SocketClient) -> None:
                while True:
                    assert await socket.receive() == "2"
                    pings.append(trio.current_time())
                    socket.send("3")

            async def answer_polls() -> None:
                while True:
                    assert await s.get(sid) == "2"
                    pings.append(trio.current_time())
                    assert body(await s.post(sid, "3")) == "ok"

            pings: list[float] = []
            start = trio.current_time()
            async with trio.open_nursery() as nursery:
                for socket in sockets:
                    nursery.start_soon(answer, socket)
                nursery.start_soon(answer_polls)
                await trio.sleep(86_400 + 1)
                assert not s.listener.closed
                assert s.engine.timers.held < 200
                nursery.cancel_scope.cancel()
            assert set(pings) == {start + 25 * n for n in range(1, 3457)}
            s.session.close(CloseReason.SERVER_DISCONNECT)
            return len(pings), time.perf_counter() - began

    count, seconds = virtual(main)
    assert count == 4 * 3456
    assert seconds < 30


def test_a_thousand_clients_share_a_deadline() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            start = trio.current_time()
            sockets = [await s.open_socket() for _ in range(1000)]
            assert await until(s, 1000) == start + 45
            assert s.listener.reasons == [CloseReason.PING_TIMEOUT] * 1000
            assert all(socket.received() == ["2"] for socket in sockets)

    virtual(main)


def test_a_paused_reader_suspends_the_pong_deadline_and_keeps_pinging() -> None:
    async def main() -> None:
        listener = Recorder()
        listener.on_message = lambda session, data: session.hold(len(data))
        async with stage(listener=listener, connect_timeout=None, max_inbound_bytes=1000) as s:
            start = trio.current_time()
            socket = await s.open_socket()
            socket.send("4" + "x" * 2000)
            await settle()
            assert (s.session.paused, s.session.held) == (True, 2000)
            for expected in (25, 45, 65, 85):
                assert await socket.receive() == "2"
                assert trio.current_time() - start == expected
            await trio.sleep(5)
            s.session.release(2000)
            await settle()
            assert not s.session.paused
            assert await until(s) == start + 90 + 20
            assert s.listener.reasons == [CloseReason.PING_TIMEOUT]

    virtual(main)


def test_pongs_that_lay_unread_count_after_the_pause() -> None:
    async def main() -> None:
        listener = Recorder()
        listener.on_message = lambda session, data: session.hold(len(data))
        async with stage(listener=listener, connect_timeout=None, max_inbound_bytes=1000) as s:
            socket = await s.open_socket()
            socket.send("4" + "x" * 2000)
            for _ in range(3):
                assert await socket.receive() == "2"
                socket.send("3")
            s.session.release(2000)
            released = trio.current_time()
            assert await socket.receive() == "2"
            assert trio.current_time() == released + 25
            assert not s.session.closed

    virtual(main)


def test_the_connect_timeout_closes_whom_nobody_confirmed() -> None:
    async def main() -> None:
        async with stage(connect_timeout=10) as s:
            await s.open_socket()
            s.session.confirm()
            s.session.confirm()
            socket = await s.open_socket()
            start = s.session.opened_at
            assert await until(s) == start + 10
            assert await socket.wait_closed() == (1000, "connect timeout")
            assert s.listener.closed == [(s.listener.opened[1], CloseReason.CONNECT_TIMEOUT)]
            await trio.sleep(10)
            assert not s.listener.opened[0].closed

    virtual(main)


@dataclass(frozen=True)
class ClientPings:
    """A revision in which the client pings (as revision 3 does), with the text form of revision 4."""

    key: str = "3"
    number: int = 3
    server_pings: bool = False

    def to_ws(self, packet: Packet) -> str | bytes:
        return encode(packet)

    def from_ws(self, message: str | bytes) -> Packet:
        return decode(message) if isinstance(message, str) else Message(message)

    def element(self, packet: Packet) -> str | bytes:
        return encode(packet)

    def payload(self, elements: object) -> tuple[bytes, str]:
        raise AssertionError("not polled here")

    def from_payload(self, body: bytes, content_type: str) -> Iterator[Packet]:
        raise AssertionError("not polled here")


def test_where_the_client_pings_it_is_answered_and_its_silence_ends_it() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            session = Session(s.engine, "other", ClientPings(), (await opened(s)).request, State.WEBSOCKET)
            carried = Carried()
            session.carrier = carried
            s.engine.sessions.add(session)
            s.engine.session_opened(session)
            start = trio.current_time()
            for _ in range(3):
                await trio.sleep(30)
                session.heartbeat.beat()
                assert session.outbox.take_elements(session.revision) == ["3"]
            assert decode("2") == Ping()
            assert decode("3") == Pong()
            assert await until(s) - start == 90 + 45  # the first client, which answers nothing, is gone before
            assert session.close_reason is CloseReason.PING_TIMEOUT

    async def opened(s: Stage) -> Session:
        await s.open_socket()
        return s.session

    virtual(main)


class Carried:
    """A carrier that leaves everything in the outbox."""

    name = "websocket"
    writable = False

    def send_now(self, item: object) -> bool:
        return False

    def flush(self) -> None:
        pass

    def session_closed(self) -> None:
        pass


def test_data_does_not_delay_a_ping() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            sid = await s.open_polling()
            for n in range(100):
                s.session.send(item(str(n)))
            await trio.sleep(25)
            assert (await s.get(sid)).startswith("2\x1e40\x1e41")
            assert (await s.client.http("POST", {**POLL, "sid": sid}, "3")).status == 200

    virtual(main)
