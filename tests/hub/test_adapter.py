"""The in-memory adapter passes the contract, and the contract notices who breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trioflask_sio._types import Room, Sid
from trioflask_sio.hub.adapter import LocalAdapter
from trioflask_sio.hub.emission import Emission
from trioflask_sio.testing.contracts import RecordingHub, adapter_contract


@pytest.mark.trio
async def test_local_adapter_keeps_the_contract() -> None:
    await adapter_contract(LocalAdapter)


class Forgetful(LocalAdapter):
    """Keeps the members of a room when the client leaves it."""

    def leave(self, namespace: str, sid: Sid, room: Room) -> None:
        """Do nothing."""


class Deaf(LocalAdapter):
    """Delivers to nobody."""

    def broadcast(self, emission: Emission) -> str | None:
        """Do nothing."""
        return None


class Merging(LocalAdapter):
    """Takes all namespaces for one."""

    def join(self, namespace: str, sid: Sid, room: Room) -> None:
        """Everything into the root."""
        super().join("/", sid, room)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (Forgetful, "leave takes the room from the client"),
        (Deaf, "a room is reached in joining order"),
        (Merging, "equal names in two namespaces are two rooms"),
    ],
)
async def test_the_contract_names_the_rule_that_is_broken(broken: Callable[[], LocalAdapter], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        await adapter_contract(broken)


def test_nothing_is_held_for_clients_that_left() -> None:
    adapter = LocalAdapter()
    adapter.attach(RecordingHub())
    adapter.join("/", "a", "a")
    assert len(adapter) == 1
    adapter.forget("/", "a")
    assert len(adapter) == 0
