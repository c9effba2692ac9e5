"""Contracts: suites that every implementation of one of our interfaces passes, ours and yours.

``adapter_contract`` is for adapters of the hub. A test of your own adapter is three lines::

    @pytest.mark.trio
    async def test_my_adapter_keeps_the_contract():
        await adapter_contract(MyAdapter)

A broken rule raises ``AssertionError`` with the rule's sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from trioflask_sio._types import Room, Sid
from trioflask_sio.hub.adapter import Adapter
from trioflask_sio.hub.emission import Emission
from trioflask_sio.protocol.outgoing import Outgoing

__all__ = ["ADAPTER_RULES", "RecordingHub", "adapter_contract"]


class RecordingHub:
    """The hub's side of an adapter: notes every delivery."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[Emission, list[Sid]]] = []

    def deliver(self, emission: Emission, sids: Iterable[Sid], /) -> None:
        """Note who would receive ``emission``, in order."""
        self.deliveries.append((emission, list(sids)))

    def take(self) -> list[list[Sid]]:
        """The receivers of every delivery since the last look."""
        taken, self.deliveries = self.deliveries, []
        return [sids for _, sids in taken]


def _emission(rooms: Sequence[Room] | None, namespace: str = "/") -> Emission:
    targets = None if rooms is None else tuple(rooms)
    item = Outgoing(('2["e"]',), event="e")
    return Emission(namespace, "e", (), item, targets, frozenset(), None, False, None, None)


def _reached(adapter: Adapter, hub: RecordingHub, rooms: Sequence[Room] | None, namespace: str = "/") -> list[Sid]:
    hub.take()
    adapter.broadcast(_emission(rooms, namespace))
    return [sid for sids in hub.take() for sid in sids]


def _need(condition: bool, rule: str) -> None:
    if not condition:
        raise AssertionError(rule)


def _joins_are_idempotent_and_ordered(adapter: Adapter, hub: RecordingHub) -> None:
    for room in ("a", "one", 7, "one"):
        adapter.join("/", "a", room)
    _need(adapter.rooms_of("/", "a") == ["a", "one", 7], "rooms_of lists each room once, in joining order")
    _need(list(adapter.participants("/", 7)) == ["a"], "a room may be named by a number")
    _need(adapter.rooms_of("/", "nobody") == [], "an unknown client is in no room")
    _need(adapter.rooms_of("/none", "a") == [], "an unknown namespace has no rooms")


def _a_broadcast_reaches_each_member_once(adapter: Adapter, hub: RecordingHub) -> None:
    for sid in ("a", "b", "c"):
        adapter.join("/", sid, sid)
        adapter.join("/", sid, "all")
    adapter.join("/", "b", "two")
    adapter.join("/", "d", "two")
    _need(_reached(adapter, hub, ["all"]) == ["a", "b", "c"], "a room is reached in joining order")
    _need(_reached(adapter, hub, ["b"]) == ["b"], "a client is addressed by its own room")
    _need(sorted(_reached(adapter, hub, ["two", "all"])) == ["a", "b", "c", "d"], "several rooms are a union")
    _need(_reached(adapter, hub, None) == ["a", "b", "c", "d"], "None is the whole namespace")
    _need(_reached(adapter, hub, []) == [], "no room is nobody")
    _need(_reached(adapter, hub, ["nowhere"]) == [], "an empty room is nobody")


def _namespaces_are_apart(adapter: Adapter, hub: RecordingHub) -> None:
    adapter.join("/", "a", "room")
    adapter.join("/x", "b", "room")
    _need(_reached(adapter, hub, ["room"], "/x") == ["b"], "equal names in two namespaces are two rooms")
    adapter.close_room("/x", "room")
    _need(list(adapter.participants("/", "room")) == ["a"], "closing a room empties it in its namespace only")


def _leaving_forgets_both_ways(adapter: Adapter, hub: RecordingHub) -> None:
    for sid in ("a", "b"):
        adapter.join("/", sid, sid)
        adapter.join("/", sid, "r")
    adapter.leave("/", "a", "r")
    _need(adapter.rooms_of("/", "a") == ["a"], "leave takes the room from the client")
    _need(list(adapter.participants("/", "r")) == ["b"], "leave takes the client from the room")
    for sid, room in (("a", "r"), ("nobody", "r"), ("a", "nowhere")):
        adapter.leave("/", sid, room)
    adapter.leave("/none", "a", "r")
    adapter.forget("/", "b")
    _need(adapter.rooms_of("/", "b") == [], "forget takes every room from the client")
    _need(_reached(adapter, hub, ["r", "b"]) == [], "forget takes the client from every room")
    _need(_reached(adapter, hub, None) == ["a"], "forget takes the client from the namespace")
    adapter.forget("/", "b")
    adapter.forget("/none", "b")


def _a_closed_own_room_is_unaddressable(adapter: Adapter, hub: RecordingHub) -> None:
    adapter.join("/", "a", "a")
    adapter.close_room("/", "a")
    _need(_reached(adapter, hub, ["a"]) == [], "a client whose room was closed has no address (spec 2.6.3)")
    _need(_reached(adapter, hub, None) == ["a"], "a client without rooms is still in its namespace")
    adapter.close_room("/", "a")
    adapter.close_room("/none", "a")


def _a_snapshot_is_handed_out(adapter: Adapter, hub: RecordingHub) -> None:
    for sid in ("a", "b"):
        adapter.join("/", sid, "r")
    for room in ("r", None):
        seen = adapter.participants("/", room)
        adapter.join("/", f"late-{room}", "r")
        _need(list(seen)[:2] == ["a", "b"] and f"late-{room}" not in seen, "participants is a snapshot")
    emission = _emission(["r"])
    adapter.broadcast(emission)
    _need(hub.deliveries[-1][0] is emission, "the local part of a broadcast is the emission itself")


ADAPTER_RULES: tuple[Callable[[Adapter, RecordingHub], None], ...] = (
    _joins_are_idempotent_and_ordered,
    _a_broadcast_reaches_each_member_once,
    _namespaces_are_apart,
    _leaving_forgets_both_ways,
    _a_closed_own_room_is_unaddressable,
    _a_snapshot_is_handed_out,
)
"""Each rule takes a fresh, started adapter and the hub it delivers to."""


async def adapter_contract(make: Callable[[], Adapter]) -> None:
    """Run every rule on an adapter of its own.

    Args:
        make: builds an adapter; it is attached, started and stopped here.

    Raises:
        AssertionError: a rule is broken; the message is the rule.
    """
    for rule in ADAPTER_RULES:
        adapter, hub = make(), RecordingHub()
        adapter.attach(hub)
        await adapter.start()
        try:
            rule(adapter, hub)
        finally:
            await adapter.stop()
            await adapter.stop()
