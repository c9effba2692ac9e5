"""Cookie and compression (spec 3.11, 3.12)."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from tests.engine.kit import POLL, item, stage
from trioflask_sio.engine.replies import cookie_header, pick_encoding

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ("io", "io=SID; path=/; SameSite=Lax"),
        ({}, "io=SID"),
        ({"name": "sticky", "HttpOnly": True, "path": "/x"}, "sticky=SID; HttpOnly; path=/x"),
        (
            {"name": "a", "Secure": False, "Max-Age": lambda: 60, "HttpOnly": lambda: True},
            "a=SID; Max-Age=60; HttpOnly",
        ),
        ({"path": None}, "io=SID"),
    ],
)
async def test_the_cookie_is_set_by_a_polling_handshake_only(cookie: Any, expected: str) -> None:
    assert cookie_header(cookie, "SID") == expected
    async with stage(cookie=cookie) as s:
        response = await s.client.http("GET", POLL)
        assert dict(response.headers)["Set-Cookie"] == expected.replace("SID", s.session.eio_sid)
        s.session.send(item("x"))
        polled = await s.client.http("GET", {**POLL, "sid": s.session.eio_sid})
        assert "Set-Cookie" not in dict(polled.headers)


@pytest.mark.parametrize(
    ("accept", "picked"),
    [
        (None, None),
        ("", None),
        ("br", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip", "deflate"),
        ("deflate;q=0.5, gzip;q=0.8", "gzip"),
        ("GZip ; Q=0.3", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=0, *", "deflate"),
        ("*", "gzip"),
        ("*;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("gzip;q=nonsense", None),
        ("br, deflate", "deflate"),
    ],
)
def test_the_clients_wish_decides(accept: str | None, picked: str | None) -> None:
    assert pick_encoding(accept) == picked


@pytest.mark.parametrize(("encoding", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
async def test_large_replies_are_compressed(encoding: str, unpack: Any) -> None:
    async with stage(compression_threshold=100) as s:
        sid = await s.open_polling()
        for size, compressed in ((98, False), (99, True)):
            s.session.send(item("x" * size))
            response = await s.client.http("GET", {**POLL, "sid": sid}, b"", [("accept-encoding", encoding)])
            headers = dict(response.headers)
            assert (headers.get("Content-Encoding") == encoding) is compressed
            assert (headers.get("Vary") == "Accept-Encoding") is compressed
            assert (unpack(response.body) if compressed else response.body) == b"4" + b"x" * size


async def test_compression_can_be_off_and_says_so_when_it_depends() -> None:
    for on in (True, False):
        async with stage(http_compression=on) as s:
            sid = await s.open_polling()
            s.session.send(item("x" * 5000))
            response = await s.client.http("GET", {**POLL, "sid": sid})
            assert response.body == b"4" + b"x" * 5000
            assert (dict(response.headers).get("Vary") == "Accept-Encoding") is on
