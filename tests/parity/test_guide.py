"""The second table of ``docs/coming-from-flask-socketio.md``: what the classic guide states, restored and served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.parity.page import PAGE, guide_rows, restoring_options
from tests.support.python_client import python_client
from tests.support.servers import running
from trioflask_sio import SocketIO

TOPICS = [
    "Python 2.7", "one process", "1.3.6", "`room=`", "`ping_timeout`", "the client pings", "`max_http_buffer_size`",
    "the cookie `io`", "`binary`", "no parameters", "broadcasts", "request context", "session", "`authenticated_only`",
    "`run(extra_files=…)`", "gunicorn", "nginx", "debug=True", "`on_error_default`", "`allow_upgrades`",
    "`client_manager`",
]  # fmt: skip
"""What the rows of spec 1.14 are about."""


@pytest.mark.parametrize("topic", TOPICS)
def test_each_statement_of_the_guide_has_its_row(topic: str) -> None:
    [row] = [row for row in guide_rows() if topic in row[0]]
    assert len(row) == 3
    assert all(row)


def test_no_row_is_about_something_else() -> None:
    assert len(guide_rows()) == len(TOPICS)


def test_the_page_shows_all_options_together() -> None:
    together = ", ".join(f"{name}={value!r}" for name, value in restoring_options().items())
    page = PAGE.read_text(encoding="utf-8").replace("100_000_000", "100000000").replace('"io"', "'io'")
    assert f"SocketIO(app, {together})" in page


def test_a_server_with_everything_restored(tmp_path: Path) -> None:
    options = restoring_options()
    assert set(options) == {"ping_timeout", "max_http_buffer_size", "cookie"}
    with running(["-m", "tests.parity.restored_server"], tmp_path) as server:
        answer = requests.get(f"{server.url}/socket.io/?EIO=4&transport=polling", timeout=10)
        handshake = json.loads(answer.text[1:])
        assert handshake["pingTimeout"] == 60_000
        assert handshake["maxPayload"] == 100_000_000
        assert answer.cookies["io"] == handshake["sid"]
        for transport in ("polling", "websocket"):
            with python_client() as client:
                client.connect(server.url, transports=[transport])
                assert client.call("size", "x" * 3_000_000, timeout=10) == 3_000_000


def test_what_is_accepted_without_a_meaning() -> None:
    with pytest.warns(UserWarning, match="binary"):
        SocketIO(binary=True)
    with pytest.warns(UserWarning, match="async_mode"):
        SocketIO(async_mode="eventlet")
