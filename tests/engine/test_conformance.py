"""The checks of Engine.IO v4's own conformance suite, with its settings: 300 ms, 200 ms, 1e6 bytes, an echo server.

Real moments on the virtual clock, from the client's side only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from tests.engine.kit import POLL, SOCKET, Recorder, Stage, body, opening, refused, stage, virtual

SETTINGS: dict[str, Any] = {"ping_interval": 0.3, "ping_timeout": 0.2, "max_http_buffer_size": 1_000_000}


def check(scenario: Callable[[Stage], Awaitable[None]]) -> None:
    """Run one conversation with the echo server."""

    async def main() -> None:
        async with stage(listener=Recorder(echo=True), connect_timeout=None, **SETTINGS) as s:
            await scenario(s)

    virtual(main)


def test_handshake_over_polling() -> None:
    async def scenario(s: Stage) -> None:
        data = opening(await s.client.http("GET", POLL))
        assert sorted(data) == ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]
        assert data["upgrades"] == ["websocket"]
        assert (data["pingInterval"], data["pingTimeout"], data["maxPayload"]) == (300, 200, 1_000_000)

    check(scenario)


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", "transport=polling"),
        ("GET", "EIO=abc&transport=polling"),
        ("GET", "EIO=4"),
        ("GET", "EIO=4&transport=abc"),
        ("POST", "EIO=4&transport=polling"),
        ("PUT", "EIO=4&transport=polling"),
    ],
)
def test_a_bad_handshake_over_polling_is_400(method: str, query: str) -> None:
    async def scenario(s: Stage) -> None:
        assert (await s.client.http(method, query)).status == 400

    check(scenario)


@pytest.mark.parametrize(
    "query", ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc"]
)
def test_a_bad_handshake_over_websocket_never_opens(query: str) -> None:
    async def scenario(s: Stage) -> None:
        socket = s.client.socket(query)
        refusal = await socket.wait_open()
        assert refusal is not None
        assert refusal.status == 400

    check(scenario)


@pytest.mark.parametrize(
    ("packets", "echo"),
    [("4hello", "4hello"), ("4test1\x1e4test2\x1e4test3", "4test1\x1e4test2\x1e4test3"), ("bAQIDBA==", "bAQIDBA==")],
)
def test_messages_over_polling(packets: str, echo: str) -> None:
    async def scenario(s: Stage) -> None:
        sid = await s.open_polling()
        assert body(await s.post(sid, packets)) == "ok"
        assert await s.get(sid) == echo

    check(scenario)


def test_a_bad_packet_over_polling_closes() -> None:
    async def scenario(s: Stage) -> None:
        sid = await s.open_polling()
        assert (await s.post(sid, "abc")).status == 400
        assert (await s.client.http("GET", {**POLL, "sid": sid})).status == 400

    check(scenario)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_duplicate_request_closes(method: str) -> None:
    async def scenario(s: Stage) -> None:
        sid = await s.open_polling()
        query = {**POLL, "sid": sid}
        first = s.client.start(method, query, "4x", prepare=lambda e: setattr(e, "hold_body", True))
        await trio.testing.wait_all_tasks_blocked()
        assert (await s.client.http(method, query, "4y")).status == 400
        first.resume()
        response = await first.wait_response()
        assert (response.status, response.body) == (200, b"1") if method == "GET" else response.status == 400
        assert (await s.client.http("GET", query)).status == 400

    check(scenario)


def test_messages_over_websocket() -> None:
    async def scenario(s: Stage) -> None:
        socket = await s.open_socket()
        for message in ("4hello", b"\x01\x02\x03\x04"):
            socket.send(message)
            assert await socket.receive() == message

    check(scenario)


@pytest.mark.parametrize("packet", ["abc", "1"])
def test_a_bad_or_a_close_packet_over_websocket_closes_at_once(packet: str) -> None:
    async def scenario(s: Stage) -> None:
        socket = await s.open_socket()
        start = trio.current_time()
        socket.send(packet)
        await socket.wait_closed()
        assert trio.current_time() == start

    check(scenario)


def test_heartbeat_over_polling() -> None:
    async def scenario(s: Stage) -> None:
        sid = await s.open_polling()
        for _ in range(3):
            assert await s.get(sid) == "2"
            assert body(await s.post(sid, "3")) == "ok"
        await trio.sleep(0.5)
        assert refused(await s.client.http("GET", {**POLL, "sid": sid})) == (400, 1, "Session ID unknown")

    check(scenario)


def test_heartbeat_over_websocket() -> None:
    async def scenario(s: Stage) -> None:
        socket = await s.open_socket()
        for _ in range(3):
            assert await socket.receive() == "2"
            socket.send("3")
        start = trio.current_time()
        await socket.wait_closed()
        assert trio.current_time() - start == pytest.approx(0.5)

    check(scenario)


def test_closing_over_polling_releases_the_poll() -> None:
    async def scenario(s: Stage) -> None:
        sid = await s.open_polling()
        poll = s.client.start("GET", {**POLL, "sid": sid})
        await trio.testing.wait_all_tasks_blocked()
        assert body(await s.post(sid, "1")) == "ok"
        assert body(await poll.wait_response()) == "6"
        assert (await s.client.http("GET", {**POLL, "sid": sid})).status == 400

    check(scenario)


def test_upgrade_and_what_the_old_transport_then_hears() -> None:
    async def scenario(s: Stage) -> None:
        sid = await s.open_polling()
        socket = s.client.socket({**SOCKET, "sid": sid})
        await socket.wait_open()
        socket.send("2probe")
        poll = s.client.start("GET", {**POLL, "sid": sid})
        assert body(await poll.wait_response()) == "6"
        assert await socket.receive() == "3probe"
        socket.send("5", "4hello")
        assert await socket.receive() == "4hello"
        assert (await s.client.http("GET", {**POLL, "sid": sid})).status == 400
        other = s.client.socket({**SOCKET, "sid": sid})
        await other.wait_closed()
        socket.send("4still")
        assert await socket.receive() == "4still"

    check(scenario)
