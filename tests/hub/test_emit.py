"""Who receives what, in which order, and in how many pieces: spec 1.9.1, 2.6, 2.7 and design §8.4."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hub.harness import House, texts
from trioflask_sio._types import Room
from trioflask_sio.hub.emission import Numbered
from trioflask_sio.protocol.sio_codec import TextCodec
from trioflask_sio.protocol.sio_packet import encode_event
from trioflask_sio.testing.sessions import FakeSession


def crowd(house: House, count: int, namespace: str = "/") -> list[FakeSession]:
    return [house.join(namespace)[0] for _ in range(count)]


def test_everybody_in_the_namespace_and_nobody_else() -> None:
    house = House(namespaces=["/", "/x"])
    inside = crowd(house, 3)
    outside = crowd(house, 1, "/x")
    house.engine.open()
    house.emit("e", {"a": 1}, "ü", None)
    assert [texts(session) for session in inside] == [['2["e",{"a":1},"ü",null]']] * 3
    assert texts(outside[0]) == []
    house.emit("e", namespace="/x")
    assert texts(outside[0]) == ['2/x,["e"]']


def test_rooms_are_a_union_and_skip_takes_any_iterable() -> None:
    house = House()
    sessions = crowd(house, 4)
    places: list[tuple[int, Room]] = [(1, "a"), (2, "a"), (2, "b"), (3, "b"), (4, 7)]
    for number, room in places:
        house.hub.enter_room(f"sid-{number}", "/", room)

    def reached(**options: Any) -> list[int]:
        house.emit("e", **options)
        return [number for number, session in enumerate(sessions, 1) if texts(session)]

    assert reached(rooms=["a", "b"]) == [1, 2, 3]
    assert reached(rooms=(7,)) == [4]
    assert reached(rooms="b") == [2, 3]
    assert reached(rooms=["sid-3", "a"]) == [1, 2, 3]
    assert reached(rooms=[]) == []
    assert reached(rooms=["nowhere"]) == []
    assert reached(rooms=None) == [1, 2, 3, 4]
    for skip in (["sid-2"], ("sid-2",), {"sid-2"}, iter(["sid-2"]), "sid-2"):
        assert reached(rooms=["a", "b"], skip=skip) == [1, 3]
    assert reached(skip=["sid-1", "sid-4", "unknown"]) == [2, 3]
    assert reached(namespace="/nowhere") == []


def test_a_packet_is_shared_by_its_receivers() -> None:
    house = House()
    sessions = crowd(house, 3)
    house.hub.emit(house.hub.encode("/", "e", (b"\x00",)))
    items = [session.outbox[0] for session in sessions]
    assert all(item is items[0] for item in items)
    assert items[0].event == "e"


def test_emit_only_fills_outboxes_and_flush_sends() -> None:
    house = House()
    (session,) = crowd(house, 1)
    house.hub.emit(house.hub.encode("/", "e", ()))
    assert (len(session.outbox), session.sent) == (1, [])
    house.hub.flush()
    assert texts(session) == ['2["e"]']


def test_data_is_taken_as_it_is_at_the_call() -> None:
    house = House()
    (session,) = crowd(house, 1)
    data = {"n": 1}
    emission = house.hub.encode("/", "e", (data,))
    data["n"] = 2
    house.hub.emit(emission)
    house.hub.flush()
    assert texts(session) == ['2["e",{"n":1}]']


@pytest.mark.parametrize(("bad", "error"), [(object(), TypeError), (float("nan"), ValueError), ({1, 2}, TypeError)])
def test_what_cannot_be_sent_raises_to_the_caller(bad: object, error: type[Exception]) -> None:
    house = House()
    with pytest.raises(error):
        house.hub.encode("/", "e", (bad,))
    with pytest.raises(error):
        house.hub.encode("/", "e", (bad,), callback=print)


def test_a_closed_own_room_makes_a_client_unaddressable_but_not_deaf() -> None:
    house = House()
    (session,) = crowd(house, 1)
    house.hub.close_room("sid-1", "/")
    house.emit("direct", rooms=["sid-1"])
    house.emit("all")
    assert texts(session) == ['2["all"]']
    assert house.hub.rooms("sid-1", "/") == []


def test_a_session_that_takes_nothing_is_passed_over() -> None:
    house = House()
    sessions = crowd(house, 3)
    sessions[1].full = True
    house.emit("e")
    assert [texts(session) for session in sessions] == [['2["e"]'], [], ['2["e"]']]


def test_volatile_packets_are_for_those_who_can_take_them_now() -> None:
    house = House()
    sessions = crowd(house, 3)
    sessions[0].writable = False
    house.hub.emit(house.hub.encode("/", "queued", (), rooms=["sid-2"]))
    house.emit("e", volatile=True)
    assert [texts(session) for session in sessions] == [[], ['2["queued"]'], ['2["e"]']]
    assert house.hub.stats["volatile_dropped"] == 2


def test_many_attachments_are_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            house.hub.encode("/", "big", tuple(b"x" for _ in range(11)))
        house.hub.encode("/", "fine", tuple(b"x" for _ in range(10)))
    (line,) = caplog.records
    assert "event 'big' in namespace / carries 11 attachments" in line.getMessage()


DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=5), st.binary(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3), st.tuples(inner, inner)
    ),
    max_leaves=8,
)
NAMESPACES = st.sampled_from(["/", "/x", "/5-[", "/a-b/c"])


@given(NAMESPACES, st.text(max_size=8), st.lists(DATA, max_size=3), st.integers(1, 10**20))
def test_an_id_put_in_its_place_equals_a_packet_encoded_with_it(
    namespace: str, event: str, args: list[object], ack_id: int
) -> None:
    messages = encode_event(namespace, event, args)
    once = Numbered(messages, TextCodec().numbering(namespace, messages), event, volatile=False)
    assert once.with_id(ack_id).messages == encode_event(namespace, event, args, ack_id)


BURST = st.lists(
    st.tuples(st.sampled_from(["all", "sid-1", "sid-2", "room"]), st.integers(0, 3), st.booleans(), st.booleans()),
    max_size=30,
)
EARS = (("all", "sid-1"), ("all", "sid-2", "room"))
"""What each of two clients hears."""


@given(BURST)
def test_groups_stay_whole_and_each_client_sees_the_order_of_the_calls(
    burst: list[tuple[str, int, bool, bool]],
) -> None:
    house = House()
    sessions = crowd(house, 2)
    house.hub.enter_room("sid-2", "/", "room")
    for number, (target, blobs, ack, flush) in enumerate(burst):
        data = [bytes([number, blob]) for blob in range(blobs)]
        rooms = None if target == "all" else [target]
        house.hub.emit(house.hub.encode("/", "e", (number, *data), rooms=rooms, callback=print if ack else None))
        if flush:
            house.hub.flush()
    house.hub.flush()
    for session, ears in zip(sessions, EARS, strict=True):
        got = [number_of(group) for group in session.take()]
        assert got == [(number, entry[1]) for number, entry in enumerate(burst) if entry[0] in ears]


def number_of(group: tuple[str | bytes, ...]) -> tuple[int, int]:
    """The event's number, and how many attachments came with it, each checked to be its own."""
    head, *blobs = group
    assert isinstance(head, str)
    number = int(head[head.index('["e",') + 5 :].split(",")[0].rstrip("]"))
    assert blobs == [bytes([number, blob]) for blob in range(len(blobs))]
    return number, len(blobs)


def test_size_is_what_waits_with_an_emission() -> None:
    house = House()
    plain = house.hub.encode("/", "e", (b"abc",))
    numbered = house.hub.encode("/", "e", (b"abc",), callback=print)
    assert plain.size == numbered.size == len('51-["e",{"_placeholder":true,"num":0}]') + 3
