"""Attachments out and in (spec 2.1.5, 2.2, 2.2.3)."""

from __future__ import annotations

import collections
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import event_ids, event_names, namespaces, payload_values, same
from trioflask_sio.exceptions import PacketError
from trioflask_sio.protocol.limits import Limits
from trioflask_sio.protocol.sio_binary import Assembler
from trioflask_sio.protocol.sio_packet import Ack, Event, encode_ack, encode_event
from trioflask_sio.protocol.sio_tree import deconstruct

MARK = '{"_placeholder":true,"num":%d}'
WIDE = Limits(max_attachments=10_000)


def feed(assembler: Assembler, *messages: str | bytes) -> list[object]:
    return [packet for message in messages if (packet := assembler.feed(message)) is not None]


@given(namespaces(), event_names(), st.lists(payload_values(), max_size=4), event_ids())
def test_round_trip_in_value_and_type(namespace: str, name: str, args: list[Any], id: int | None) -> None:
    before = copy.deepcopy(args)
    assembler = Assembler(WIDE)
    messages = encode_event(namespace, name, args, id)
    (event,) = feed(assembler, *messages)
    assert isinstance(event, Event)
    assert (event.namespace, event.id, event.attachments) == (namespace, id, len(messages) - 1)
    assert same(event.data, [name, *args])
    (ack,) = feed(assembler, *encode_ack(namespace, 5, args))
    assert isinstance(ack, Ack)
    assert same(ack.data, args)
    assert same(args, before)
    assert not assembler.waiting


@given(
    st.lists(
        st.one_of(st.sampled_from(['2["x"]', f'52-["x",{MARK % 0}]', f'51-["x",{MARK % 0}]', "0", "9"]), st.binary())
    )
)
def test_any_messages_are_packets_or_our_error(messages: list[str | bytes]) -> None:
    assembler = Assembler(Limits(max_attachment_bytes=20))
    for message in messages:
        try:
            assembler.feed(message)
        except PacketError:
            assert not assembler.waiting
        assert assembler.pending_bytes <= 20


def test_what_counts_as_bytes() -> None:
    Point = collections.namedtuple("Point", "x y")  # the untyped form is what applications send
    args = [(b"a", [memoryview(b"b")]), {"k": bytearray(b"c")}, Point(1, b"d"), collections.OrderedDict(z=b"e")]
    messages = encode_event("/", "x", args)
    assert messages[1:] == (b"a", b"b", b"c", b"d", b"e")
    assert all(type(message) is bytes for message in messages[1:])
    (event,) = feed(Assembler(), *messages)
    assert isinstance(event, Event)
    assert event.data == ["x", [b"a", [b"b"]], {"k": b"c"}, [1, b"d"], {"z": b"e"}]


def test_data_is_copied_only_where_it_must() -> None:
    plain = [{"a": (1, 2)}]
    assert deconstruct(plain) == (plain, ())
    assert deconstruct(plain)[0] is plain
    data = {"a": [b"x"], "b": [1]}
    tree, attachments = deconstruct(data)
    assert tree == {"a": [{"_placeholder": True, "num": 0}], "b": [1]}
    assert attachments == (b"x",)
    assert data == {"a": [b"x"], "b": [1]}


def test_bytes_sent_are_the_bytes_of_the_moment() -> None:
    buffer = bytearray(b"before")
    messages = encode_event("/", "x", [buffer])
    buffer[:] = b"after."
    assert messages[1] == b"before"


def test_data_that_contains_itself_is_refused() -> None:
    data: list[Any] = [b"x"]
    data.append(data)
    for bad in (data, [[], data[1:]]):
        with pytest.raises(ValueError, match="contains itself"):
            encode_event("/", "x", bad)


def test_attachments_come_one_by_one() -> None:
    assembler = Assembler()
    assert feed(assembler, f'52-/a,7["x",{MARK % 1},{{"k":{MARK % 0}}}]', b"first") == []
    assert assembler.pending_bytes == 5
    assert assembler.feed(b"second") == Event("/a", ["x", b"second", {"k": b"first"}], 7, 2)
    assert not assembler.waiting
    assert assembler.pending_bytes == 0
    assert assembler.feed('2["y"]') == Event("/", ["y"])


def test_an_unused_attachment_is_dropped() -> None:
    assert feed(Assembler(), '51-["x",1]', b"spare") == [Event("/", ["x", 1], None, 1)]


def test_text_between_attachments_is_refused() -> None:
    assembler = Assembler()
    feed(assembler, f'52-["x",{MARK % 0}]', b"first")
    with pytest.raises(PacketError, match="a text message while 1 of 2 attachments are missing"):
        assembler.feed('2["y"]')
    assert not assembler.waiting
    assert assembler.pending_bytes == 0


def test_binary_without_a_header_is_refused() -> None:
    assembler = Assembler()
    with pytest.raises(PacketError, match="3 bytes of binary that no packet announced"):
        assembler.feed(b"abc")
    feed(assembler, f'51-["x",{MARK % 0}]', b"only")
    with pytest.raises(PacketError, match="no packet announced"):
        assembler.feed(b"one more")


def test_bytes_that_wait_are_capped() -> None:
    assembler = Assembler(Limits(max_attachment_bytes=10))
    assert feed(assembler, f'52-["x",{MARK % 0}]', b"12345", b"67890") != []
    feed(assembler, f'53-["x",{MARK % 0}]', b"12345", b"67890")
    with pytest.raises(PacketError, match="attachments of at least 11 bytes in one packet; at most 10"):
        assembler.feed(b"!")
    assert not assembler.waiting
    assert assembler.pending_bytes == 0


def test_reset_forgets_what_waits() -> None:
    assembler = Assembler()
    feed(assembler, f'52-["x",{MARK % 0}]', b"first")
    assembler.reset()
    assert not assembler.waiting
    assert assembler.pending_bytes == 0
    assert assembler.feed("0") is not None
