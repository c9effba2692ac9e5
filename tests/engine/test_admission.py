"""The checks of a first request in their order, the error replies, the application's hook (spec 3.1, 3.2)."""

from __future__ import annotations

import logging
from typing import Any

import anyio.lowlevel
import pytest

from tests.engine.kit import POLL, SOCKET, body, refused, stage
from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.engine.engine import Engine
from trioflask_sio.engine.transport import HttpRequest
from trioflask_sio.exceptions import RequestRefused
from trioflask_sio.testing.wires import EngineClient

pytestmark = pytest.mark.anyio

TRANSPORT = (400, 0, "Transport unknown")
SESSION = (400, 1, "Session ID unknown")
METHOD = (400, 2, "Bad handshake method")
BAD = (400, 3, "Bad request")
VERSION = (400, 5, "Unsupported protocol version")


@pytest.mark.parametrize(
    ("method", "query", "expected"),
    [
        ("GET", "", TRANSPORT),
        ("GET", "EIO=4", TRANSPORT),
        ("GET", "EIO=4&transport=abc", TRANSPORT),
        ("GET", "EIO=4&transport=", TRANSPORT),
        ("GET", "EIO=4&transport=Polling", TRANSPORT),
        ("GET", "EIO=4&transport=abc&sid=x", TRANSPORT),
        ("GET", "EIO=4&transport=polling&sid=x", SESSION),
        ("POST", "EIO=4&transport=polling&sid=x", SESSION),
        ("GET", "EIO=4&transport=websocket&sid=x", SESSION),
        ("POST", "EIO=4&transport=polling", METHOD),
        ("PUT", "EIO=9&transport=polling", METHOD),
        ("HEAD", "EIO=4&transport=websocket", METHOD),
        ("GET", "EIO=4&transport=websocket", BAD),
        ("GET", "transport=polling", VERSION),
        ("GET", "EIO=3&transport=polling", VERSION),
        ("GET", "EIO=5&transport=polling", VERSION),
        ("GET", "EIO=abc&transport=polling", VERSION),
        ("GET", "EIO=3&EIO=4&transport=polling", VERSION),
        ("GET", "&".join(f"k{n}=1" for n in range(1100)), BAD),
    ],
)
async def test_refusals_over_http(method: str, query: str, expected: tuple[int, int, str]) -> None:
    async with stage() as s:
        assert refused(await s.client.http(method, query)) == expected
        assert not s.listener.opened


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("EIO=4", TRANSPORT),
        ("EIO=4&transport=abc", TRANSPORT),
        ("EIO=4&transport=polling", BAD),
        ("EIO=3&transport=websocket", VERSION),
        ("transport=websocket", VERSION),
        ("EIO=4&transport=websocket&sid=x", SESSION),
    ],
)
async def test_refusals_of_a_websocket_come_before_the_upgrade(query: str, expected: tuple[int, int, str]) -> None:
    async with stage() as s:
        socket = s.client.socket(query)
        assert refused(await socket.wait_open()) == expected
        assert not socket.accepted


@pytest.mark.parametrize("query", ["EIO=4&transport=polling&transport=abc&t=x", "EIO=4&EIO=3&transport=polling&sid="])
async def test_the_first_of_repeated_keys_counts(query: str) -> None:
    async with stage() as s:
        body(await s.client.http("GET", query))


async def test_a_transport_that_is_off_is_unknown() -> None:
    async with stage(transports="websocket") as s:
        assert refused(await s.client.http("GET", POLL)) == TRANSPORT
    async with stage(transports="polling") as s:
        assert refused(await s.client.socket(SOCKET).wait_open()) == TRANSPORT


async def decide_later(verdict: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return verdict


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (True, None),
        (False, (403, 4, "Forbidden")),
        (None, (403, 4, "Forbidden")),
        ("not today", (403, 4, "not today")),
        ("", (403, 4, "")),
    ],
)
@pytest.mark.parametrize("later", [False, True])
async def test_the_applications_hook(verdict: Any, expected: tuple[int, int, str] | None, later: bool) -> None:
    seen: list[HttpRequest] = []

    def hook(request: HttpRequest) -> Any:
        seen.append(request)
        return decide_later(verdict) if later else verdict

    async with stage(allow_request=hook) as s:
        polled = await s.client.http("GET", POLL)
        opened = await s.client.socket(SOCKET).wait_open()
        if expected is None:
            body(polled)
            assert opened is None
        else:
            assert refused(polled) == expected
            assert refused(opened) == expected
        assert [request.query_string for request in seen] == ["EIO=4&transport=polling", "EIO=4&transport=websocket"]


async def test_the_hook_comes_after_the_method_and_before_the_version() -> None:
    async with stage(allow_request=lambda request: False) as s:
        assert refused(await s.client.http("POST", POLL)) == METHOD
        assert refused(await s.client.http("GET", {"EIO": "3", "transport": "polling"})) == (403, 4, "Forbidden")


async def test_a_hook_that_fails_refuses_and_shows_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with stage(allow_request=lambda request: 1 // 0 == 1) as s:
        assert refused(await s.client.http("GET", POLL)) == (403, 4, "Forbidden")
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)


async def test_each_kind_is_loud_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with stage() as s:
        for _ in range(3):
            await s.client.http("GET", "EIO=4&transport=abc")
            await s.client.http("GET", "EIO=3&transport=polling")
            await s.client.http("GET", {**POLL, "sid": "a-secret-id-of-20-chr"})
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.ERROR] * 3 + [logging.INFO] * 6
    assert "EIO='3' is a client of Socket.IO 1.x or 2.x" in caplog.text
    assert "192.0.2.1" in caplog.text
    assert "a-secret-id" not in caplog.text


@pytest.mark.parametrize("has_others", [False, True])
async def test_an_unknown_session_hints_at_other_processes(has_others: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as s:
        if has_others:  # as one of two worker processes has
            await s.open_polling()
        await s.client.http("GET", {**POLL, "sid": "from-the-other-one"})
    [record] = caplog.records
    assert "another worker process" in record.getMessage()
    assert "sticky sessions" in record.getMessage()


async def test_a_refusal_is_reported_to_the_hook(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str, int, str]] = []

    def note(request: HttpRequest, refused: RequestRefused) -> None:
        seen.append((request.method, refused.code, refused.context.partition(":")[0]))

    async with stage() as s:
        s.engine.on_refused = note
        await s.client.http("PUT", POLL)
        await s.client.socket({**SOCKET, "sid": "x"}).wait_open()
        s.engine.on_refused = lambda request, refused: 1 // 0
        assert refused(await s.client.http("PUT", POLL)) == METHOD
    assert seen == [("PUT", 2, "METHOD"), ("GET", 1, "UNKNOWN_SID")]
    assert any(record.exc_info for record in caplog.records)


async def test_an_engine_that_does_not_run_refuses_handshakes() -> None:
    async with stage() as s:
        engine = Engine(EngineConfig(), s.listener, logger=s.engine.logger)
        client = EngineClient(engine, s.nursery)
        assert refused(await client.http("GET", POLL)) == (503, 3, "Server is shutting down")
        assert refused(await client.socket(SOCKET).wait_open()) == (503, 3, "Server is shutting down")


async def test_ids_are_unique_also_when_the_source_repeats_itself() -> None:
    async with stage() as s:
        ids = iter(["one", "one", "one", "two"])
        s.engine._new_sid = lambda: next(ids)
        assert [await s.open_polling(), await s.open_polling()] == ["one", "two"]
