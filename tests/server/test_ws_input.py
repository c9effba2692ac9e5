"""The input half of a WebSocket by properties: any split gives the same, any bytes give messages or one ending."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate

from tests.server.helpers import masked
from trioflask_sio.engine.transport import MessageTooBig, PeerGone, TransportFailed
from trioflask_sio.protocol.limits import INPUT_CHUNK
from trioflask_sio.server.ws_input import Input

LIMIT = 1_000

messages = st.one_of(st.text(max_size=80), st.binary(max_size=300))


@st.composite
def as_frames(draw: st.DrawFn, message: str | bytes) -> bytes:
    """One message as one frame or as fragments, with pings between them."""
    payload = message.encode() if isinstance(message, str) else message
    opcode = 1 if isinstance(message, str) else 2
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
    pieces = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    out = b""
    for n, piece in enumerate(pieces):
        last = n == len(pieces) - 1
        out += masked((0x80 if last else 0) | (opcode if n == 0 else 0), piece, draw(st.binary(min_size=4, max_size=4)))
        if draw(st.booleans()):
            out += masked(0x89, b"ping")
    return out


def feed(source: Input, data: bytes, cuts: list[int]) -> list[str | bytes]:
    """Everything that comes out of ``data`` fed in pieces."""
    got: list[str | bytes] = []
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(marks):
        source.feed(data[start:end])
        while source.pending:
            source.decode()
        got += source.ready
        source.ready = []
    return got


@given(st.data(), st.lists(messages, max_size=6), st.lists(st.integers(0, 10_000), max_size=6), st.booleans())
def test_any_fragments_and_any_split_give_the_same_messages(
    data: st.DataObject, sent: list[str | bytes], cuts: list[int], deflate: bool
) -> None:
    source = Input(LIMIT, b"", PerMessageDeflate() if deflate else None)
    wire = b"".join(data.draw(as_frames(message)) for message in sent)
    assert feed(source, wire, cuts) == sent
    assert source.failure is None


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
@example(masked(0x88, b"") + b"\xff" * 20, [])
@example(b"\x81\xff" + b"\xff" * 8, [1, 2])
def test_any_bytes_give_messages_or_one_ending(data: bytes, cuts: list[int]) -> None:
    whole, split = Input(LIMIT, b"", None), Input(LIMIT, b"", None)
    assert feed(whole, data, []) == feed(split, data, cuts)
    for source in (whole, split):
        assert source.failure is None or isinstance(source.failure, TransportFailed)
        assert (source.close_code is not None) == (
            source.failure is not None and not isinstance(source.failure, PeerGone)
        )
    assert repr(whole.failure) == repr(split.failure)


def test_the_limit_holds_for_fragments_and_compressed_messages() -> None:
    source = Input(LIMIT, b"", None)
    feed(source, masked(0x02, bytes(600)) + masked(0x80, bytes(600)), [])
    assert isinstance(source.failure, MessageTooBig)
    assert source.close_code == 1009


@pytest.mark.parametrize("kind", [masked(0x81, b"text"), masked(0x89, b"ping"), masked(0x00, b"")])
def test_one_decode_takes_a_chunk_and_no_more(kind: bytes) -> None:
    """A read holds up to ten thousand tiny frames: whoever reads gives way in between."""
    source = Input(LIMIT, masked(0x01, b"begun") if kind[0] == 0 else b"", None)
    source.feed(kind * (2 * INPUT_CHUNK) + masked(0x80 if kind[0] == 0 else 0x81, b"last"))
    decodes = 0
    while source.pending:
        source.decode()
        decodes += 1
    assert decodes == 3
    assert source.ready[-1] in ("last", "begunlast")
    assert source.failure is None


def test_nothing_is_read_after_the_end() -> None:
    source = Input(LIMIT, masked(0x81, b"early"), None)
    source.decode()
    assert source.ready == ["early"]
    assert feed(source, masked(0x88, b"\x03\xe8") + masked(0x81, b"late"), []) == ["early"]
    assert isinstance(source.failure, PeerGone)
    source.end(PeerGone("second cause"))
    assert source.failure.code == 1000
    assert feed(source, masked(0x81, b"later"), []) == []


def test_the_latest_ping_is_answered_and_our_close_goes_out_once() -> None:
    source = Input(LIMIT, b"", None)
    feed(source, masked(0x89, b"one") + masked(0x89, b"two"), [])
    assert source.answer == b"\x8a\x03two"
    source.answer = b""
    assert source.goodbye(1001, "") == b"\x88\x02\x03\xe9"
    assert source.goodbye(1001, "") == b""
    feed(source, masked(0x89, b"late") + masked(0x88, b"\x03\xe9"), [])
    assert source.answer == b""
    assert isinstance(source.failure, PeerGone)


def test_a_reason_that_is_too_long_is_cut() -> None:
    frame = Input(LIMIT, b"", None).goodbye(1000, "é" * 200)
    assert frame[1] <= 125
    frame[4:].decode()
