"""``serializer="msgpack"``: the official client with its MessagePack parser goes through every conversation.

python-socketio's client shows that nil is read as what it means there: nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import clean_log
from tests.e2e.kinds import REFERENCE
from tests.e2e.test_js_client import CONVERSATIONS, MODES, outcomes
from tests.support.python_client import python_client
from tests.support.servers import Server, running

pytestmark = pytest.mark.skipif(REFERENCE, reason="its packets of this form are refused by the parser (spec 2.10.2)")

SPOKEN = tuple(name for name in CONVERSATIONS if name != "numbers")
"""All but one: this parser's encoder writes JavaScript's 1e21 modulo 2**64, so what comes back is another number."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("msgpack")
    options = {"E2E_OPTIONS": json.dumps({"serializer": "msgpack"})}
    with running(("-m", "tests.e2e.programs", "serve"), folder, env=options) as process, clean_log(process):
        yield process


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SPOKEN)
def test_conversation(server: Server, mode: str, name: str) -> None:
    outcome = outcomes(server.url, mode, SPOKEN, "socket.io-msgpack-parser")[name]
    assert outcome.ok, f"\n{outcome.error}"


@pytest.mark.parametrize("mode", ["polling", "websocket"])
def test_the_python_client_that_writes_nil_for_nothing(server: Server, mode: str) -> None:
    with python_client(serializer="msgpack") as client:
        client.connect(server.url, transports=[mode], namespaces=["/"])
        assert client.call("ask", {"raw": [b"\x00", 1.5], "none": None}) == {"raw": [b"\x00", 1.5], "none": None}
        client.disconnect()


def test_a_client_without_the_parser_is_put_out(server: Server) -> None:
    mark = server.mark()
    outcome = outcomes(server.url, "websocket", ("unicode",))["unicode"]
    assert not outcome.ok
    assert "this server reads MessagePack (serializer)" in server.said_since(mark)
