"""The engine as a whole: running, fan-out, stopping in every way (design §8.4, §8.14)."""

from __future__ import annotations

import logging

import anyio
import anyio.lowlevel
import pytest
import trio

from tests.engine.kit import POLL, SOCKET, Recorder, body, item, refused, settle, stage, virtual
from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.engine.engine import Engine
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.registry import Registry, short
from trioflask_sio.exceptions import UsageError
from trioflask_sio.protocol.limits import FANOUT_CHUNK
from trioflask_sio.testing.wires import EngineClient, SocketClient

pytestmark = pytest.mark.anyio

logger = logging.getLogger("test.engine")


async def test_the_registry_is_a_mapping_of_what_lives() -> None:
    async with stage() as s:
        socket = await s.open_socket()
        sid = await s.open_polling()
        sessions = s.engine.sessions
        assert isinstance(sessions, Registry)
        assert list(sessions) == [session.eio_sid for session in s.listener.opened]
        assert sessions[sid] is sessions.get(sid) is s.session
        assert sessions.get("nobody") is None
        assert "2 session(s)" in repr(sessions)
        assert "accepting, 2 session(s)" in repr(s.engine)
        socket.send("1")
        await socket.wait_finished()
        assert list(sessions) == [sid]
        assert short(sid) not in (sid, "")
        assert len(short(sid)) == 7


async def test_running_twice_is_an_error_and_running_again_is_not() -> None:
    engine = Engine(EngineConfig(), Recorder(), logger=logger)
    with pytest.raises(UsageError, match="running Engine"):
        engine.start_soon(anyio.lowlevel.checkpoint)
    for _ in range(2):
        async with anyio.create_task_group() as nursery:
            await nursery.start(engine.run)
            assert engine.accepting
            with pytest.raises(UsageError, match="running already"):
                await engine.run()
            nursery.cancel_scope.cancel()
        assert not engine.accepting
        assert "not running" in repr(engine)


async def test_a_task_for_the_layer_above_may_fail_alone(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        done.append(1 // number)

    async with stage(listener=Recorder(echo=True)) as s:
        s.engine.start_soon(work, 0)
        s.engine.start_soon(work, 1)
        await settle()
        assert done == [1]
        socket = await s.open_socket()
        socket.send("4x")
        assert await socket.receive() == "4x"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_a_fan_out_goes_in_chunks_and_keeps_its_order() -> None:
    async with stage() as s:
        count = 2 * FANOUT_CHUNK + 10
        sockets = [await s.open_socket() for _ in range(count)]
        sessions = list(s.listener.opened)
        for text in ("a", "b"):
            shared = item(text)
            for session in sessions:
                assert session.enqueue(shared)
                s.engine.flush_soon(session)
        assert not any(socket.received() for socket in sockets[:1])
        s.engine.flush()
        assert sockets[0].received() == ["4a", "4b"]
        assert sockets[FANOUT_CHUNK].received() == []
        sessions[-1].send(item("c"))
        s.engine.flush()
        await settle()
        assert all(socket.received() == ["4a", "4b"] for socket in sockets[FANOUT_CHUNK:-1])
        assert sockets[-1].received() == ["4a", "4b", "4c"]
        s.engine.flush()


async def test_a_fan_out_survives_sessions_that_close_meanwhile() -> None:
    async with stage() as s:
        sockets = [await s.open_socket() for _ in range(FANOUT_CHUNK + 20)]
        sessions = list(s.listener.opened)
        for session in sessions:
            session.enqueue(item("x"))
            s.engine.flush_soon(session)
        sessions[0].close(CloseReason.SERVER_DISCONNECT)
        s.engine.flush()
        sessions[-1].close(CloseReason.PROTOCOL_ERROR, flush=False)
        await settle()
        assert [socket.received() for socket in sockets] == [["4x"]] * (len(sockets) - 1) + [[]]


async def test_one_stalled_client_holds_up_nobody() -> None:
    async with stage(max_outbox_bytes=100_000) as s:
        sockets = [await s.open_socket(capacity=1000) for _ in range(20)]
        sessions = list(s.listener.opened)
        sockets[3].stall()
        for n in range(1500):
            shared = item(f"{n:0100d}")
            for session in sessions:
                if session.enqueue(shared):
                    s.engine.flush_soon(session)
            s.engine.flush()
            assert sockets[0].received() == [f"4{n:0100d}"]
            if n % 100 == 0:
                await settle()
        assert s.listener.closed == [(sessions[3], CloseReason.SLOW_CONSUMER)]
        assert all(len(socket.received()) == 1500 for socket in sockets[1:3])


async def test_shutdown_tells_everybody_and_waits() -> None:
    async with stage() as s:
        sockets = [await s.open_socket(), await s.open_socket(framed=False)]
        sid = await s.open_polling()
        poll = s.client.start("GET", {**POLL, "sid": sid})
        await settle()
        for session in s.listener.opened:
            session.enqueue(item("last"))
        await s.engine.shutdown(timeout=5)
        assert [socket.closed for socket in sockets] == [(1001, "server shutting down")] * 2
        assert [socket.received() for socket in sockets] == [["4last"]] * 2
        assert body(await poll.wait_response()) == "4last\x1e1"
        assert s.listener.reasons == [CloseReason.SERVER_SHUTDOWN] * 3
        assert refused(await s.client.http("GET", POLL)) == (503, 3, "Server is shutting down")
        assert refused(await s.client.socket(SOCKET).wait_open()) == (503, 3, "Server is shutting down")


def test_shutdown_keeps_its_deadline_and_does_not_wait_long_for_absent_polls() -> None:
    async def main() -> None:
        async with stage(goodbye_timeout=100) as s:
            start = trio.current_time()
            await s.open_polling()
            await s.engine.shutdown(timeout=10)
            assert trio.current_time() - start == 1
        async with stage(goodbye_timeout=100) as s:
            socket = await s.open_socket(capacity=10)
            socket.stall()
            s.session.send(item("x" * 100))
            start = trio.current_time()
            await s.engine.shutdown(timeout=3)
            assert trio.current_time() - start == 3
            socket.resume()

    virtual(main)


@pytest.mark.parametrize("wire", [{}, {"framed": False}])
async def test_a_cancelled_run_says_goodbye_to_everybody(wire: dict[str, bool]) -> None:
    listener = Recorder()
    engine = Engine(EngineConfig(), listener, logger=logger)
    async with anyio.create_task_group() as connections:
        async with anyio.create_task_group() as hosting:
            await hosting.start(engine.run)
            client = EngineClient(engine, connections)
            socket = client.socket(SOCKET, client=SocketClient(**wire))
            await socket.receive()
            sid = str(await opened_polling(client))
            poll = client.start("GET", {**POLL, "sid": sid})
            await settle()
            for session in listener.opened:
                session.enqueue(item("last"))
            hosting.cancel_scope.cancel()
        assert not engine.sessions
        assert listener.reasons == [CloseReason.SERVER_SHUTDOWN] * 2
        assert socket.closed == (1001, "server shutting down")
        assert socket.received() == ["4last"]
        assert body(await poll.wait_response()) == "4last\x1e1"


async def opened_polling(client: EngineClient) -> object:
    await client.http("GET", POLL)
    return list(client._engine.sessions)[-1]


async def test_everything_cancelled_at_once_still_says_goodbye() -> None:
    """As under an ASGI server that cancels its connections before it says shutdown (design §8.14)."""
    listener = Recorder()
    engine = Engine(EngineConfig(), listener, logger=logger)
    async with anyio.create_task_group() as everything:
        await everything.start(engine.run)
        client = EngineClient(engine, everything)
        socket = client.socket(SOCKET)
        await socket.receive()
        sid = str(await opened_polling(client))
        poll = client.start("GET", {**POLL, "sid": sid})
        await settle()
        for session in listener.opened:
            session.enqueue(item("last"))
        everything.cancel_scope.cancel()
    assert not engine.sessions
    assert listener.reasons == [CloseReason.SERVER_SHUTDOWN] * 2
    assert socket.closed == (1001, "server shutting down")
    assert socket.received() == ["4last"]
    assert poll.response is not None
    assert body(poll.response) == "4last\x1e1"


async def test_a_thousand_of_every_ending_leave_nothing() -> None:
    async with stage() as s:
        for n in range(200):
            sid = await s.open_polling()
            if n % 4 == 0:
                await s.post(sid, "1")
            elif n % 4 == 1:
                socket = s.offer(sid)
                socket.send("2probe", "5")
                await settle()
                socket.cut()
            elif n % 4 == 2:
                poll = s.client.start("GET", {**POLL, "sid": sid})
                await settle()
                poll.leave()
            else:
                await s.post(sid, "7")
            socket = await s.open_socket()
            (socket.cut, socket.close, lambda: socket.send("1"), lambda: socket.send("7"))[n % 4]()  # noqa: B023
            await socket.wait_finished()
        await settle()
        assert not s.engine.sessions
        assert len(s.engine.timers) == 0
        assert s.engine.timers.held < 200
        assert s.engine._guests == 0
        assert len(s.listener.closed) == 400


async def test_whoever_is_put_out_for_an_overflow_is_named_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    """A close that nobody asked for must not be silent: the line names the client and the option that decided."""
    caplog.set_level("INFO")
    async with stage(max_outbox_bytes=100, max_inbound_bytes=10) as s:
        slow, eager = await s.open_socket(capacity=100), await s.open_socket()
        slow.stall()
        slow_session, eager_session = s.listener.opened
        for _ in range(5):
            slow_session.enqueue(item("x" * 40))
        eager_session.awaiting_answer = lambda: True
        eager_session.hold(20)
        eager.send("4" + "x" * 20)
        await eager.wait_finished()
        await slow.wait_finished()
    lines = [record.getMessage() for record in caplog.records]
    for session, option in ((slow_session, "max_outbox_bytes"), (eager_session, "max_inbound_bytes")):
        [line] = [line for line in lines if option in line]
        assert session.eio_sid[:6] in line
        assert session.eio_sid not in line
