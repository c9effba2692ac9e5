"""Frames out and the shortcut in (RFC 6455, design §8.19), with wsproto as the opposite peer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from tests.strategies import any_text, cuts, masked_frame, pieces, wire_text
from trioflask_sio.protocol.ws_frames import FrameBuffer, FrameError, FrameTooBig, RawFrame, frame, utf8

LIMIT = 70_000
TEXT, BINARY, FIN = 0x81, 0x82, 0x80
SIZES = [0, 1, 4, 125, 126, 127, 511, 512, 513, 65_535, 65_536, LIMIT]


def read(chunks: Sequence[bytes], limit: int = LIMIT) -> tuple[list[object], int | None]:
    """Everything the buffer makes of a stream: items (raw frames as a tuple) and the close code of its error."""
    buffer = FrameBuffer(limit)
    items: list[object] = []
    try:
        for chunk in chunks:
            buffer.feed(chunk)
            while batch := buffer.drain():
                items.extend(("raw", item.data) if isinstance(item, RawFrame) else item for item in batch)
            assert buffer.buffered < max(limit, 125) + 14  # a control frame may be longer than a message
    except FrameError as error:
        return items, error.code
    return items, None


def client_reads(stream: bytes) -> list[str | bytes]:
    connection = Connection(ConnectionType.CLIENT)
    connection.receive_data(stream)
    whole: list[str | bytes] = []
    part: str | bytes | None = None
    for event in connection.events():
        assert isinstance(event, (TextMessage, BytesMessage))
        data = event.data if isinstance(event, TextMessage) else bytes(event.data)
        part = data if part is None else part + data  # type: ignore[operator]  # the parts of a message are of one type
        if event.message_finished:
            whole.append(part)
            part = None
    return whole


def messages() -> st.SearchStrategy[str | bytes]:
    return wire_text() | st.binary() | st.sampled_from(SIZES).map(bytes) | st.sampled_from(SIZES).map("x".__mul__)


def frames() -> st.SearchStrategy[bytes]:
    """Frames of every kind, mostly legal ones."""
    firsts = st.sampled_from([TEXT, TEXT, BINARY, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1, 0x83, 0x09])
    payloads = wire_text().map(str.encode) | st.binary(max_size=200) | st.sampled_from([b"x" * 126, b"y" * 600])
    keys = st.binary(min_size=4, max_size=4)
    masked = st.builds(masked_frame, firsts, payloads, keys, head=st.sampled_from([0, 0, 0, 4, 10]))
    return masked | messages().map(frame)


@given(st.lists(messages(), max_size=4))
def test_what_is_framed_is_what_a_client_reads(sent: list[str | bytes]) -> None:
    assert client_reads(b"".join(map(frame, sent))) == sent


@given(st.lists(messages(), max_size=4), cuts())
def test_what_a_client_sends_is_what_is_read(sent: list[str | bytes], where: list[float]) -> None:
    client = Connection(ConnectionType.CLIENT)
    stream = b"".join(
        client.send(TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message))
        for message in sent
    )
    items, code = read(pieces(stream, where), limit=len(stream) + 1)
    assert code is None
    assert items == sent


@given(st.lists(frames(), max_size=6), cuts())
def test_any_split_gives_the_same(stream: list[bytes], where: list[float]) -> None:
    joined = b"".join(stream)
    whole = read([joined])
    assert read(pieces(joined, where)) == whole
    assert read([joined[i : i + 1] for i in range(min(len(joined), 300))] + [joined[300:]]) == whole


@given(st.binary(), cuts(), st.integers(min_value=0, max_value=200))
def test_any_bytes_give_frames_or_our_error(stream: bytes, where: list[float], limit: int) -> None:
    assert read(pieces(stream, where), limit) == read([stream], limit)


@given(st.lists(frames(), max_size=6))
def test_raw_frames_are_handed_on_untouched(stream: list[bytes]) -> None:
    items, code = read([b"".join(stream)])
    raw = [item[1] for item in items if isinstance(item, tuple)]
    assert all(data in stream for data in raw)
    if code is None:
        assert len(items) == len(stream)


@pytest.mark.parametrize("size", SIZES)
def test_lengths(size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    out = frame(data)
    assert out[:1] == b"\x82"
    assert len(out) == size + (2 if size < 126 else 4 if size < 65_536 else 10)
    assert read([masked_frame(BINARY, data)]) == ([data], None)
    assert read([masked_frame(TEXT, b"x" * size)]) == (["x" * size], None)


@pytest.mark.parametrize("size", [10, 126, 65_536])
def test_too_long_is_refused_from_the_length_alone(size: int) -> None:
    buffer = FrameBuffer(size - 1)
    head = masked_frame(BINARY, bytes(size))[: 2 if size < 126 else 4 if size < 65_536 else 10]
    buffer.feed(head)
    with pytest.raises(FrameTooBig, match=f"message of {size} bytes is over the limit of {size - 1} bytes") as caught:
        buffer.next()
    assert (caught.value.size, caught.value.limit, caught.value.code) == (size, size - 1, 1009)


def test_after_an_error_nothing_more_is_read() -> None:
    buffer = FrameBuffer(100)
    buffer.feed(masked_frame(TEXT, b"one") + masked_frame(TEXT, b"\xff") + masked_frame(TEXT, b"two"))
    assert buffer.drain() == ["one"]
    buffer.feed(masked_frame(TEXT, b"three"))
    for method in (buffer.drain, buffer.next, buffer.drain):
        with pytest.raises(FrameError, match="not UTF-8") as caught:
            method()
        assert caught.value.code == 1007
    assert buffer.buffered == 0


@pytest.mark.parametrize("size", [3, 200, 600])
def test_text_that_is_not_utf8_is_refused(size: int) -> None:
    assert read([masked_frame(TEXT, b"\xed\xa0\x80" + b"x" * size)]) == ([], 1007)


def test_parts_of_a_message_add_up() -> None:
    part = masked_frame(0x02, b"x" * 60)
    ping = masked_frame(0x89, b"")
    more = masked_frame(0x00, b"x" * 30)
    last = masked_frame(0x80, b"x" * 11)
    assert read([part, ping, more, last], limit=101)[1] is None
    items, code = read([part, ping, more, last], limit=100)
    assert code == 1009
    assert [item[1] for item in items if isinstance(item, tuple)] == [part, ping, more]


def test_the_sum_starts_anew_with_the_next_message() -> None:
    message = [masked_frame(0x01, b"x" * 60), masked_frame(0x80, b"x" * 40)]
    items, code = read(message * 3, limit=100)
    assert code is None
    assert len(items) == 6


def test_a_simple_frame_inside_a_fragmented_message_is_for_wsproto() -> None:
    stray = masked_frame(TEXT, b"stray")
    assert read([masked_frame(0x01, b"a"), stray])[0][1] == ("raw", stray)
    after = [masked_frame(0x01, b"a"), masked_frame(0x80, b"b"), masked_frame(TEXT, b"next")]
    assert read(after)[0][2] == "next"


@pytest.mark.parametrize(
    "data",
    [
        masked_frame(0x88, b"\x03\xe8"),
        masked_frame(0x89, b"x" * 125),
        masked_frame(0xC1, b"compressed"),
        masked_frame(0x83, b"unknown opcode"),
        masked_frame(TEXT, b"short", head=4),
        masked_frame(TEXT, b"short", head=10),
        masked_frame(BINARY, b"x" * 200, head=10),
        frame("unmasked"),
        frame(b"x" * 300),
    ],
)
def test_everything_unusual_is_for_wsproto(data: bytes) -> None:
    assert read([data + masked_frame(TEXT, b"next")]) == ([("raw", data), "next"], None)


@pytest.mark.parametrize("size", [126, 1_000, 65_536])
def test_long_control_frames_are_refused(size: int) -> None:
    assert read([masked_frame(0x89, bytes(size))[:10]]) == ([], 1002)


@given(any_text())
def test_utf8_never_fails(text: str) -> None:
    back = utf8(text).decode()
    assert frame(text).endswith(utf8(text))
    if text.isascii():
        assert back == text
    assert back == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def test_one_by_one() -> None:
    buffer = FrameBuffer(100)
    assert buffer.next() is None
    buffer.feed(masked_frame(TEXT, b"a") + masked_frame(BINARY, b"b") + masked_frame(0x8A, b""))
    assert buffer.next() == "a"
    assert buffer.next() == b"b"
    assert repr(buffer.next()) == "<RawFrame opcode 10 of 6 bytes>"
    assert buffer.next() is None
