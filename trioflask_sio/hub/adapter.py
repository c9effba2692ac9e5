"""Who receives a broadcast: the interface, and the adapter of a single process.

The hub keeps sockets; an adapter keeps rooms and knows which other processes there are. It hands the local part of
every broadcast back to the hub through ``LocalDelivery``. All methods run on the loop's thread; only ``start`` and
``stop`` may wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from trioflask_sio._types import Room, Sid
from trioflask_sio.hub.rooms import RoomIndex

if TYPE_CHECKING:
    from trioflask_sio.hub.emission import Emission

__all__ = ["Adapter", "LocalAdapter", "LocalDelivery"]


class LocalDelivery(Protocol):
    """What an adapter asks of the hub."""

    def deliver(self, emission: Emission, sids: Iterable[Sid], /) -> None:
        """Put the packet into the outboxes of these local clients, minus those it skips (phase 1, no yield)."""


class Adapter(Protocol):
    """Rooms and broadcasts of one application, in one process or many."""

    def attach(self, local: LocalDelivery, /) -> None:
        """The hub this adapter delivers to. Called once, before anything else."""

    async def start(self) -> None:
        """Make ready; called when serving begins."""

    async def stop(self) -> None:
        """Let go of everything; called when serving has ended. Idempotent."""

    def join(self, namespace: str, sid: Sid, room: Room) -> None:
        """Put a local client into a room; the first join makes it known. Idempotent."""

    def leave(self, namespace: str, sid: Sid, room: Room) -> None:
        """Take a local client out of a room. Unknown ones are ignored."""

    def close_room(self, namespace: str, room: Room) -> None:
        """Take everybody out of a room, everywhere."""

    def rooms_of(self, namespace: str, sid: Sid) -> list[Room]:
        """The rooms of a local client in joining order (spec 2.6.5)."""

    def participants(self, namespace: str, room: Room | None) -> Iterable[Sid]:
        """A snapshot of the local clients in a room; None is the whole namespace."""

    def forget(self, namespace: str, sid: Sid) -> None:
        """A local client has left: it is in no room and no broadcast any more."""

    def broadcast(self, emission: Emission) -> str | None:
        """Deliver here, and everywhere else. Returns the packet's offset where the adapter keeps a log (spec 5.1)."""


class LocalAdapter:
    """One process, in memory."""

    __slots__ = ("_index", "_local")

    def __init__(self) -> None:
        self._index = RoomIndex()
        self._local: LocalDelivery | None = None

    def attach(self, local: LocalDelivery, /) -> None:
        self._local = local

    async def start(self) -> None:
        """There is nothing to connect to."""

    async def stop(self) -> None:
        """There is nothing to disconnect from."""

    def join(self, namespace: str, sid: Sid, room: Room) -> None:
        self._index.join(namespace, sid, room)

    def leave(self, namespace: str, sid: Sid, room: Room) -> None:
        self._index.leave(namespace, sid, room)

    def close_room(self, namespace: str, room: Room) -> None:
        self._index.close_room(namespace, room)

    def rooms_of(self, namespace: str, sid: Sid) -> list[Room]:
        return self._index.rooms_of(namespace, sid)

    def participants(self, namespace: str, room: Room | None) -> Iterable[Sid]:
        return self._index.members(namespace, None if room is None else (room,))

    def forget(self, namespace: str, sid: Sid) -> None:
        self._index.forget(namespace, sid)

    def broadcast(self, emission: Emission) -> str | None:
        if self._local is not None:
            self._local.deliver(emission, self._index.members(emission.namespace, emission.rooms))
        return None

    def __len__(self) -> int:
        """Memberships held; 0 when every client has left."""
        return len(self._index)
