"""WebSockets over real sockets: handshakes, frames of every kind, endings."""

from __future__ import annotations

import logging
import zlib

import pytest
import trio
import trio.testing
import trio_websocket
from websockets.sync.client import connect as websockets_connect

from tests.server.helpers import MESSAGE_LIMIT, UPGRADE, FakeEngine, connect, masked, running, text, until
from trioflask_sio.engine.transport import PeerGone, WebSocketTransport

pytestmark = pytest.mark.trio


def without(header: bytes) -> bytes:
    return b"\r\n".join(line for line in UPGRADE.split(b"\r\n") if not line.startswith(header + b":"))


def replaced(old: bytes, new: bytes) -> bytes:
    assert old in UPGRADE
    return UPGRADE.replace(old, new)


BAD_HANDSHAKES = [
    (without(b"Sec-WebSocket-Key"), 400),
    (without(b"Sec-WebSocket-Version"), 400),
    (without(b"Connection"), 400),
    (replaced(b"Version: 13", b"Version: 8"), 426),
    (replaced(b"MDEyMzQ1Njc4OTAxMjM0NQ==", b"c2hvcnQ="), 400),
    (replaced(b"MDEyMzQ1Njc4OTAxMjM0NQ==", b"not base 64"), 400),
    (replaced(b"GET", b"POST"), 400),
    (replaced(b"HTTP/1.1", b"HTTP/1.0"), 400),
    (UPGRADE + b"Content-Length: 3\r\n", 400),
    (replaced(b"/socket.io/", b"/elsewhere/"), 404),
    (replaced(b"?transport=websocket", b"?refuse"), 400),
]


@pytest.mark.parametrize(("head", "status"), BAD_HANDSHAKES, ids=range(len(BAD_HANDSHAKES)))
async def test_bad_handshakes_are_refused_and_the_reply_is_read(
    head: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running() as [bound]:
        client = await connect(bound)
        await client.send(head + b"\r\n" + text("too early"))
        reply = await client.read_all()
    assert reply.startswith(b"HTTP/1.1 %d " % status), reply
    assert b"connection: close" in reply.lower()
    assert status != 426 or b"sec-websocket-version: 13" in reply.lower()
    assert not [record for record in caplog.records if record.exc_info]


async def test_echo_of_every_length_form() -> None:
    async with running() as [bound]:
        client = await connect(bound)
        assert b"x-extra: yes" in (await client.upgrade()).lower()
        for size in (0, 1, 125, 126, 65_535, 65_536, MESSAGE_LIMIT):
            await client.send(masked(0x82, bytes(size)))
            assert await client.frame() == (0x82, bytes(size))
        await client.send(text("é€😀"))
        assert await client.frame() == (0x81, "é€😀".encode())


async def test_bytes_behind_the_upgrade_request_are_websocket_input() -> None:
    """Whole frames, and a single byte of one (pains P7)."""
    async with running() as [bound]:
        client = await connect(bound)
        first, second = text("first"), text("second")
        await client.upgrade(behind=first + second[:1])
        assert (await client.frame())[1] == b"first"
        await client.send(second[1:])
        assert (await client.frame())[1] == b"second"


async def test_a_junk_byte_behind_the_upgrade_request_ends_only_that_connection() -> None:
    async with running() as [bound]:
        client = await connect(bound)
        await client.upgrade(behind=b"\xff")
        await client.send(b"\xff\xff\xff\xff\xff")
        other = await connect(bound)
        await other.upgrade(behind=text("alive"))
        assert (await other.frame())[1] == b"alive"


async def test_any_split_of_the_frames_gives_the_same_messages() -> None:
    data = text("one") + masked(0x01, b"t") + masked(0x89, b"p") + masked(0x80, b"wo") + text("three")
    async with running() as [bound]:
        client = await connect(bound)
        await client.upgrade()
        for cut in range(1, len(data), 5):
            await client.send(data[:cut])
            await trio.testing.wait_all_tasks_blocked()
            await client.send(data[cut:])
            frames = [await client.frame() for _ in range(4)]
            assert [payload for first, payload in frames if first == 0x81] == [b"one", b"two", b"three"]
            assert (0x8A, b"p") in frames


async def test_many_messages_of_one_read_come_as_one_list() -> None:
    lists: list[list[str | bytes]] = []

    async def collect(transport: WebSocketTransport) -> None:
        while True:
            lists.append(list(await transport.receive()))

    engine = FakeEngine(websocket=collect)
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.upgrade()
        await client.send(b"".join(text(str(n)) for n in range(100)) + masked(0x88, b"\x03\xe8"))
        assert await client.frame() == (0x88, b"\x03\xe8")
        assert await client.read_all() == b""
    assert lists == [[str(n) for n in range(100)]]
    assert engine.seen[0] == "gone 1000"


VIOLATIONS = [
    (masked(0x81, b"\xff\xfe"), 1007),
    (masked(0x01, b"\xff\xfe") + masked(0x80, b""), 1007),
    (masked(0x83, b"x"), 1002),
    (masked(0xC1, b"x"), 1002),
    (masked(0x80, b"no start"), 1002),
    (masked(0x01, b"a") + masked(0x81, b"b"), 1002),
    (masked(0x09, b"fragmented ping"), 1002),
    (masked(0x89, b"x" * 126), 1002),
    (b"\x81\x01x", 1002),
    (masked(0x88, b"\x03"), 1002),
    (masked(0x81, b"", claim=MESSAGE_LIMIT + 1), 1009),
    (masked(0x82, b"", claim=2**40), 1009),
    (masked(0x02, bytes(60_000)) + masked(0x80, bytes(60_000)), 1009),
]


@pytest.mark.parametrize(("data", "code"), VIOLATIONS, ids=range(len(VIOLATIONS)))
async def test_violations_are_closed_with_their_code(data: bytes, code: int, caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.upgrade()
        await client.send(text("before") + data)
        assert await client.frame() == (0x81, b"before")
        first, payload = await client.frame()
        assert (first, int.from_bytes(payload[:2], "big")) == (0x88, code)
        assert await client.read_all() == b""
    assert engine.seen[0].startswith("message too big" if code == 1009 else "failed")
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("payload", "answer", "seen"),
    [(b"\x03\xe9bye", b"\x03\xe9bye", "gone 1001"), (b"", b"", "gone 1005"), (b"\x0f\xa0", b"\x0f\xa0", "gone 4000")],
)
async def test_the_client_closes(payload: bytes, answer: bytes, seen: str) -> None:
    engine = FakeEngine()
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.upgrade()
        await client.send(masked(0x88, payload))
        assert await client.frame() == (0x88, answer)
        assert await client.read_all() == b""
    assert engine.seen[0] == seen


async def test_the_client_vanishes() -> None:
    engine = FakeEngine()
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.upgrade()
        await client.stream.aclose()
        await until(lambda: bool(engine.seen))
    assert engine.seen[0] == "gone 1006"


async def test_the_server_closes_and_waits_for_the_answer() -> None:
    closed = trio.Event()

    async def close(transport: WebSocketTransport) -> None:
        await transport.receive()
        await transport.close(4001, "enough")
        closed.set()
        await transport.close(1000)  # idempotent
        with pytest.raises(PeerGone):
            transport.try_send(b"x")
        with pytest.raises(PeerGone):
            await transport.send_bytes(b"x")
        with pytest.raises(PeerGone):
            await transport.receive()

    engine = FakeEngine(websocket=close)
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.upgrade(behind=text("go"))
        assert await client.frame() == (0x88, b"\x0f\xa1enough")
        await client.send(text("late"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not closed.is_set()
        await client.send(masked(0x88, b"\x0f\xa1"))
        assert await client.read_all() == b""
        await closed.wait()
    assert engine.seen == ["shutdown"]


async def test_close_while_another_task_receives() -> None:
    async def both(transport: WebSocketTransport) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.close, 1001)
            with pytest.raises(PeerGone):
                await transport.receive()

    async with running(FakeEngine(websocket=both)) as [bound]:
        client = await connect(bound)
        await client.upgrade()
        assert await client.frame() == (0x88, b"\x03\xe9")
        await client.send(masked(0x88, b"\x03\xe9"))
        assert await client.read_all() == b""


async def test_abort_closes_without_a_word_and_wakes_the_reader() -> None:
    async def both(transport: WebSocketTransport) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.receive)
            await trio.testing.wait_all_tasks_blocked()
            transport.abort()
            transport.abort()

    engine = FakeEngine(websocket=both)
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.upgrade()
        assert await client.read_all() == b""


@pytest.mark.parametrize("unread", [b"", text("unread") * 100])
async def test_wait_gone_sees_the_end_behind_unread_messages(unread: bytes) -> None:
    async def wait(transport: WebSocketTransport) -> None:
        await transport.receive()
        await transport.wait_gone()
        engine.seen.append("left")

    engine = FakeEngine(websocket=wait)
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.upgrade(behind=text("go"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        await client.send(unread)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert engine.seen == []
        await client.stream.aclose()
        await until(lambda: bool(engine.seen))
    assert engine.seen[0] == "left"


async def test_a_pong_never_cuts_into_a_frame_that_is_half_sent() -> None:
    """The client sends pings and reads nothing, until the server's frames are stuck; then it reads everything."""
    big = bytes(30_000_000)

    async def push(transport: WebSocketTransport) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.receive)
            data = b"\x82\x7f" + len(big).to_bytes(8, "big") + big
            sent = transport.try_send(data)
            assert 0 < sent < len(data)
            assert transport.try_send(b"\x81\x01x") == 0
            await trio.testing.wait_all_tasks_blocked(0.01)  # the pings have been read by now
            await transport.send_bytes(memoryview(data)[sent:])
            nursery.cancel_scope.cancel()

    async with running(FakeEngine(websocket=push)) as [bound]:
        client = await connect(bound)
        await client.upgrade(behind=masked(0x89, b"one"))
        await client.send(masked(0x89, b"two"))
        frames = [await client.frame() for _ in range(2)]
        if frames[0] == (0x8A, b"one"):  # it went out before the frame began
            frames = [frames[1], await client.frame()]
        assert frames == [(0x82, big), (0x8A, b"two")]


async def test_a_client_that_reads_nothing_is_closed_within_the_deadline() -> None:
    """The stalled reader of pains P8: its close is bounded, and the server's stop with it."""
    started = trio.Event()

    async def push(transport: WebSocketTransport) -> None:
        started.set()
        await transport.send_bytes(bytes(20_000_000))

    begun = trio.current_time()
    async with running(FakeEngine(websocket=push)) as [bound]:
        client = await connect(bound)
        await client.upgrade()
        await started.wait()
    assert trio.current_time() - begun < 5


def read_compressed(payload: bytes) -> bytes:
    return zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")


def compressed(payload: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def test_permessage_deflate() -> None:
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    async with running(FakeEngine(deflate=True)) as [bound]:
        client = await connect(bound)
        head = (await client.upgrade(offer)).lower()
        assert b"sec-websocket-extensions: permessage-deflate" in head
        await client.send(masked(0xC1, compressed(b"small")))
        assert await client.frame() == (0x81, b"small")  # below the threshold
        for message in (b"a" * 1000, b"b" * 1000):
            await client.send(masked(0xC2, compressed(message)))
            first, payload = await client.frame()
            assert (first, read_compressed(payload)) == (0xC2, message)
        packed = compressed("é".encode() * 500)
        await client.send(masked(0x41, packed[:3]) + masked(0x89, b"ping") + masked(0x80, packed[3:]))
        frames = [await client.frame() for _ in range(2)]
        assert frames[0] == (0x8A, b"ping")
        assert read_compressed(frames[1][1]).decode() == "é" * 500
        await client.send(masked(0x88, b"\x03\xe8"))
        assert await client.frame() == (0x88, b"\x03\xe8")


async def test_a_deflate_bomb_is_refused() -> None:
    engine = FakeEngine(deflate=True)
    async with running(engine) as [bound]:
        client = await connect(bound)
        await client.upgrade(b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
        bomb = compressed(bytes(30_000_000))
        assert len(bomb) < MESSAGE_LIMIT
        await client.send(masked(0xC2, bomb))
        first, payload = await client.frame()
        assert (first, payload[:2]) == (0x88, (1009).to_bytes(2, "big"))
    assert int(engine.seen[0].split()[-1]) < MESSAGE_LIMIT + 4_000_000


@pytest.mark.parametrize("offer", [b"permessage-deflate; server_max_window_bits=x", b"x-unknown", b";;,"])
async def test_strange_extension_offers_are_declined(offer: bytes) -> None:
    async with running(FakeEngine(deflate=True)) as [bound]:
        client = await connect(bound)
        head = await client.upgrade(b"Sec-WebSocket-Extensions: " + offer + b"\r\n", behind=text("plain"))
        assert b"extensions" not in head.lower()
        assert await client.frame() == (0x81, b"plain")


async def test_other_peoples_clients(caplog: pytest.LogCaptureFixture) -> None:
    """trio-websocket on the same loop, and websockets (which offers compression) in a thread."""

    def other(url: str) -> list[str | bytes]:
        with websockets_connect(url) as client:
            for message in ("text", b"bytes", "x" * 5000):
                client.send(message)
            return [client.recv() for _ in range(3)]

    async with running(FakeEngine(deflate=True)) as [bound]:
        url = f"ws://{bound.host}:{bound.port}/socket.io/"
        async with trio_websocket.open_websocket_url(url) as client:
            await client.send_message("hello")
            assert await client.get_message() == "hello"
            await client.ping(b"payload")
        assert await trio.to_thread.run_sync(other, url) == ["text", b"bytes", "x" * 5000]
    assert not [record for record in caplog.records if record.exc_info]


async def test_an_engine_that_fails_closes_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(transport: WebSocketTransport) -> None:
        raise ZeroDivisionError

    async with running(FakeEngine(websocket=fail)) as [bound]:
        client = await connect(bound)
        await client.upgrade()
        assert await client.frame() == (0x88, (1011).to_bytes(2, "big"))
    assert [record.exc_info is not None for record in caplog.records] == [True]
