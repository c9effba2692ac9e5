"""From polling to WebSocket: the sequence, every failure of spec 3.7.3, no loss wherever it is cut (pain 20)."""

from __future__ import annotations

import anyio
import pytest
import trio

from tests.engine.kit import POLL, SOCKET, Recorder, Stage, body, item, refused, settle, stage, virtual
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.protocol.eio_machine import State
from trioflask_sio.testing.wires import EngineClient, MemoryExchange, SocketClient

pytestmark = pytest.mark.anyio


def park(s: Stage, sid: str) -> MemoryExchange:
    return s.client.start("GET", {**POLL, "sid": sid})


async def probed(s: Stage) -> tuple[str, SocketClient]:
    """A session with a probed WebSocket and no poll open."""
    sid = await s.open_polling()
    socket = s.offer(sid)
    socket.send("2probe")
    assert await socket.receive() == "3probe"
    return sid, socket


async def polling_lives(s: Stage, sid: str) -> None:
    assert s.session.state is State.POLLING
    poll = park(s, sid)
    assert body(await s.post(sid, "4still")) == "ok"
    assert s.listener.messages[-1] == "still"
    s.session.send(item("here"))
    assert body(await poll.wait_response()) == "4here"


async def test_the_whole_upgrade() -> None:
    async with stage(listener=Recorder(echo=True)) as s:
        sid = await s.open_polling()
        request = s.session.request
        socket = await s.upgrade(sid)
        assert s.session.transport == "websocket"
        assert s.session.request is request
        socket.send("4a")
        assert await socket.receive() == "4a"
        for method in ("GET", "POST"):
            assert refused(await s.client.http(method, {**POLL, "sid": sid}, "4x")) == (400, 3, "Bad request")
        assert not s.session.closed


@pytest.mark.parametrize("wire", [{}, {"can_try_send": False}, {"framed": False}])
async def test_what_was_queued_meanwhile_comes_first_and_no_noop_leaks(wire: dict[str, bool]) -> None:
    async with stage() as s:
        sid = await s.open_polling()
        socket = s.client.socket({**SOCKET, "sid": sid}, client=SocketClient(**wire))
        socket.send("2probe")
        assert await socket.receive() == "3probe"
        s.session.send(item("a"))
        s.session.send(item(b"b"))
        socket.send("5", "4early")
        await settle()
        s.session.send(item("c"))
        await settle()
        assert socket.received() == ["4a", b"b", "4c"]
        assert s.listener.messages == ["early"]


async def test_messages_flow_to_polls_until_the_upgrade_packet() -> None:
    async with stage() as s:
        sid, socket = await probed(s)
        s.session.send(item("a"))
        assert await s.get(sid) == "4a"
        assert body(await s.post(sid, "4up")) == "ok"
        assert s.listener.messages == ["up"]
        socket.send("5")
        await settle()
        s.session.send(item("b"))
        assert await socket.receive() == "4b"


def test_a_poll_that_comes_while_probing_gets_a_noop_within_a_tenth() -> None:
    async def main() -> None:
        async with stage() as s:
            sid = await s.open_polling()
            first = park(s, sid)
            await settle()
            start = trio.current_time()
            socket = s.offer(sid)
            socket.send("2probe")
            assert body(await first.wait_response()) == "6"
            assert trio.current_time() == start
            for n in (1, 2, 3):
                assert await s.get(sid) == "6"
                assert trio.current_time() - start == pytest.approx(n / 10)
            socket.send("5")
            await settle()
            assert s.session.transport == "websocket"
            await trio.sleep(1)
            assert socket.received() == ["3probe"]

    virtual(main)


async def test_a_second_probe_packet_is_answered_too() -> None:
    async with stage() as s:
        _, socket = await probed(s)
        socket.send("2probe", "5")
        assert await socket.receive() == "3probe"
        await settle()
        assert s.session.transport == "websocket"


async def test_an_unknown_sid_is_refused_before_the_upgrade() -> None:
    async with stage() as s:
        socket = s.client.socket({**SOCKET, "sid": "nobody"})
        assert refused(await socket.wait_open()) == (400, 1, "Session ID unknown")


@pytest.mark.parametrize("first", ["5", "4x", "3probe", "2", "2other", "7", "", b"x"])
async def test_a_first_frame_that_is_no_probe_closes_the_socket_only(first: str | bytes) -> None:
    async with stage() as s:
        sid = await s.open_polling()
        socket = s.offer(sid)
        socket.send(first)
        await socket.wait_finished()
        assert socket.closed == (1000, "")
        await polling_lives(s, sid)


@pytest.mark.parametrize("second", ["4x", "3", "1", "2", "6", "x", b"x"])
async def test_a_frame_after_the_probe_that_is_no_upgrade_closes_the_socket_only(second: str | bytes) -> None:
    async with stage() as s:
        sid, socket = await probed(s)
        socket.send(second)
        await socket.wait_finished()
        assert socket.closed == (1000, "")
        await polling_lives(s, sid)


@pytest.mark.parametrize("probe_first", [False, True])
def test_no_upgrade_packet_in_time_closes_the_socket_only(probe_first: bool) -> None:
    async def main() -> None:
        async with stage(upgrade_timeout=10, connect_timeout=None) as s:
            start = trio.current_time()
            sid = await s.open_polling()
            socket = s.offer(sid)
            if probe_first:
                socket.send("2probe")
            assert await socket.wait_closed() == (1000, "")
            assert trio.current_time() - start == 10
            await polling_lives(s, sid)

    virtual(main)


@pytest.mark.parametrize("ending", ["close", "cut"])
@pytest.mark.parametrize("sent", [[], ["2probe"]])
async def test_a_socket_that_drops_leaves_polling_as_it_was(ending: str, sent: list[str]) -> None:
    async with stage() as s:
        sid = await s.open_polling()
        s.session.send(item("waiting"))
        socket = s.offer(sid)
        socket.send(*sent)
        await settle()
        getattr(socket, ending)()
        await socket.wait_finished()
        assert await s.get(sid) == "4waiting"
        await polling_lives(s, sid)


async def test_another_attempt_succeeds_after_a_failed_one() -> None:
    async with stage() as s:
        sid, socket = await probed(s)
        socket.cut()
        await socket.wait_finished()
        again = await s.upgrade(sid)
        s.session.send(item("x"))
        assert await again.receive() == "4x"


async def test_a_second_socket_while_probing_or_after_is_accepted_and_closed() -> None:
    async with stage() as s:
        sid, socket = await probed(s)
        for _ in range(2):
            other = s.offer(sid)
            assert await other.wait_open() is None
            assert await other.wait_closed() == (1000, "")
            socket.send("5")
            await settle()
        s.session.send(item("x"))
        assert await socket.receive() == "4x"


async def test_an_upgrade_request_for_polling_is_accepted_and_closed() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        socket = s.client.socket({**POLL, "sid": sid})
        assert await socket.wait_closed() == (1000, "")
        await polling_lives(s, sid)


async def test_without_upgrades_the_offer_is_refused() -> None:
    async with stage(allow_upgrades=False) as s:
        sid = await s.open_polling()
        assert refused(await s.offer(sid).wait_open()) == (400, 3, "Bad request")
        await polling_lives(s, sid)


async def test_a_session_that_fails_takes_its_probe_along() -> None:
    async with stage() as s:
        sid, socket = await probed(s)
        assert (await s.post(sid, "7")).status == 400
        await socket.wait_finished()
        assert socket.closed == (1000, "")


async def test_a_server_close_while_probing_goes_to_the_open_poll() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        socket = s.offer(sid)
        await settle()
        poll = park(s, sid)
        await settle()
        s.session.send(item("last"))
        s.session.close(CloseReason.SERVER_DISCONNECT)
        assert body(await poll.wait_response()) == "4last\x1e1"
        await socket.wait_finished()
        assert socket.closed == (1000, "")


async def test_an_upgrade_packet_after_the_close_fetches_what_was_left() -> None:
    async with stage() as s:
        sid, socket = await probed(s)
        s.session.send(item("last"))
        s.session.close(CloseReason.SERVER_DISCONNECT)
        await settle()
        assert socket.closed is None
        socket.send("5")
        assert await socket.wait_closed() == (1000, "server disconnect")
        assert socket.received() == ["4last"]
        assert refused(await s.client.http("GET", {**POLL, "sid": sid})) == (400, 1, "Session ID unknown")


async def test_a_poll_after_the_close_fetches_what_was_left_and_ends_the_probe() -> None:
    async with stage() as s:
        sid, socket = await probed(s)
        s.session.send(item("last"))
        s.session.close(CloseReason.SERVER_DISCONNECT)
        assert await s.get(sid) == "4last\x1e1"
        await socket.wait_finished()
        assert socket.closed == (1000, "")
        assert socket.received() == []


async def test_a_post_in_flight_comes_before_the_frames_that_follow() -> None:
    async with stage() as s:
        sid, socket = await probed(s)
        post = s.client.start("POST", {**POLL, "sid": sid}, "4first", prepare=lambda e: setattr(e, "hold_body", True))
        await settle()
        socket.send("5", "4second")
        await settle()
        assert s.session.transport == "polling"
        assert s.listener.messages == []
        post.resume()
        assert body(await post.wait_response()) == "ok"
        await settle()
        assert s.listener.messages == ["first", "second"]
        assert s.session.transport == "websocket"


def test_a_post_that_never_arrives_fails_the_upgrade_only() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            sid, socket = await probed(s)
            post = s.client.start("POST", {**POLL, "sid": sid}, "4p", prepare=lambda e: setattr(e, "hold_body", True))
            await settle()
            socket.send("5")
            assert await socket.wait_closed() == (1000, "")
            post.resume()
            assert body(await post.wait_response()) == "ok"
            await polling_lives(s, sid)

    virtual(main)


async def test_a_poll_that_comes_too_late_gets_a_noop_and_takes_nothing_along() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        socket = s.client.socket({**SOCKET, "sid": sid}, client=SocketClient(framed=False))
        socket.send("2probe")
        assert await socket.receive() == "3probe"
        poll = park(s, sid)
        await settle()
        s.session.enqueue(item("mine"))
        socket.send("5")
        assert body(await poll.wait_response()) == "6"
        assert await socket.receive() == "4mine"


@pytest.mark.parametrize("sent", [[], ["2probe"]])
async def test_a_cancelled_probe_leaves_polling_alone(sent: list[str]) -> None:
    async with stage() as s:
        sid = await s.open_polling()
        async with anyio.create_task_group() as connections:
            socket = EngineClient(s.engine, connections).socket({**SOCKET, "sid": sid})
            socket.send(*sent)
            await settle()
            connections.cancel_scope.cancel()
        assert socket.closed == (1000, "")
        await polling_lives(s, sid)


def test_an_upgraded_session_keeps_its_heartbeat() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None) as s:
            start = trio.current_time()
            socket = await s.upgrade(await s.open_polling())
            assert await socket.receive() == "2"
            assert trio.current_time() - start == 25
            socket.send("3")
            assert await socket.receive() == "2"
            assert trio.current_time() - start == 50

    virtual(main)


STEPS = ("poll", "offer", "emit", "2probe", "emit", "poll", "emit", "2probe", "5", "emit")


class Script:
    """A client that upgrades step by step, and an application that emits in between."""

    def __init__(self, s: Stage, sid: str) -> None:
        self.s = s
        self.sid = sid
        self.socket = SocketClient()
        self.polls: list[MemoryExchange] = []
        self.sent: list[str] = []

    async def do(self, step: str) -> None:
        if step == "poll":
            self.polls.append(park(self.s, self.sid))
        elif step == "offer":
            self.s.client.socket({**SOCKET, "sid": self.sid}, client=self.socket)
        elif step == "emit":
            self.sent.append(f"4{len(self.sent)}")
            self.s.session.send(item(self.sent[-1][1:]))
        else:
            self.socket.send(step)
        await settle()

    @property
    def poll_open(self) -> bool:
        return bool(self.polls) and self.polls[-1].response is None

    def polled(self) -> list[str]:
        """Everything that came over polls, without noops."""
        replies = [body(poll.response) for poll in self.polls if poll.response]
        return [part for reply in replies for part in reply.split("\x1e") if part != "6"]


@pytest.mark.parametrize("cut_after", range(1, len(STEPS) + 1))
async def test_cut_after_each_step_nothing_is_lost_and_nothing_comes_twice(cut_after: int) -> None:
    """The WebSocket breaks after step n: what was sent until then has come exactly once, in order; before the upgrade
    packet the session goes on over polling."""
    async with stage() as s:
        script = Script(s, await s.open_polling())
        for step in STEPS[:cut_after]:
            await script.do(step)
        framed = [str(message) for message in script.socket.received() if message != "3probe"]
        script.socket.cut()
        await settle()
        if "5" in STEPS[:cut_after]:
            assert s.listener.reasons == [CloseReason.TRANSPORT_CLOSE]
        else:
            assert framed == []
            assert s.session.state is State.POLLING
            for step in ("emit",) if script.poll_open else ("emit", "poll"):
                await script.do(step)
        assert script.polled() + framed == script.sent


async def test_after_the_upgrade_the_old_requests_do_not_matter() -> None:
    listener = Recorder()
    listener.on_message = lambda session, data: session.hold(1000)
    async with stage(listener=listener, max_inbound_bytes=10) as s:
        sid = await s.open_polling()
        held = s.client.start("POST", {**POLL, "sid": sid}, "4x")
        slow = s.client.start("GET", {**POLL, "sid": sid}, prepare=lambda e: setattr(e, "hold_reply", True))
        await settle()
        socket = s.offer(sid)
        socket.send("2probe", "5")
        await settle()
        assert s.session.transport == "websocket"
        held.leave()
        slow.leave()
        await settle()
        assert not s.session.closed
        s.session.release(1000)
        s.session.send(item("x"))
        await settle()
        assert socket.received() == ["3probe", "4x"]


def test_a_socket_that_does_not_close_after_a_failed_upgrade_is_aborted() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None, goodbye_timeout=5) as s:
            sid = await s.open_polling()
            socket = s.offer(sid)
            socket.hold_close = True
            socket.send("4x")
            start = trio.current_time()
            await socket.wait_finished()
            assert trio.current_time() - start == 5
            assert socket.closed == (None, "")
            await polling_lives(s, sid)

    virtual(main)
