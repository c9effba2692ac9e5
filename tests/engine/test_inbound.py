"""What the layer above has not handled yet: reading pauses, a closed peer is noticed, a deadlock is refused (§8.2)."""

from __future__ import annotations

import pytest
import trio

from tests.engine.kit import POLL, Recorder, body, item, settle, stage, virtual
from trioflask_sio.engine.reasons import CloseReason

pytestmark = pytest.mark.anyio


def holding() -> Recorder:
    listener = Recorder()
    listener.on_message = lambda session, data: session.hold(len(data))
    return listener


async def test_over_the_cap_the_reader_pauses_until_half_is_handled() -> None:
    async with stage(listener=holding(), max_inbound_bytes=1000) as s:
        socket = await s.open_socket()
        socket.send("4" + "x" * 1000)
        await settle()
        assert (s.session.paused, s.session.held) == (False, 1000)
        socket.send("4y")
        await settle()
        assert (s.session.paused, s.session.held) == (True, 1001)
        socket.send("4unread")
        await settle()
        assert s.listener.messages[1:] == ["y"]
        s.session.release(500)
        await settle()
        assert (s.session.paused, s.session.held) == (True, 501)
        s.session.release(1)
        await settle()
        assert not s.session.paused
        assert s.listener.messages[1:] == ["y", "unread"]


@pytest.mark.parametrize("ending", ["close", "cut"])
async def test_a_closed_peer_is_noticed_while_paused(ending: str) -> None:
    async with stage(listener=holding(), max_inbound_bytes=10) as s:
        socket = await s.open_socket()
        socket.send("4" + "x" * 100)
        await settle()
        assert s.session.paused
        getattr(socket, ending)()
        await socket.wait_finished()
        assert s.listener.reasons == [CloseReason.TRANSPORT_CLOSE]
        s.session.release(100)


async def test_sending_goes_on_while_paused() -> None:
    async with stage(listener=holding(), max_inbound_bytes=10) as s:
        socket = await s.open_socket()
        socket.send("4" + "x" * 100)
        await settle()
        s.session.send(item("still"))
        assert await socket.receive() == "4still"


async def test_closing_ends_the_pause() -> None:
    async with stage(listener=holding(), max_inbound_bytes=10) as s:
        socket = await s.open_socket()
        socket.send("4" + "x" * 100)
        await settle()
        s.session.close(CloseReason.SERVER_DISCONNECT)
        assert await socket.wait_closed() == (1000, "server disconnect")


async def test_over_the_cap_with_an_answer_awaited_is_closed() -> None:
    async with stage(listener=holding(), max_inbound_bytes=10) as s:
        socket = await s.open_socket()
        s.session.awaiting_answer = lambda: True
        socket.send("4" + "x" * 100)
        assert await socket.wait_closed() == (1008, "inbound overflow")
        assert s.listener.reasons == [CloseReason.INBOUND_OVERFLOW]


async def test_an_answer_awaited_later_is_found_by_a_hold_of_nothing() -> None:
    async with stage(listener=holding(), max_inbound_bytes=10) as s:
        socket = await s.open_socket()
        socket.send("4" + "x" * 100)
        await settle()
        assert s.session.paused
        s.session.awaiting_answer = lambda: True
        s.session.hold(0)
        assert s.listener.closed == []
        await socket.wait_finished()
        assert s.listener.reasons == [CloseReason.INBOUND_OVERFLOW]


async def test_a_post_is_answered_when_the_layer_above_has_caught_up() -> None:
    async with stage(listener=holding(), max_inbound_bytes=10) as s:
        sid = await s.open_polling()
        post = s.client.start("POST", {**POLL, "sid": sid}, "4" + "x" * 100)
        await settle()
        assert s.session.paused
        assert post.response is None
        s.session.send(item("down"))
        assert await s.get(sid) == "4down"
        s.session.release(100)
        assert body(await post.wait_response()) == "ok"


async def test_an_upgrade_does_not_wait_for_a_held_post() -> None:
    async with stage(listener=holding(), max_inbound_bytes=10) as s:
        sid = await s.open_polling()
        post = s.client.start("POST", {**POLL, "sid": sid}, "4" + "x" * 100)
        await settle()
        socket = s.offer(sid)
        socket.send("2probe", "5")
        await settle()
        assert s.session.transport == "websocket"
        s.session.release(100)
        assert body(await post.wait_response()) == "ok"


def test_a_paused_client_may_stay_for_hours() -> None:
    async def main() -> None:
        async with stage(listener=holding(), max_inbound_bytes=10, connect_timeout=None) as s:
            socket = await s.open_socket()
            socket.send("4" + "x" * 100)
            await trio.sleep(7200)
            assert not s.session.closed
            assert set(socket.received()) == {"2"}
            socket.send("3", "4after")
            s.session.release(100)
            await settle()
            assert s.listener.messages[-1] == "after"

    virtual(main)
