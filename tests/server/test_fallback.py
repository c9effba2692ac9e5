"""The ASGI side of the fallback application: bodies, framing, departures, failures."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.helpers import Client, connect, in_memory, running, until
from trioflask_sio.server.fallback import ClientDisconnected

pytestmark = pytest.mark.trio

START = {"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]}


def piece(data: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def get(path: str = "/", version: str = "1.1", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nHost: a\r\n\r\n".encode()


async def test_the_scope() -> None:
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(dict(scope))
        await send(START)
        await send(piece(b"", False))

    async with in_memory(fallback=app) as (client, _):
        await client.ask(b"PUT /a%20b?c=d%20e HTTP/1.1\r\nHost: a\r\nX-A: \xe9\r\n\r\n", "PUT")
    [scope] = scopes
    assert scope["type"] == "http"
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("PUT", "/a b", b"/a%20b")
    assert scope["query_string"] == b"c=d%20e"
    assert scope["headers"] == [(b"host", b"a"), (b"x-a", b"\xe9")]
    assert (scope["client"], scope["scheme"], scope["http_version"]) == (("1.2.3.4", 5), "http", "1.1")


async def test_bodies_are_streamed_both_ways() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send(piece(message["body"].upper(), more))

    async with in_memory(fallback=app) as (client, _):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n")
        for part in (b"ab", b"cd"):
            await client.send(part)
            await trio.testing.wait_all_tasks_blocked()
        got = await client.stream.receive_some(65_536)
        assert b"AB" in got  # before the request was complete
        assert b"CD" in got
        assert b"transfer-encoding: chunked" in got.lower()
        await client.send(b"ef")
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.stream.receive_some(65_536)).endswith(b"EF\r\n0\r\n\r\n")


async def test_a_slow_client_holds_the_application() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(START)
        while True:
            await send(piece(bytes(65_536)))
            sent += 1

    async with running(fallback=app) as [bound]:
        client = await connect(bound)
        await client.send(get())
        await trio.testing.wait_all_tasks_blocked(0.05)
        held = sent
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert 0 < sent == held < 200


async def whole(client: Client, data: bytes, method: str = "GET") -> tuple[dict[bytes, bytes], bytes]:
    await client.send(data)
    head, body = await client.response(method)
    return dict(head.headers), body


@pytest.mark.parametrize("status", [200, 204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_replies_that_have_no_body(status: int, method: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send(piece(b"first "))
        await send(piece(b"second", False))

    async with in_memory(fallback=app) as (client, _):
        for _ in range(2):  # the second request shows that the first reply had its right length
            _, body = await whole(client, get(method=method), method)
            assert body == (b"first second" if (status, method) == (200, "GET") else b"")


async def test_how_the_end_of_a_body_is_told() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        if scope["path"] == "/stream":
            await send(piece(b"ab"))
        await send(piece(b"cd", False))

    async with in_memory(fallback=app) as (client, _):
        headers, body = await whole(client, get("/whole"))
        assert (headers[b"content-length"], body) == (b"2", b"cd")
        headers, body = await whole(client, get("/stream"))
        assert (headers[b"transfer-encoding"], body) == (b"chunked", b"abcd")
    async with in_memory(fallback=app) as (client, _):
        await client.send(get("/stream", "1.0"))
        reply = await client.read_all()
        assert reply.endswith(b"\r\n\r\nabcd")
        assert b"transfer-encoding" not in reply.lower()


@pytest.mark.parametrize("break_off", [True, False])
async def test_a_departure_is_a_disconnect_message(break_off: bool) -> None:
    """Also while bytes that nobody reads wait behind the request."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])
        with pytest.raises(ClientDisconnected):
            await send(START)
        seen.append((await receive())["type"])

    async with running(fallback=app) as [bound]:
        client = await connect(bound)
        await client.send(get() + (get() if break_off else b""))
        await until(lambda: len(seen) == 1)
        await client.stream.aclose()
        await until(lambda: len(seen) == 3)
    assert seen == ["http.request", "http.disconnect", "http.disconnect"]


async def test_leaving_in_the_middle_of_an_upload() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (kind := (await receive())["type"]) != "http.disconnect":
            seen.append(kind)
        seen.append(kind)

    async with running(fallback=app) as [bound]:
        client = await connect(bound)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab")
        await until(lambda: bool(seen))
        await client.stream.aclose()
        await until(lambda: len(seen) == 2)
    assert seen == ["http.request", "http.disconnect"]


@pytest.mark.parametrize(
    ("rest", "status"), [(b"2\r\nab\r\nzz\r\n", b" 400 "), (b"2\r\nab\r\n", b" 408 ")], ids=["malformed", "stalled"]
)
async def test_a_broken_upload_is_the_clients_fault(
    rest: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The application gives up without a reply, as WSGI's do when the client is gone."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        with contextlib.suppress(ClientDisconnected):
            await send(START)

    async with running(fallback=app, body_timeout=0.05) as [bound]:
        client = await connect(bound)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
        assert (await client.read_all()).startswith(b"HTTP/1.1" + status)
    assert caplog.records == []


async def test_waiting_for_a_disconnect_ends_with_the_reply() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def listen() -> None:
            while (kind := (await receive())["type"]) != "http.disconnect":
                pass
            seen.append(kind)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.testing.wait_all_tasks_blocked()
            await send(START)
            await send(piece(b"done", False))

    async with in_memory(fallback=app) as (client, _):
        for _ in range(2):
            assert (await whole(client, get()))[1] == b"done"
            await trio.testing.wait_all_tasks_blocked()
    assert seen == ["http.disconnect"] * 2


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise ZeroDivisionError


async def silent(scope: Any, receive: Any, send: Any) -> None:
    return None


async def bad_header(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\nb")]})
    await send(piece(b"", False))


async def out_of_order(scope: Any, receive: Any, send: Any) -> None:
    await send(piece(b"", False))


@pytest.mark.parametrize("app", [raises, silent, bad_header, out_of_order])
async def test_a_failure_before_the_first_byte_is_a_500(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with in_memory(fallback=app) as (client, _):
        await client.send(get())
        head, _ = await client.response()
        assert head.status_code == 500
        assert (b"connection", b"close") in head.headers
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert (record.exc_info is not None) == (app is not silent)


def after_start(action: Callable[[], None], length: bytes | None = None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [] if length is None else [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(piece(b"begun"))
        action()
        await send(piece(b"", False))

    return app


def fail() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(("action", "length"), [(fail, None), (lambda: None, b"9"), (lambda: None, b"2")])
async def test_a_failure_in_mid_reply_closes_the_connection(
    action: Callable[[], None], length: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_memory(fallback=after_start(action, length)) as (client, _):
        await client.send(get())
        reply = await client.read_all()
        assert not reply.endswith(b"0\r\n\r\n")
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_an_application_that_stops_in_mid_reply(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(piece(b"begun"))

    async with in_memory(fallback=app) as (client, _):
        await client.send(get())
        assert (await client.read_all()).endswith(b"begun\r\n")
    assert "returned in the middle" in caplog.text


async def test_a_departure_that_the_application_swallows_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """WSGI's reply simply ends when nobody takes it; nothing was wrong with the application."""
    ended = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        with contextlib.suppress(ClientDisconnected):
            while True:
                await send(piece(bytes(65_536)))
        ended.set()

    async with running(fallback=app) as [bound]:
        client = await connect(bound)
        await client.send(get())
        await client.stream.receive_some(100)
        await client.stream.aclose()
        await ended.wait()
    assert caplog.records == []


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_departure_that_comes_back_out_is_no_error(grouped: bool, caplog: pytest.LogCaptureFixture) -> None:
    ended = trio.Event()

    async def push(send: Any) -> None:
        await send(START)
        while True:
            await send(piece(bytes(65_536)))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            if grouped:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(push, send)
            else:
                await push(send)
        finally:
            ended.set()

    async with running(fallback=app) as [bound]:
        client = await connect(bound)
        await client.send(get())
        await client.stream.receive_some(100)
        await client.stream.aclose()
        await ended.wait()
    assert caplog.records == []
