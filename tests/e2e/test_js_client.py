"""The official socket.io-client against every server, over every transport. The conversations are in client.js.

One node process runs all conversations of one server and transport; here each is a test of its own.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
from dataclasses import dataclass

import pytest

from tests.e2e.kinds import ALL, LONG
from tests.support.node import node
from tests.support.paths import E2E
from tests.support.servers import Server

MODES = ("polling", "websocket", "upgrade")
DRIVER = E2E / "client.js"
CONVERSATIONS = tuple(re.findall(r'^  async "?(.+?)"?\(visit\) {$', DRIVER.read_text(), re.MULTILINE))
SHORT = (
    "events both ways",
    "acks from the server",
    "acks from the client",
    "unicode",
    "nested binary, also in acks",
    "namespaces on one connection",
    "refusals carry message and data",
    "rooms",
    "broadcast with and without the sender",
    "the server disconnects",
    "500 KB both ways",
    "1,000 messages in order",
)
SECONDS = 240


@dataclass(frozen=True)
class Outcome:
    name: str
    ok: bool
    error: str | None
    ms: int


@functools.cache
def outcomes(url: str, mode: str, only: tuple[str, ...], parser: str | None = None) -> dict[str, Outcome]:
    found = node()
    order = json.dumps({"url": url, "mode": mode, "only": only, "parser": parser})
    done = subprocess.run(
        [found.executable, str(DRIVER), order], env=found.environment(), capture_output=True, text=True, timeout=SECONDS
    )
    told = [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]
    assert [outcome.name for outcome in told] == list(only), f"the driver ended early:\n{done.stderr}"
    return {outcome.name: outcome for outcome in told}


def cases() -> list[object]:
    chosen = [(kind, mode, name) for kind in LONG for mode in MODES for name in CONVERSATIONS]
    chosen += [(kind, mode, name) for kind in ALL if kind not in LONG for mode in MODES for name in SHORT]
    return [pytest.param(*case, id="-".join(case)) for case in chosen]


@pytest.mark.parametrize(("server", "mode", "name"), cases(), indirect=["server"])
def test_conversation(server: Server, mode: str, name: str, request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.params["server"]
    outcome = outcomes(server.url, mode, CONVERSATIONS if kind in LONG else SHORT)[name]
    assert outcome.ok, f"\n{outcome.error}"


def test_every_conversation_of_the_driver_is_known() -> None:
    found = node()
    said = subprocess.run(
        [found.executable, str(DRIVER), "--list"], env=found.environment(), capture_output=True, text=True, check=True
    )
    assert tuple(json.loads(said.stdout)) == CONVERSATIONS
    assert set(SHORT) <= set(CONVERSATIONS)
