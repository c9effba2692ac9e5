"""Runs every scenario that needs a server on both packages' own servers and compares what the clients saw."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parity.kit import Transcript
from tests.parity.test_parity import SIDES, compare
from tests.parity.wire_kit import Wire, WireScenario, load
from tests.support.servers import Server, running


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """One process for each package; it serves all scenarios."""
    folder = tmp_path_factory.mktemp("parity")
    command = ["-m", "tests.parity.wire_server"]
    with running([*command, "theirs"], folder) as theirs, running([*command, "ours"], folder) as ours:
        yield {"theirs": theirs, "ours": ours}


@pytest.mark.parametrize("scenario", load().values(), ids=lambda scenario: scenario.name)
def test_scenario(scenario: WireScenario, servers: dict[str, Server]) -> None:
    transcripts = {side: Transcript(side) for side in SIDES}
    for side, transcript in transcripts.items():
        scenario.drive(Wire(servers[side].url, scenario.namespace), transcript)
    compare(transcripts, scenario.differences)
