"""Who may talk to the server from a browser, and the CORS headers (spec 3.10, design §8.22, pain 16)."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.engine.kit import POLL, SOCKET, Recorder, body, refused, stage
from trioflask_sio.engine.admission import ORIGINS_SAID
from trioflask_sio.engine.origin import own_origins
from trioflask_sio.engine.transport import HttpRequest, HttpResponse
from trioflask_sio.testing.wires import make_request

pytestmark = pytest.mark.anyio

FORBIDDEN = (403, 4, "Forbidden")
Headers = list[tuple[str, str]]


def cors(response: HttpResponse) -> dict[str, str]:
    return {name: value for name, value in response.headers if name.startswith("Access-Control") or name == "Vary"}


ASK = "https://page.example"
PROXIED: Headers = [("x-forwarded-proto", "https, http"), ("x-forwarded-host", "page.example, inner")]


@pytest.mark.parametrize(
    ("allowed", "headers", "passes"),
    [
        (None, [], True),
        (None, [("origin", "http://test.example")], True),
        (None, [("origin", "HTTP://TEST.example")], True),
        (None, [("origin", "https://test.example")], False),
        (None, [("origin", "http://test.example:8080")], False),
        (None, [("origin", "null")], False),
        (None, [("origin", "")], False),
        (None, [("origin", ASK)], False),
        (None, [("origin", ASK), *PROXIED], True),
        (None, [("origin", "https://test.example"), ("x-forwarded-proto", "https")], True),
        (None, [("origin", "http://page.example"), ("x-forwarded-host", "page.example")], True),
        (None, [("origin", "https://inner"), *PROXIED], False),
        (ASK, [("origin", ASK)], True),
        (ASK, [("origin", "http://test.example")], False),
        ([ASK, "http://b"], [("origin", "http://b")], True),
        ((ASK,), [("origin", "http://c")], False),
        ("*", [("origin", "http://anyone")], True),
        ([ASK, "*"], [("origin", "http://anyone")], True),
        ([], [("origin", "http://anyone")], True),
        (lambda origin: origin.endswith(".example"), [("origin", ASK)], True),
        (lambda origin: origin.endswith(".example"), [("origin", "http://else")], False),
        (lambda origin, request: request.header("x-key") == "1", [("origin", ASK), ("x-key", "1")], True),
        (lambda origin, request: request.header("x-key") == "1", [("origin", ASK)], False),
    ],
)
async def test_the_policy(allowed: Any, headers: Headers, passes: bool) -> None:
    async with stage(cors_allowed_origins=allowed) as s:
        polled = await s.client.http("GET", POLL, b"", headers)
        socket = s.client.socket(SOCKET, headers)
        answer = await socket.wait_open()
        if passes:
            body(polled)
            assert answer is None
            origin = dict(headers).get("origin")
            expected = {}
            if origin and allowed != []:
                expected = {
                    "Access-Control-Allow-Origin": origin,
                    "Access-Control-Allow-Credentials": "true",
                    "Vary": "Origin",
                }
            assert cors(polled) == expected
        else:
            assert refused(polled) == FORBIDDEN
            assert refused(answer) == FORBIDDEN
            assert cors(polled) == {}
            assert not s.engine.sessions


async def test_the_origin_is_checked_before_anything_else() -> None:
    async with stage() as s:
        for method, query in (("GET", {}), ("PUT", {"sid": "x"}), ("OPTIONS", {})):
            assert refused(await s.client.http(method, query, b"", [("origin", ASK)])) == FORBIDDEN


async def test_a_refusal_names_origin_own_origin_and_option(caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as s:
        await s.client.http("GET", POLL, b"", [("origin", "http://evil.example"), *PROXIED])
    line = caplog.records[0].getMessage()
    for part in ("'http://evil.example'", "http://test.example or https://page.example", "cors_allowed_origins", "403"):
        assert part in line
    assert caplog.records[0].levelno == logging.ERROR


async def test_each_foreign_origin_is_said_loudly_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with stage() as s:
        for _ in range(2):
            for origin in ("http://evil.example", "http://forgotten.example"):
                await s.client.http("GET", POLL, b"", [("origin", origin)])
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2 + [logging.INFO] * 2
    assert ["(said once," in record.getMessage() for record in caplog.records] == [True, True, False, False]


async def test_invented_origins_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as s:
        for number in range(ORIGINS_SAID + 20):
            await s.client.http("GET", POLL, b"", [("origin", f"http://{number}.example")])
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == ORIGINS_SAID


async def test_control_characters_are_a_bad_request() -> None:
    async with stage(cors_allowed_origins="*") as s:
        response = await s.client.http("GET", POLL, b"", [("origin", "http://a\x01b")])
        assert refused(response) == (400, 3, "Bad request")
        assert cors(response) == {}


async def test_a_callable_that_fails_refuses_and_shows_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def check(origin: str) -> bool:
        raise ZeroDivisionError(origin)

    async with stage(cors_allowed_origins=check) as s:
        assert refused(await s.client.http("GET", POLL, b"", [("origin", ASK)])) == FORBIDDEN
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)


async def test_a_callable_is_asked_once_for_a_request_that_passes() -> None:
    asked: list[tuple[str, str]] = []

    def check(origin: str, request: HttpRequest) -> bool:
        asked.append((origin, request.method))
        return True

    async with stage(cors_allowed_origins=check) as s:
        await s.client.http("GET", POLL, b"", [("origin", ASK)])
        assert asked == [(ASK, "GET")]


async def test_a_preflight() -> None:
    async with stage(cors_allowed_origins=ASK) as s:
        headers = [("origin", ASK), ("access-control-request-headers", "content-type, x-token")]
        response = await s.client.http("OPTIONS", {**POLL, "sid": "whoever"}, b"", headers)
        assert (response.status, response.body) == (204, b"")
        assert cors(response) == {
            "Access-Control-Allow-Origin": ASK,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Methods": "OPTIONS, GET, POST",
            "Access-Control-Allow-Headers": "content-type, x-token",
            "Vary": "Origin",
        }


async def test_without_credentials_none_are_announced() -> None:
    async with stage(cors_allowed_origins="*", cors_credentials=False) as s:
        response = await s.client.http("GET", POLL, b"", [("origin", ASK)])
        assert cors(response) == {"Access-Control-Allow-Origin": ASK, "Vary": "Origin"}


async def test_every_reply_to_an_allowed_origin_carries_the_headers() -> None:
    async with stage(cors_allowed_origins=ASK, listener=Recorder(echo=True)) as s:
        sid = await s.open_polling()
        query = {**POLL, "sid": sid}
        for method, where, data in (
            ("POST", query, b"4x"),
            ("GET", query, b""),
            ("PUT", query, b""),
            ("GET", {"transport": "none"}, b""),
            ("POST", query, b"4" * 1_000_001),
        ):
            response = await s.client.http(method, where, data, [("origin", ASK)])
            assert cors(response)["Access-Control-Allow-Origin"] == ASK
        socket = s.client.socket(SOCKET, [("origin", ASK)])
        await socket.wait_open()
        assert dict(socket.accept_headers)["Access-Control-Allow-Origin"] == ASK


def test_own_origins_without_a_host() -> None:
    assert own_origins(HttpRequest("GET", "/")) == []
    assert own_origins(make_request(scheme="https")) == ["https://test.example"]
