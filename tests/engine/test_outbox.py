"""The queue of one client: bounded, groups whole, control packets in front, rests first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.kit import item
from trioflask_sio.engine.outbox import CHUNK_BYTES, Outbox
from trioflask_sio.protocol.eio_packet import Noop, Ping, Pong
from trioflask_sio.protocol.eio_payload import V4
from trioflask_sio.testing.frames import FrameReader


def make(max_bytes: int = 1000, max_packets: int = 10) -> Outbox:
    return Outbox(max_bytes, max_packets)


def test_an_empty_one_is_false_and_gives_nothing() -> None:
    box = make()
    assert not box
    assert bytes(box.take_bytes(V4)) == b""
    assert box.take_messages(V4) == []
    assert box.take_elements(V4) == []


def test_control_packets_overtake_data_and_are_not_doubled() -> None:
    box = make()
    box.put(item("a"))
    for packet in (Ping(), Pong(), Ping(), Noop(), Pong()):
        box.put_control(packet)
    box.put(item("b", b"\x01"))
    assert box.take_elements(V4) == ["2", "3", "6", "4a", "4b", "bAQ=="]
    assert (bool(box), box.size, box.packets) == (False, 0, 0)


@pytest.mark.parametrize(("sizes", "taken"), [([500, 500, 1], 2), ([2000, 1], 1), ([1] * 12, 10), ([999, 2], 1)])
def test_the_limits_count_what_accumulates(sizes: list[int], taken: int) -> None:
    box = make()
    assert [box.put(item("x" * size)) for size in sizes] == [True] * taken + [False] * (len(sizes) - taken)
    assert box.groups == taken
    assert box.packets == taken
    assert box.size == sum(sizes[:taken])


def test_a_groups_packets_count_one_by_one() -> None:
    box = make()
    assert box.put(item(*"abcdefghi"))
    assert not box.put(item("j", "k"))
    assert box.put(item("j"))


def test_a_rest_comes_first_and_counts() -> None:
    box = make()
    box.put(item("later"))
    box.put_control(Ping())
    box.put_rest(b"0123456789", 4)
    assert box.size == 11
    assert bytes(box.take_bytes(V4)) == b"456789"
    assert FrameReader().feed(box.take_bytes(V4)) == ["2", "4later"]
    assert box.size == 0


def test_discarding_keeps_a_frame_that_was_begun() -> None:
    box = make()
    box.put(item("later"))
    box.put_control(Ping())
    box.put_rest(b"0123456789", 4)
    box.discard()
    assert (box.size, box.packets, box.groups) == (6, 0, 0)
    assert bytes(box.take_bytes(V4)) == b"456789"
    assert not box


def test_one_receivers_broadcast_is_the_shared_bytes_themselves() -> None:
    shared = item("news")
    boxes = [make() for _ in range(3)]
    for box in boxes:
        box.put(shared)
    assert all(box.take_bytes(V4) is shared.frames(V4) for box in boxes)


def test_a_write_joins_about_a_chunk_and_never_splits_a_group() -> None:
    box = Outbox(10 * CHUNK_BYTES, 1000)
    third = CHUNK_BYTES // 3
    sent = [item("x" * third) for _ in range(7)] + [item("y" * 2 * CHUNK_BYTES)] + [item("z")]
    for group in sent:
        assert box.put(group)
    counts = []
    while box:
        counts.append(len(FrameReader().feed(box.take_bytes(V4))))
    assert counts == [3, 3, 1, 1, 1]


def test_messages_come_group_by_group() -> None:
    box = make()
    box.put(item("a", b"\x01"))
    box.put(item("b"))
    box.put_control(Ping())
    assert box.take_messages(V4) == ["2", "4a", b"\x01"]
    assert box.take_messages(V4) == ["4b"]


@given(
    st.lists(
        st.one_of(
            st.lists(st.text(max_size=30), min_size=1, max_size=3).map(tuple),
            st.just("ping"),
            st.integers(1, 40),
        ),
        max_size=60,
    )
)
def test_whatever_is_put_in_comes_out_once_in_order_under_any_partial_writes(plan: list[object]) -> None:
    box = Outbox(10**9, 10**9)
    reader = FrameReader()
    expected: list[str] = []
    got: list[str] = []

    def write(limit: int) -> None:
        data = box.take_bytes(V4)
        got.extend(str(m) for m in reader.feed(data[:limit]))
        if len(data) > limit:
            box.put_rest(data, limit)

    for step in plan:
        if isinstance(step, tuple):
            assert box.put(item(*step))
            expected.extend("4" + text for text in step)
        elif isinstance(step, int):
            write(step)
        else:
            box.put_control(Ping())
    while box:
        write(1 << 40)
    assert [text for text in got if text != "2"] == expected
    assert (box.size, box.packets) == (0, 0)
