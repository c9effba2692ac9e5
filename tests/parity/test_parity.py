"""Runs every scenario on both packages and compares what they saw, entry by entry."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from tests.parity import scenarios
from tests.parity.kit import SCENARIOS, Scenario, Transcript, api
from tests.parity.page import differences
from tests.parity.wire_kit import load

for _module in pkgutil.iter_modules(scenarios.__path__):
    importlib.import_module(f"tests.parity.scenarios.{_module.name}")

SIDES = ("theirs", "ours")


def compare(transcripts: dict[str, Transcript], shown: frozenset[str]) -> None:
    """Entry by entry: equal where nothing is said, and exactly what was said where a difference is named."""
    theirs, ours = (transcripts[side].entries for side in SIDES)
    assert [(entry.label, entry.difference) for entry in ours] == [(entry.label, entry.difference) for entry in theirs]
    assert theirs, "a scenario that saw nothing proves nothing"
    for left, right in zip(theirs, ours, strict=True):
        if left.difference is None:
            assert right.value == left.value, f"{left.label}: Flask-SocketIO shows {left.value!r}"
        else:
            assert left.expected != right.expected, f"{left.label}: this is no difference"
            assert left.value == left.expected, f"{left.label} (theirs)"
            assert right.value == right.expected, f"{left.label} (ours)"
    assert {entry.difference for entry in theirs if entry.difference} == shown


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_scenario(scenario: Scenario) -> None:
    transcripts = {side: Transcript(side) for side in SIDES}
    for side, transcript in transcripts.items():
        scenario.run(api(side), transcript)
    compare(transcripts, scenario.differences)


def test_every_difference_is_listed_once_and_shown() -> None:
    listed = differences()
    assert len(listed) == len(set(listed))
    of_all = [scenario.differences for scenario in SCENARIOS.values()] + [each.differences for each in load().values()]
    assert frozenset().union(*of_all) == set(listed)
