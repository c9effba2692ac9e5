"""Long-polling: each row of spec 3.5, 3.4.4 to 3.4.8 and 3.13.2, on both loops; moments on the virtual clock."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from tests.engine.kit import POLL, Recorder, Stage, body, item, opening, refused, settle, stage, virtual
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.session import Session
from trioflask_sio.testing.wires import MemoryExchange

pytestmark = pytest.mark.anyio

UNKNOWN = (400, 1, "Session ID unknown")
BAD = (400, 3, "Bad request")


def park(s: Stage, sid: str) -> MemoryExchange:
    return s.client.start("GET", {**POLL, "sid": sid})


async def test_a_handshake_announces_exactly_five_keys() -> None:
    async with stage(ping_interval=0.3, ping_timeout=25.5, max_http_buffer_size=1234) as s:
        response = await s.client.http("GET", POLL)
        data = opening(response)
        assert data.pop("sid") == s.session.eio_sid
        assert data == {"upgrades": ["websocket"], "pingInterval": 300, "pingTimeout": 25_500, "maxPayload": 1234}
        headers = dict(response.headers)
        assert headers["Content-Type"] == "text/plain; charset=UTF-8"
        assert headers["Cache-Control"] == "no-store"
        assert len(s.session.eio_sid) == 20


@pytest.mark.parametrize(
    ("options", "upgrades"),
    [
        ({"allow_upgrades": False}, []),
        ({"transports": "polling"}, []),
        ({"transports": ["websocket", "polling"]}, ["websocket"]),
    ],
)
async def test_upgrades_are_offered_only_where_they_work(options: dict[str, Any], upgrades: list[str]) -> None:
    async with stage(**options) as s:
        assert opening(await s.client.http("GET", POLL))["upgrades"] == upgrades


async def test_what_is_sent_at_once_rides_on_the_handshake() -> None:
    listener = Recorder()
    listener.on_open = lambda session: session.send(item("hello"))
    async with stage(listener=listener) as s:
        assert body(await s.client.http("GET", POLL)).endswith("\x1e4hello")


async def test_a_poll_waits_and_then_brings_everything() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        poll = park(s, sid)
        await settle()
        assert poll.response is None
        assert s.session.can_take_now()
        s.session.send(item("a", b"\x01\x02"))
        s.session.send(item("b"))
        assert not s.session.can_take_now()
        assert body(await poll.wait_response()) == "4a\x1ebAQI=\x1e4b"


async def test_packets_that_wait_are_fetched_at_once() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        s.session.send(item("x"))
        assert await s.get(sid) == "4x"


async def test_a_post_is_answered_after_its_packets_were_handed_up() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        response = await s.post(sid, "4text\x1ebAQI=\x1e4")
        assert (response.body, dict(response.headers)["Content-Type"]) == (b"ok", "text/html")
        assert s.listener.messages == ["text", b"\x01\x02", ""]


async def test_five_hundred_packets_in_one_post_arrive_in_order() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        assert body(await s.post(sid, "\x1e".join(f"4{n}" for n in range(500)))) == "ok"
        assert s.listener.messages == [str(n) for n in range(500)]


async def test_a_post_is_served_while_a_get_is_parked() -> None:
    async with stage(listener=Recorder(echo=True)) as s:
        sid = await s.open_polling()
        poll = park(s, sid)
        await settle()
        assert body(await s.post(sid, "4hi")) == "ok"
        assert body(await poll.wait_response()) == "4hi"


async def test_a_second_get_is_refused_and_ends_the_session() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        first = park(s, sid)
        await settle()
        assert refused(await s.client.http("GET", {**POLL, "sid": sid})) == BAD
        assert body(await first.wait_response()) == "1"
        assert s.listener.reasons == [CloseReason.TRANSPORT_ERROR]
        assert refused(await s.post(sid, "4x")) == UNKNOWN


async def test_a_second_post_is_refused_and_ends_the_session() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        first = s.client.start("POST", {**POLL, "sid": sid}, "4x", prepare=lambda e: setattr(e, "hold_body", True))
        await settle()
        assert refused(await s.post(sid, "4y")) == BAD
        first.resume()
        assert refused(await first.wait_response()) == UNKNOWN
        assert s.listener.reasons == [CloseReason.TRANSPORT_ERROR]
        assert s.listener.messages == []


async def test_the_next_get_is_welcome_while_a_reply_is_being_written() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        s.session.send(item("a"))
        slow = s.client.start("GET", {**POLL, "sid": sid}, prepare=lambda e: setattr(e, "hold_reply", True))
        await settle()
        poll = park(s, sid)
        await settle()
        s.session.send(item("b"))
        assert body(await poll.wait_response()) == "4b"
        slow.resume()
        assert body(await slow.wait_response()) == "4a"
        assert not s.session.closed


async def test_a_poll_that_its_client_breaks_off_ends_the_session() -> None:
    async with stage() as s:
        poll = park(s, await s.open_polling())
        await settle()
        poll.leave()
        await settle()
        assert s.listener.reasons == [CloseReason.TRANSPORT_ERROR]


async def test_a_post_broken_off_in_its_body_ends_the_session() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        post = s.client.start("POST", {**POLL, "sid": sid}, "4x", prepare=lambda e: setattr(e, "hold_body", True))
        await settle()
        post.leave()
        await settle()
        assert s.listener.reasons == [CloseReason.TRANSPORT_ERROR]
        assert s.listener.messages == []


async def test_a_reply_that_cannot_be_delivered_ends_the_session() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        s.session.send(item("lost"))
        s.client.start("GET", {**POLL, "sid": sid}, prepare=lambda e: setattr(e, "break_reply", True))
        await settle()
        assert s.listener.reasons == [CloseReason.TRANSPORT_ERROR]


async def test_a_handshake_that_cannot_be_delivered_ends_the_session() -> None:
    async with stage() as s:
        s.client.start("GET", POLL, prepare=lambda e: setattr(e, "break_reply", True))
        await settle()
        assert s.listener.reasons == [CloseReason.TRANSPORT_ERROR]


def test_a_reply_nobody_takes_is_given_up_after_a_heartbeats_time() -> None:
    async def main() -> None:
        async with stage(connect_timeout=None, monitor_clients=False) as s:
            sid = await s.open_polling()
            s.session.send(item("x"))
            s.client.start("GET", {**POLL, "sid": sid}, prepare=lambda e: setattr(e, "hold_reply", True))
            await trio.sleep(44.9)
            assert not s.session.closed
            await trio.sleep(0.2)
            assert s.listener.reasons == [CloseReason.TRANSPORT_ERROR]

    virtual(main)


async def test_a_close_packet_releases_the_get_with_a_noop() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        poll = park(s, sid)
        await settle()
        assert body(await s.post(sid, "4last\x1e1\x1e4dropped")) == "ok"
        assert body(await poll.wait_response()) == "6"
        assert s.listener.messages == ["last"]
        assert s.listener.reasons == [CloseReason.CLIENT_CLOSE]
        assert refused(await s.client.http("GET", {**POLL, "sid": sid})) == UNKNOWN


async def test_a_server_close_reaches_the_parked_get() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        poll = park(s, sid)
        await settle()
        s.session.enqueue(item("bye"))
        s.session.close(CloseReason.SERVER_DISCONNECT)
        assert s.listener.reasons == [CloseReason.SERVER_DISCONNECT]
        assert not s.engine.sessions
        assert body(await poll.wait_response()) == "4bye\x1e1"


async def test_a_close_without_a_poll_is_held_for_the_next_one() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        s.session.send(item("bye"))
        s.session.close(CloseReason.SERVER_DISCONNECT)
        assert refused(await s.post(sid, "4late")) == UNKNOWN
        assert await s.get(sid) == "4bye\x1e1"
        assert refused(await s.client.http("GET", {**POLL, "sid": sid})) == UNKNOWN
        assert s.listener.messages == []


def test_a_held_close_is_forgotten_after_thirty_seconds() -> None:
    async def main() -> None:
        async with stage() as s:
            for wait, held in ((29.9, True), (30.1, False)):
                sid = await s.open_polling()
                s.session.close(CloseReason.SERVER_DISCONNECT)
                await trio.sleep(wait)
                response = await s.client.http("GET", {**POLL, "sid": sid})
                assert (response.status == 200) is held

    virtual(main)


async def test_closing_in_the_opening_rides_on_the_handshake() -> None:
    listener = Recorder()
    listener.on_open = lambda session: session.close(CloseReason.SERVER_DISCONNECT)
    async with stage(listener=listener) as s:
        response = await s.client.http("GET", POLL)
        assert body(response).endswith("\x1e1")
        sid = opening(response)["sid"]
        assert refused(await s.client.http("GET", {**POLL, "sid": sid})) == UNKNOWN


@pytest.mark.parametrize(
    ("data", "taken", "reason"),
    [
        ("", [], CloseReason.PARSE_ERROR),
        ("4a\x1e\x1e4b", ["a"], CloseReason.PARSE_ERROR),
        ("4a\x1e7b", ["a"], CloseReason.PARSE_ERROR),
        ("4a\x1eb!!", ["a"], CloseReason.PARSE_ERROR),
        (b"4\xff", [], CloseReason.PARSE_ERROR),
        ("4a\x1e2\x1e4b", ["a"], CloseReason.TRANSPORT_ERROR),
    ],
)
async def test_bad_posts_are_refused_and_end_the_session(
    data: str | bytes, taken: list[str], reason: CloseReason, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage() as s:
        sid = await s.open_polling()
        assert refused(await s.post(sid, data)) == BAD
        assert s.listener.messages == taken
        assert s.listener.reasons == [reason]
        assert refused(await s.post(sid, "4x")) == UNKNOWN
    assert not any(record.exc_info for record in caplog.records)


async def test_a_binary_post_is_refused() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        response = await s.client.http(
            "POST", {**POLL, "sid": sid}, b"4x", [("content-type", "application/octet-stream")]
        )
        assert refused(response) == BAD
        assert s.listener.reasons == [CloseReason.PARSE_ERROR]


@pytest.mark.parametrize("data", ["0", "6", "5", "5probe"])
async def test_packets_without_meaning_are_ignored(data: str) -> None:
    async with stage() as s:
        sid = await s.open_polling()
        assert body(await s.post(sid, data)) == "ok"
        assert not s.session.closed


async def test_a_post_over_the_limit_is_413_and_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with stage(max_http_buffer_size=100) as s:
        sid = await s.open_polling()
        assert body(await s.post(sid, "4" * 100)) == "ok"
        response = await s.post(sid, "4" * 101)
        assert (response.status, response.body) == (413, b"")
        assert s.listener.reasons == [CloseReason.MESSAGE_TOO_BIG]
    assert "101 bytes is over the limit of 100 bytes" in caplog.text
    assert "max_http_buffer_size" in caplog.text


async def test_data_that_nobody_took_is_never_ok() -> None:
    listener = Recorder()

    def end(session: Session, data: str | bytes) -> None:
        if data == "end":
            session.close(CloseReason.SERVER_DISCONNECT)

    listener.on_message = end
    async with stage(listener=listener) as s:
        assert body(await s.post(await s.open_polling(), "4a\x1e4end")) == "ok"
        assert refused(await s.post(await s.open_polling(), "4a\x1e4end\x1e4lost")) == BAD
    assert listener.messages == ["a", "end", "a", "end"]


async def test_other_methods_are_not_allowed() -> None:
    async with stage() as s:
        sid = await s.open_polling()
        for method in ("PUT", "DELETE", "HEAD", "PATCH"):
            response = await s.client.http(method, {**POLL, "sid": sid})
            assert response.status == 405
            assert dict(response.headers)["Allow"] == "GET, POST, OPTIONS"
        assert not s.session.closed


async def test_a_listener_that_fails_ends_its_session_only(caplog: pytest.LogCaptureFixture) -> None:
    listener = Recorder()

    def fail(session: Session, data: str | bytes) -> None:
        if data == "bad":
            raise ZeroDivisionError("the handler's mistake")

    listener.on_message = fail
    async with stage(listener=listener) as s:
        good, bad = await s.open_polling(), await s.open_polling()
        assert refused(await s.post(bad, "4bad\x1e4lost")) == BAD
        assert body(await s.post(good, "4good")) == "ok"
        assert listener.reasons == [CloseReason.SERVER_ERROR]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_an_outbox_over_its_limit_ends_the_session_soon() -> None:
    async with stage(max_outbox_packets=100, max_outbox_bytes=1000) as s:
        await s.open_polling()
        taken = [s.session.send(item("0123456789")) for _ in range(105)]
        assert taken == [True] * 100 + [False] * 5
        assert not s.session.closed
        await settle()
        assert s.listener.reasons == [CloseReason.SLOW_CONSUMER]
        assert not s.session.send(item("x"))


async def test_an_old_browser_is_told_not_to_filter() -> None:
    async with stage() as s:
        for agent, there in (("x;MSIE 8.0;", True), ("Trident/7.0", True), ("Mozilla/5.0", False)):
            response = await s.client.http("GET", POLL, b"", [("user-agent", agent)])
            assert (dict(response.headers).get("X-XSS-Protection") == "0") is there
