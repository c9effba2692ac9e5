"""Sessions on a WebSocket: spec 3.6, 3.13.3, writing under backpressure, every ending (design §5, §8.4, §8.5)."""

from __future__ import annotations

import logging

import anyio
import pytest
import trio

from tests.engine.kit import SOCKET, Recorder, Stage, item, refused, settle, stage, virtual
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.session import Session
from trioflask_sio.testing.wires import EngineClient, SocketClient

pytestmark = pytest.mark.anyio

WIRES = [{}, {"can_try_send": False}, {"framed": False}]


async def test_the_greeting_offers_no_upgrade_and_sets_no_cookie() -> None:
    async with stage(cookie="io") as s:
        socket = s.client.socket(SOCKET)
        greeting = await socket.receive()
        assert isinstance(greeting, str)
        assert '"upgrades":[]' in greeting
        assert s.session.eio_sid in greeting
        assert socket.accept_headers == ()
        assert s.session.transport == "websocket"


@pytest.mark.parametrize("wire", WIRES)
async def test_text_stays_text_and_bytes_stay_bytes(wire: dict[str, bool]) -> None:
    async with stage(listener=Recorder(echo=True)) as s:
        socket = await s.open_socket(**wire)
        socket.send("4héllo", b"\x00\xff", "4", b"")
        assert [await socket.receive() for _ in range(4)] == ["4héllo", b"\x00\xff", "4", b""]
        assert s.listener.messages == ["héllo", b"\x00\xff", "", b""]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_client_without_binary_frames_gets_base64(wire: dict[str, bool]) -> None:
    async with stage(listener=Recorder(echo=True)) as s:
        socket = s.client.socket({**SOCKET, "b64": "1"}, client=SocketClient(**wire))
        await socket.receive()
        socket.send("bAQI=")
        assert await socket.receive() == "bAQI="
        assert s.listener.messages == [b"\x01\x02"]


async def test_sending_leaves_before_send_returns() -> None:
    async with stage() as s:
        socket = await s.open_socket()
        assert s.session.send(item("a", b"b"))
        assert socket.received() == ["4a", b"b"]


@pytest.mark.parametrize("wire", WIRES)
async def test_two_phases_send_everything_in_order(wire: dict[str, bool]) -> None:
    async with stage() as s:
        socket = await s.open_socket(**wire)
        for n in range(5):
            s.session.enqueue(item(str(n)))
        assert socket.received() == []
        s.session.flush()
        await settle()
        assert socket.received() == ["40", "41", "42", "43", "44"]


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_a_kernel_that_takes_a_part_gets_the_rest_from_the_writer(limit: int) -> None:
    async with stage() as s:
        socket = await s.open_socket()
        socket.try_limit = limit
        sent = [f"message {n}" for n in range(20)]
        for text in sent:
            assert s.session.send(item(text))
        await settle()
        assert socket.received() == ["4" + text for text in sent]
        assert s.session.can_take_now()


async def test_a_stalled_reader_is_bounded_and_gets_everything_when_it_wakes() -> None:
    async with stage() as s:
        socket = await s.open_socket(capacity=1000)
        socket.stall()
        sent = [f"{n:0100d}" for n in range(100)]
        for text in sent:
            assert s.session.send(item(text))
        await settle()
        assert socket.held_up == 1000
        assert not s.session.can_take_now()
        socket.resume()
        await settle()
        assert socket.received() == ["4" + text for text in sent]
        assert s.session.can_take_now()


@pytest.mark.parametrize("wire", WIRES)
async def test_a_stalled_reader_over_the_outbox_limit_is_closed(wire: dict[str, bool]) -> None:
    async with stage(max_outbox_bytes=10_000) as s:
        live = await s.open_socket()
        await s.open_socket(capacity=1000, **wire)
        stalled = s.session
        slow = await s.open_socket(capacity=1000, **wire)
        slow.stall()
        victim = s.session
        for n in range(300):
            for session in s.listener.opened:
                session.send(item(f"{n:0100d}"))
            await settle()
        assert s.listener.closed == [(victim, CloseReason.SLOW_CONSUMER)]
        assert not stalled.closed
        assert len(live.received()) == 300
        await slow.wait_finished()
        assert slow.closed == (None, "")


def test_a_stalled_reader_is_closed_by_its_ping_timeout() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            start = trio.current_time()
            socket = await s.open_socket(capacity=10)
            socket.stall()
            s.session.send(item("x" * 100))
            await socket.wait_finished()
            assert trio.current_time() - start == 45
            assert s.listener.reasons == [CloseReason.PING_TIMEOUT]
            assert socket.closed == (None, "")

    virtual(main)


def test_a_ping_overtakes_data_that_waits() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            socket = await s.open_socket(capacity=1000)
            socket.stall()
            for n in range(3):
                s.session.send(item(f"{n:01000d}"))
            await trio.sleep(26)
            s.session.send(item("late"))
            socket.resume()
            await settle()
            kinds = [str(message)[:2] for message in socket.received()]
            assert kinds.index("2") < kinds.index("4l")
            assert not s.session.closed

    virtual(main)


@pytest.mark.parametrize("code", [1000, 1001, 1005])
async def test_a_client_that_closes_is_a_transport_close(code: int) -> None:
    async with stage() as s:
        socket = await s.open_socket()
        socket.send("4last")
        socket.close(code)
        await socket.wait_finished()
        assert s.listener.messages == ["last"]
        assert s.listener.reasons == [CloseReason.TRANSPORT_CLOSE]


async def test_a_broken_connection_is_a_transport_close() -> None:
    async with stage() as s:
        socket = await s.open_socket()
        socket.cut()
        await socket.wait_finished()
        assert s.listener.reasons == [CloseReason.TRANSPORT_CLOSE]


async def test_a_send_error_only_marks_the_session() -> None:
    async with stage() as s:
        socket = await s.open_socket()
        socket.gone = True  # broken, and the reader has not heard of it
        s.session.send(item("x"))
        assert s.listener.closed == []
        await socket.wait_finished()
        assert s.listener.reasons == [CloseReason.TRANSPORT_CLOSE]


async def test_a_send_error_in_the_second_phase_only_marks_the_session() -> None:
    async with stage() as s:
        socket = await s.open_socket()
        s.session.enqueue(item("x"))
        socket.gone = True
        s.session.flush()
        assert s.listener.closed == []
        await socket.wait_finished()
        assert s.listener.reasons == [CloseReason.TRANSPORT_CLOSE]


async def test_a_connection_that_breaks_under_the_writer_ends_the_session() -> None:
    async with stage() as s:
        socket = await s.open_socket(capacity=10)
        socket.stall()
        s.session.send(item("x" * 100))
        await settle()
        socket.cut()
        await socket.wait_finished()
        assert s.listener.reasons == [CloseReason.TRANSPORT_CLOSE]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("1", CloseReason.CLIENT_CLOSE),
        ("2", CloseReason.TRANSPORT_ERROR),
        ("7", CloseReason.PARSE_ERROR),
        ("", CloseReason.PARSE_ERROR),
        ("b%%%", CloseReason.PARSE_ERROR),
    ],
)
async def test_frames_that_end_the_session(frame: str, reason: CloseReason, caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as s:
        socket = await s.open_socket()
        socket.send("4a", frame, "4b")
        await socket.wait_finished()
        assert socket.closed == (reason.ws_code, reason.detail)
        assert s.listener.messages == ["a"]
        assert s.listener.reasons == [reason]
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("frame", ["0", "6", "5", "3", "3probe"])
async def test_frames_without_meaning_are_ignored(frame: str) -> None:
    async with stage(listener=Recorder(echo=True)) as s:
        socket = await s.open_socket()
        socket.send(frame, "4a")
        assert await socket.receive() == "4a"


async def test_a_message_over_the_limit_closes_with_1009(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with stage(max_http_buffer_size=100) as s:
        socket = await s.open_socket()
        socket.send("4" + "x" * 100)
        assert await socket.wait_closed() == (1009, "message too big")
        assert s.listener.reasons == [CloseReason.MESSAGE_TOO_BIG]
    assert "101 bytes is over the limit of 100 bytes; raise max_http_buffer_size" in caplog.text


@pytest.mark.parametrize("wire", WIRES)
async def test_a_server_close_delivers_what_is_queued(wire: dict[str, bool]) -> None:
    async with stage() as s:
        socket = await s.open_socket(**wire)
        s.session.enqueue(item("a"))
        s.session.enqueue(item(b"b"))
        s.session.close(CloseReason.SERVER_DISCONNECT)
        s.session.close(CloseReason.PING_TIMEOUT)
        assert not s.session.send(item("late"))
        assert await socket.wait_closed() == (1000, "server disconnect")
        assert socket.received() == ["4a", b"b"]
        assert s.listener.reasons == [CloseReason.SERVER_DISCONNECT]


@pytest.mark.parametrize("wire", WIRES)
async def test_a_server_close_waits_for_a_writer_at_work(wire: dict[str, bool]) -> None:
    async with stage() as s:
        socket = await s.open_socket(capacity=100, **wire)
        socket.stall()
        for n in range(5):
            s.session.send(item(f"{n:0100d}"))
        await settle()
        s.session.close(CloseReason.SERVER_DISCONNECT)
        await settle()
        assert socket.closed is None
        socket.resume()
        assert await socket.wait_closed() == (1000, "server disconnect")
        assert [str(m)[-1] for m in socket.received()] == list("01234")


async def test_closing_without_flush_discards_what_is_queued() -> None:
    async with stage() as s:
        socket = await s.open_socket()
        s.session.enqueue(item("a"))
        s.session.close(CloseReason.PROTOCOL_ERROR, flush=False)
        assert await socket.wait_closed() == (1000, "forced close")
        assert socket.received() == []


def test_a_goodbye_that_nobody_reads_has_a_deadline() -> None:
    async def main() -> None:
        async with stage(goodbye_timeout=5) as s:
            socket = await s.open_socket(capacity=10)
            socket.stall()
            s.session.send(item("x" * 100))
            await settle()
            start = trio.current_time()
            s.session.close(CloseReason.SERVER_DISCONNECT)
            await socket.wait_finished()
            assert trio.current_time() - start == 5
            assert socket.closed == (None, "")

    virtual(main)


async def test_closing_in_the_opening_and_in_a_message() -> None:
    listener = Recorder()
    listener.on_open = lambda session: session.close(CloseReason.SERVER_DISCONNECT)
    async with stage(listener=listener) as s:
        socket = await s.open_socket()
        assert await socket.wait_closed() == (1000, "server disconnect")
        listener.on_open = None
        listener.on_message = lambda session, data: session.close(CloseReason.SERVER_DISCONNECT)
        socket = await s.open_socket()
        socket.send("4a", "4b")
        assert await socket.wait_closed() == (1000, "server disconnect")
        assert listener.messages == ["a"]


def fail(*_: object) -> None:
    raise ZeroDivisionError("the listener's mistake")


@pytest.mark.parametrize("where", ["on_open", "on_message", "on_close"])
async def test_a_listener_that_fails_is_logged_and_ends_its_session_only(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(listener=Recorder(echo=True)) as s:
        other = await s.open_socket()
        setattr(s.listener, where, fail)
        socket = await s.open_socket()
        socket.send("4a", "1")
        await socket.wait_finished()
        setattr(s.listener, where, None)
        other.send("4alive")
        assert await other.receive() == "4alive"
        assert len(s.listener.closed) == 1
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
    assert "…" in caplog.text


async def test_a_cancelled_reader_says_goodbye_and_ends_the_session() -> None:
    async with stage() as s:
        async with anyio.create_task_group() as connections:
            socket = EngineClient(s.engine, connections).socket(SOCKET)
            await socket.receive()
            s.session.enqueue(item("last"))
            connections.cancel_scope.cancel()
        assert socket.closed == (1001, "server shutting down")
        assert socket.received() == ["4last"]
        assert s.listener.reasons == [CloseReason.SERVER_SHUTDOWN]


async def test_a_transport_that_cannot_send_alone_ends_with_its_session(caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as s:
        sockets: list[SocketClient] = [await s.open_socket(framed=False) for _ in range(3)]
        sockets[1].gone = True
        for session in s.listener.opened:
            session.send(item("x"))
        await sockets[1].wait_finished()
        assert s.listener.closed == [(s.listener.opened[1], CloseReason.TRANSPORT_CLOSE)]
        assert [sockets[0].received(), sockets[2].received()] == [["4x"], ["4x"]]


async def test_a_plain_request_with_a_websocket_sid_is_a_mismatch() -> None:
    async with stage() as s:
        await s.open_socket()
        sid = s.session.eio_sid
        for transport in ("polling", "websocket"):
            response = await s.client.http("GET", {"EIO": "4", "transport": transport, "sid": sid})
            assert refused(response) == (400, 3, "Bad request")
        assert not s.session.closed


def stage_of(session: Session, s: Stage) -> bool:
    return session.eio_sid in s.engine.sessions


async def test_a_session_leaves_the_registry_at_once() -> None:
    async with stage() as s:
        await s.open_socket()
        session = s.session
        assert stage_of(session, s)
        assert "websocket" in repr(session)
        assert session.eio_sid not in repr(session)
        session.close(CloseReason.SERVER_DISCONNECT)
        assert not stage_of(session, s)
        assert "server disconnect" in repr(session)


async def test_a_client_that_breaks_the_websocket_protocol_is_a_transport_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with stage() as s:
        socket = await s.open_socket()
        socket.break_protocol()
        assert await socket.wait_closed() == (1002, "transport error")
        assert s.listener.reasons == [CloseReason.TRANSPORT_ERROR]
    assert "a reserved bit is set" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


async def test_a_goodbye_that_cannot_be_written_aborts() -> None:
    async with stage() as s:
        socket = await s.open_socket()
        s.session.enqueue(item("x"))
        socket.gone = True  # broken, and nobody has heard of it
        s.session.close(CloseReason.SERVER_DISCONNECT)
        await socket.wait_finished()
        assert socket.closed == (None, "")
        assert s.listener.reasons == [CloseReason.SERVER_DISCONNECT]


async def test_a_websocket_that_opens_into_a_stopping_engine_is_closed() -> None:
    async with stage() as s:
        socket = s.client.socket(SOCKET)
        socket.on_accept = lambda: setattr(s.engine, "accepting", False)
        assert await socket.wait_closed() == (1001, "server shutting down")
        assert s.listener.opened == []


async def test_a_listener_that_fails_is_not_the_clients_fault() -> None:
    async with stage() as s:
        socket = await s.open_socket()
        s.listener.on_message = lambda session, data: 1 // 0
        socket.send("4x")
        assert await socket.wait_closed() == (1011, "server error")
        assert s.listener.reasons == [CloseReason.SERVER_ERROR]
