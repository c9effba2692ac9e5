"""Who is in which room: a two-way index of plain data, without an await.

Rules:

* Joining and leaving cost the same in a namespace of ten rooms and of ten thousand; leaving everything costs the
  number of the client's own rooms.
* Dictionaries, never sets: a broadcast goes out in joining order, the same in every run (design §8.12).
* A room exists while somebody is in it; a namespace's record exists while it has a member.
* Leaving every room does not remove a client from the namespace: a broadcast to all still reaches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trioflask_sio._types import Room, Sid

__all__ = ["RoomIndex"]


class _Space:
    """One namespace: members by room and rooms by member, each the mirror of the other."""

    __slots__ = ("members", "rooms")

    def __init__(self) -> None:
        self.members: dict[Sid, dict[Room, None]] = {}
        self.rooms: dict[Room, dict[Sid, None]] = {}


class RoomIndex:
    """Rooms of all namespaces of this process."""

    __slots__ = ("_spaces",)

    def __init__(self) -> None:
        self._spaces: dict[str, _Space] = {}

    def join(self, namespace: str, sid: Sid, room: Room) -> bool:
        """Put ``sid`` into ``room``; the first join makes it a member of the namespace. True when it was not inside."""
        space = self._spaces.get(namespace)
        if space is None:
            space = self._spaces[namespace] = _Space()
        mine = space.members.setdefault(sid, {})
        if room in mine:
            return False
        mine[room] = None
        space.rooms.setdefault(room, {})[sid] = None
        return True

    def leave(self, namespace: str, sid: Sid, room: Room) -> bool:
        """Take ``sid`` out of ``room``. True when it was inside."""
        space = self._spaces.get(namespace)
        mine = space.members.get(sid) if space is not None else None
        if space is None or mine is None or room not in mine:
            return False
        del mine[room]
        _remove(space, sid, room)
        return True

    def forget(self, namespace: str, sid: Sid) -> dict[Room, None]:
        """Take ``sid`` out of everything. Returns the rooms it was in, in joining order."""
        space = self._spaces.get(namespace)
        mine = space.members.pop(sid, None) if space is not None else None
        if space is None or mine is None:
            return {}
        for room in mine:
            _remove(space, sid, room)
        if not space.members:
            del self._spaces[namespace]
        return mine

    def close_room(self, namespace: str, room: Room) -> bool:
        """Take everybody out of ``room`` (spec 1.9.4). True when it existed."""
        space = self._spaces.get(namespace)
        inside = space.rooms.pop(room, None) if space is not None else None
        if space is None or inside is None:
            return False
        for sid in inside:
            del space.members[sid][room]
        return True

    def rooms_of(self, namespace: str, sid: Sid) -> list[Room]:
        """The rooms of ``sid`` in joining order, its own first."""
        space = self._spaces.get(namespace)
        return list(space.members.get(sid, ())) if space is not None else []

    def members(self, namespace: str, rooms: tuple[Room, ...] | None) -> Iterable[Sid]:
        """A snapshot of who is in any of ``rooms``, each once; None means the whole namespace.

        One room, the usual case, is one look-up and one copy.
        """
        space = self._spaces.get(namespace)
        if space is None:
            return ()
        if rooms is None:
            return tuple(space.members)
        if len(rooms) == 1:
            return tuple(space.rooms.get(rooms[0], ()))
        union: dict[Sid, None] = {}
        for room in rooms:
            union.update(space.rooms.get(room, {}))
        return union

    def rooms(self, namespace: str) -> Iterator[Room]:
        """The rooms of a namespace that have members."""
        space = self._spaces.get(namespace)
        return iter(tuple(space.rooms)) if space is not None else iter(())

    def __len__(self) -> int:
        """How many memberships of namespaces are held; 0 when nothing is left."""
        return sum(len(space.members) for space in self._spaces.values())


def _remove(space: _Space, sid: Sid, room: Room) -> None:
    inside = space.rooms[room]
    del inside[sid]
    if not inside:
        del space.rooms[room]
