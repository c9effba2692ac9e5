"""The room index against a plain model, and its promise that cost does not grow with the namespace."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trioflask_sio._types import Room
from trioflask_sio.hub.rooms import RoomIndex

SIDS = st.sampled_from(["s1", "s2", "s3", "s4"])
ROOMS = st.sampled_from(["r1", "r2", "r3", "s1", "s2", 7])
SPACES = st.sampled_from(["/", "/x"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), SPACES, SIDS, ROOMS),
        st.tuples(st.just("leave"), SPACES, SIDS, ROOMS),
        st.tuples(st.just("forget"), SPACES, SIDS, st.none()),
        st.tuples(st.just("close"), SPACES, st.none(), ROOMS),
    ),
    max_size=60,
)


class Model:
    """Who is where, as sets of pairs."""

    def __init__(self) -> None:
        self.known: set[tuple[str, str]] = set()
        self.inside: set[tuple[str, str, object]] = set()

    def join(self, namespace: str, sid: str, room: object) -> bool:
        new = (namespace, sid, room) not in self.inside
        self.known.add((namespace, sid))
        self.inside.add((namespace, sid, room))
        return new

    def leave(self, namespace: str, sid: str, room: object) -> bool:
        there = (namespace, sid, room) in self.inside
        self.inside.discard((namespace, sid, room))
        return there

    def forget(self, namespace: str, sid: str) -> set[object]:
        mine = {room for n, s, room in self.inside if (n, s) == (namespace, sid)}
        self.known.discard((namespace, sid))
        self.inside -= {(namespace, sid, room) for room in mine}
        return mine

    def close(self, namespace: str, room: object) -> bool:
        gone = {entry for entry in self.inside if (entry[0], entry[2]) == (namespace, room)}
        self.inside -= gone
        return bool(gone)


@given(STEPS)
def test_index_equals_a_set_of_pairs(steps: list[tuple[str, str, str, Room]]) -> None:
    index, model = RoomIndex(), Model()
    for what, namespace, sid, room in steps:
        if what == "join":
            assert index.join(namespace, sid, room) == model.join(namespace, sid, room)
        elif what == "leave":
            assert index.leave(namespace, sid, room) == model.leave(namespace, sid, room)
        elif what == "forget":
            assert set(index.forget(namespace, sid)) == model.forget(namespace, sid)
        else:
            assert index.close_room(namespace, room) == model.close(namespace, room)
    assert len(index) == len(model.known)
    for namespace in ("/", "/x"):
        same_answers(index, model, namespace)


def same_answers(index: RoomIndex, model: Model, namespace: str) -> None:
    inside = {(sid, room) for space, sid, room in model.inside if space == namespace}
    assert set(index.members(namespace, None)) == {sid for space, sid in model.known if space == namespace}
    assert set(index.rooms(namespace)) == {room for _, room in inside}
    for sid in ("s1", "s2", "s3", "s4"):
        assert set(index.rooms_of(namespace, sid)) == {room for s, room in inside if s == sid}
    targets: list[tuple[Room, ...]] = [("r1",), ("r2",), ("s1",), (7,), (), ("r1", "r2", "s1"), ("r3", 7, "r3")]
    for rooms in targets:
        members = list(index.members(namespace, rooms))
        assert len(members) == len(set(members))
        assert set(members) == {sid for sid, room in inside if room in rooms}


@given(STEPS)
def test_nothing_is_left_when_everybody_has_gone(steps: list[tuple[str, str, str, Room]]) -> None:
    index = RoomIndex()
    for what, namespace, sid, room in steps:
        if what == "join":
            index.join(namespace, sid, room)
    for namespace in ("/", "/x"):
        for sid in ("s1", "s2", "s3", "s4"):
            index.forget(namespace, sid)
    assert len(index) == 0
    assert list(index.rooms("/")) == list(index.rooms("/x")) == []


def _work(fn: Callable[[], object]) -> int:
    """Lines and returns executed, as a measure of cost that no busy machine can change."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        fn()
    finally:
        sys.settrace(before)
    return count


def _crowded(rooms: int) -> RoomIndex:
    index = RoomIndex()
    for number in range(rooms):
        index.join("/", f"other{number}", f"room{number}")
    for room in ("me", "a", "b"):
        index.join("/", "me", room)
    return index


def test_cost_does_not_depend_on_the_number_of_rooms_in_the_namespace() -> None:
    def cost(rooms: int) -> list[int]:
        index = _crowded(rooms)
        return [
            _work(lambda: index.join("/", "me", "c")),
            _work(lambda: index.members("/", ("me",))),
            _work(lambda: index.rooms_of("/", "me")),
            _work(lambda: index.leave("/", "me", "c")),
            _work(lambda: index.forget("/", "me")),
        ]

    assert cost(3) == cost(3_000)


def test_own_room_comes_first_and_members_in_joining_order() -> None:
    index = RoomIndex()
    for sid in ("c", "a", "b"):
        index.join("/", sid, sid)
        index.join("/", sid, "room")
    assert list(index.members("/", ("room",))) == ["c", "a", "b"]
    assert index.rooms_of("/", "a") == ["a", "room"]


def test_a_snapshot_does_not_change_with_the_room() -> None:
    index = RoomIndex()
    for sid in ("a", "b"):
        index.join("/", sid, "room")
    for rooms in (("room",), None, ("room", "other")):
        seen = index.members("/", rooms)
        index.leave("/", "a", "room")
        index.join("/", "late", "room")
        assert list(seen) == ["a", "b"]
        index.forget("/", "late")
        index.forget("/", "b")
        index.join("/", "a", "room")
        index.join("/", "b", "room")


def test_an_empty_namespace_is_forgotten() -> None:
    index = RoomIndex()
    index.join("/", "a", "room")
    index.forget("/", "a")
    assert index._spaces == {}
