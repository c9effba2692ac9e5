"""Packets as MessagePack (spec 2.10.2), and that they mean what their text form means."""

from __future__ import annotations

import contextlib
import copy
import datetime
import enum
import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text, event_ids, event_names, json_values, namespaces, payload_values, same
from trioflask_sio.exceptions import PacketError
from trioflask_sio.protocol.limits import DEFAULT_LIMITS, Limits
from trioflask_sio.protocol.sio_codec import PacketCodec, TextCodec
from trioflask_sio.protocol.sio_msgpack import MsgpackCodec
from trioflask_sio.protocol.sio_packet import Ack, Connect, ConnectError, Disconnect, Event, Packet

CODEC = MsgpackCodec()
UNDEFINED = msgpack.ExtType(0, b"\x00")


def read(message: bytes | str, limits: Limits = DEFAULT_LIMITS) -> Packet:
    return CODEC.start(message, limits)


def read_parts(**parts: Any) -> Packet:
    return read(msgpack.packb(parts))


def carried(value: Any) -> bool:
    """Whether MessagePack has it: text that is UTF-8, integers of 64 bits."""
    if isinstance(value, str):
        return not any(0xD800 <= ord(character) <= 0xDFFF for character in value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    if isinstance(value, dict):
        return all(map(carried, value)) and all(map(carried, value.values()))
    return not isinstance(value, list) or all(map(carried, value))


values = payload_values().filter(carried)
plain_values = json_values().filter(carried)
names = event_names().filter(carried)
spaces = namespaces().filter(carried)
auths = st.dictionaries(any_text().filter(carried), plain_values, max_size=3)


@given(spaces, names, st.lists(values, max_size=3), event_ids())
def test_events_and_acks_round_trip(namespace: str, name: str, args: list[Any], id: int | None) -> None:
    id = None if id is None else id % 2**64
    before = copy.deepcopy(args)
    (message,) = CODEC.event(namespace, name, args, id)
    assert isinstance(message, bytes)
    assert same(read(message), Event(namespace, [name, *args], id))
    (answer,) = CODEC.ack(namespace, id or 0, args)
    assert same(read(answer), Ack(namespace, args, id or 0))
    assert same(args, before)


@given(spaces, auths)
def test_the_other_packets_round_trip(namespace: str, data: dict[str, Any]) -> None:
    pairs: list[tuple[tuple[str | bytes, ...], Packet]] = [
        (CODEC.connect(namespace, data), Connect(namespace, data)),
        (CODEC.connect(namespace), Connect(namespace)),
        (CODEC.connect_error(namespace, data), ConnectError(namespace, data)),
        (CODEC.connect_error(namespace, "text"), ConnectError(namespace, "text")),
        (CODEC.disconnect(namespace), Disconnect(namespace)),
    ]
    for (message,), packet in pairs:
        assert same(read(message), packet)


@given(spaces, names, st.lists(plain_values, max_size=3), event_ids())
def test_both_forms_of_an_event_mean_the_same(namespace: str, name: str, args: list[Any], id: int | None) -> None:
    id = None if id is None else id % 2**64
    codecs: tuple[PacketCodec, ...] = (CODEC, TextCodec())
    packed, text = (codec.start(codec.event(namespace, name, args, id)[0], DEFAULT_LIMITS) for codec in codecs)
    assert same(packed, text)


@given(spaces, names, st.lists(values, max_size=3), st.integers(0, 2**63), st.sampled_from([CODEC, TextCodec()]))
def test_an_id_put_in_afterwards_is_the_same_packet(
    namespace: str, name: str, args: list[Any], id: int, codec: PacketCodec
) -> None:
    numbered = codec.numbering(namespace, codec.event(namespace, name, args))(id)
    if codec is CODEC:
        assert msgpack.unpackb(numbered[0]) == msgpack.unpackb(CODEC.event(namespace, name, args, id)[0])
    assert numbered == codec.event(namespace, name, args, id)


@given(st.binary(max_size=200) | st.builds(msgpack.packb, values))
def test_any_bytes_are_a_packet_or_an_error_of_the_clients(message: bytes) -> None:
    try:
        packet = read(message)
    except PacketError:
        return
    assert isinstance(packet, (Connect, Disconnect, Event, Ack, ConnectError))


@given(st.dictionaries(st.sampled_from(["type", "data", "nsp", "id"]), values | st.integers(-1, 6)))
def test_any_parts_are_a_packet_or_an_error_of_the_clients(parts: dict[str, Any]) -> None:
    try:
        packet = read_parts(**parts)
    except PacketError:
        return
    assert type(parts["type"]) is int
    assert packet.namespace.startswith("/")


def test_what_the_javascript_parser_accepts_is_what_is_written() -> None:
    written = {
        "connect": CODEC.connect("/", {"sid": "x"}),
        "disconnect": CODEC.disconnect("/chat"),
        "event": CODEC.event("/", "news", (b"\x01",)),
        "ask": CODEC.event("/chat", "news", (), 7),
        "ack": CODEC.ack("/", 0, (None,)),
        "refusal": CODEC.connect_error("/", {"message": "no"}),
    }
    assert {name: msgpack.unpackb(message) for name, (message,) in written.items()} == {
        "connect": {"type": 0, "data": {"sid": "x"}, "nsp": "/"},
        "disconnect": {"type": 1, "nsp": "/chat"},
        "event": {"type": 2, "data": ["news", b"\x01"], "nsp": "/"},
        "ask": {"type": 2, "data": ["news"], "nsp": "/chat", "id": 7},
        "ack": {"type": 3, "data": [None], "nsp": "/", "id": 0},
        "refusal": {"type": 4, "data": {"message": "no"}, "nsp": "/"},
    }


def test_what_javascript_and_python_clients_write() -> None:
    assert read_parts(type=0, data=UNDEFINED, nsp="/", options={"compress": True}) == Connect("/")
    assert read_parts(type=0, data={"token": 1}, nsp=None) == Connect("/", {"token": 1})
    assert read_parts(type=0, data=None) == Connect("/")
    assert read_parts(type=1, data=None, nsp="/x") == Disconnect("/x")
    assert read_parts(type=2, data=["a", UNDEFINED, {"b": UNDEFINED}], nsp="/x?y=1", id=None) == Event(
        "/x", ["a", None, {"b": None}]
    )
    assert read_parts(type=3, data=UNDEFINED, nsp="/", id=5) == Ack("/", [], 5)
    assert read_parts(type=2, data=["nan", math.inf], nsp="/") == Event("/", ["nan", math.inf])


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1709164800123, "2024-02-29T00:00:00.123Z"), (-1, "1969-12-31T23:59:59.999Z")],
)
def test_dates_are_the_text_that_json_makes_of_them(milliseconds: int, text: str) -> None:
    old = msgpack.ExtType(0, milliseconds.to_bytes(8, "big", signed=True))
    new = msgpack.Timestamp.from_unix_nano(milliseconds * 1_000_000)
    assert read_parts(type=2, data=["at", old, [new], {"when": new}], nsp="/") == Event(
        "/", ["at", text, [text], {"when": text}]
    )


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"", "bad MessagePack"),
        (b"\xc1", "bad MessagePack"),
        (b"\x93\x01", "bad MessagePack"),
        (msgpack.packb({"type": 0}) + b"\x00", "bad MessagePack"),
        (b"\x81\xa1\xff\x00", "bad MessagePack"),
        (msgpack.packb([2]), "must be a map"),
        ('2["text"]', "reads MessagePack"),
    ],
)
def test_messages_that_are_no_packet(message: Any, what: str) -> None:
    with pytest.raises(PacketError, match=what):
        read(message)


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({}, "packet type"),
        ({"type": 5, "data": ["a"], "nsp": "/"}, "packet type"),
        ({"type": True, "data": {}, "nsp": "/"}, "packet type"),
        ({"type": -1, "nsp": "/"}, "packet type"),
        ({"type": 2, "data": ["a"], "nsp": "chat"}, "slash"),
        ({"type": 2, "data": ["a"], "nsp": 3}, "slash"),
        ({"type": 2, "data": ["a"], "nsp": "/" + "x" * 1001}, "1002 characters"),
        ({"type": 2, "data": ["a"], "nsp": "/", "id": -1}, "acknowledgement id"),
        ({"type": 2, "data": ["a"], "nsp": "/", "id": "1"}, "acknowledgement id"),
        ({"type": 2, "data": ["a"], "nsp": "/", "id": False}, "acknowledgement id"),
        ({"type": 2, "nsp": "/"}, "must be a list"),
        ({"type": 2, "data": [], "nsp": "/"}, "must be a list"),
        ({"type": 2, "data": ["connect"], "nsp": "/"}, "reserved"),
        ({"type": 2, "data": [b"name"], "nsp": "/"}, "string or a number"),
        ({"type": 3, "data": {}, "nsp": "/", "id": 1}, "must be a list"),
        ({"type": 0, "data": "token", "nsp": "/"}, "strict_auth"),
        ({"type": 4, "data": 5, "nsp": "/"}, "object or a string"),
        ({"type": 2, "data": ["a", {b"key": 1}], "nsp": "/"}, "no text"),
        ({"type": 2, "data": ["a", {1: 1}], "nsp": "/"}, "bad MessagePack"),
        ({"type": 2, "data": ["a", msgpack.ExtType(9, b"")], "nsp": "/"}, "extension type 9"),
        ({"type": 2, "data": ["a", msgpack.ExtType(0, b"\x7f" + b"\xff" * 7)], "nsp": "/"}, "bad MessagePack"),
    ],
)
def test_parts_that_make_no_packet(parts: dict[str, Any], what: str) -> None:
    with pytest.raises(PacketError, match=what):
        read_parts(**parts)


def test_depth_is_counted_as_in_the_text_form() -> None:
    limits = Limits(max_depth=5)
    for depth in range(1, 8):
        nested: Any = "core"
        for _ in range(depth - 1):  # the list of the event itself is the first level
            nested = [nested]
        for codec in (CODEC, TextCodec()):
            with contextlib.nullcontext() if depth <= 5 else pytest.raises(PacketError, match="nested"):
                codec.start(codec.event("/", "deep", (nested,))[0], limits)


def test_a_payload_of_nothing_but_brackets_is_refused() -> None:
    for opening in (b"\x91", b"\x81\xa1a", b"\xdd\x00\x0f\x00\x00"):
        with pytest.raises(PacketError):
            read(b"\x81\xa4data" + opening * 100_000)


class Colour(str, enum.Enum):
    RED = "red"


def test_keys_are_written_as_json_writes_them() -> None:
    data = {1: "a", 1.5: "b", None: [{2: "d", True: "c"}], Colour.RED: ({False: b"\x00"},)}
    packet = read(CODEC.event("/", "keys", (data,))[0])
    assert isinstance(packet, Event)
    assert packet.data[1] == {"1": "a", "1.5": "b", "null": [{"2": "d", "true": "c"}], "red": [{"false": b"\x00"}]}


def test_bytes_of_every_kind_stay_in_their_places() -> None:
    packet = read(CODEC.event("/", "raw", (b"a", bytearray(b"b"), {"c": [memoryview(b"c")]}))[0])
    assert packet == Event("/", ["raw", b"a", b"b", {"c": [b"c"]}])


def _within_itself() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "error", "what"),
    [
        (object(), TypeError, "object"),
        ({1, 2}, TypeError, "set"),
        (datetime.datetime(2024, 1, 1), TypeError, "datetime"),
        ({b"key": 1}, TypeError, "keys must be str"),
        (2**64, ValueError, "64 bits"),
        (_within_itself(), ValueError, "contains itself"),
        ([{1: _within_itself()}], ValueError, "contains itself"),
        ("\ud800", ValueError, "surrogates"),
    ],
)
def test_what_cannot_be_sent_is_the_emitters_error(value: Any, error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        CODEC.event("/", "unsendable", (value,))


def test_numbering_is_told_apart() -> None:
    with pytest.raises(TypeError, match="bytes, not str"):
        CODEC.numbering("/", ("2[]",))
    with pytest.raises(TypeError, match="text, not with bytes"):
        TextCodec().numbering("/", (b"\x83",))
