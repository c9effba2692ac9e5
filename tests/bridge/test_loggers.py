"""``logger=`` and ``engineio_logger=``: True, False, or a logger object (spec 6.1, 6.2)."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from tests.bridge.kit import make, serving
from trioflask_sio import ConfigError, SocketIO, emit, join_room

pytestmark = pytest.mark.anyio

QUIET = {"logger": "trioflask_sio", "engineio_logger": "trioflask_sio.engine"}
TALKATIVE = {"logger": "trioflask_sio.socketio", "engineio_logger": "trioflask_sio.engineio"}
OPTIONS = pytest.mark.parametrize("option", list(QUIET))
SINGLE = {
    "logger": ["has joined /", "event 'boom' of client", "emitting 'news' in / to everybody", "has left /: client"],
    "engineio_logger": ["has opened a session over websocket", "has left: transport close"],
}
"""What is said of single events."""
FAILURE = {"logger": "The handler of 'boom' failed", "engineio_logger": "allow_request failed"}


class Kept(logging.Handler):
    """Keeps what a logger says."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def own(level: int) -> tuple[logging.Logger, Kept]:
    """A logger that belongs to nobody else."""
    logger, kept = logging.Logger("own", level), Kept()
    logger.addHandler(kept)
    return logger, kept


async def live(**options: Any) -> None:
    """A client comes, sends, fails a handler and leaves; another one is refused by a function that fails."""
    refusing: list[bool] = []

    def allow(request: Any) -> bool:
        return not refusing or 1 // 0 == 1

    socketio = make(allow_request=allow, **options)

    @socketio.on("boom")
    def boom() -> None:
        join_room("room")
        emit("news", broadcast=True)
        emit("gone", to="room")
        raise ZeroDivisionError

    async with serving(socketio) as net:
        peer = await net.peer()
        peer.emit("boom")
        await peer.next("gone")
        peer.leave()
        await net.empty()
        peer.cut()
        await peer.ended()
        refusing.append(True)
        wire = net.client.socket({"EIO": "4", "transport": "websocket"})
        assert await wire.wait_open() is not None


def said(records: list[logging.LogRecord], name: str | None = None) -> list[str]:
    return [record.getMessage() for record in records if name in (None, record.name)]


def found(texts: list[str], lines: list[str]) -> list[str]:
    """Those of ``texts`` that a line holds."""
    return [text for text in texts if any(text in line for line in lines)]


@OPTIONS
async def test_false_says_errors_only(option: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await live(**{option: False})
    lines = said(caplog.records, QUIET[option])
    assert found([FAILURE[option]], lines)
    assert not found(SINGLE[option], lines)
    failures = [record for record in caplog.records if FAILURE[option] in record.getMessage()]
    assert [(record.levelno, bool(record.exc_info)) for record in failures] == [(logging.ERROR, True)]


@OPTIONS
async def test_true_says_everything_by_a_logger_of_its_own(option: str, caplog: pytest.LogCaptureFixture) -> None:
    await live(**{option: True})
    lines = said(caplog.records, TALKATIVE[option])
    assert found([*SINGLE[option], FAILURE[option]], lines) == [*SINGLE[option], FAILURE[option]]
    caplog.clear()
    await live()  # another server in the process is as quiet as before
    assert not found(SINGLE[option], said(caplog.records))


@OPTIONS
async def test_a_logger_object_gets_it_all_and_its_level_decides(option: str, caplog: pytest.LogCaptureFixture) -> None:
    logger, kept = own(logging.DEBUG)
    await live(**{option: logger})
    assert found([*SINGLE[option], FAILURE[option]], said(kept.records)) == [*SINGLE[option], FAILURE[option]]
    assert not found([*SINGLE[option], FAILURE[option]], said(caplog.records))
    logger, kept = own(logging.ERROR)
    await live(**{option: logger})
    assert {record.levelno for record in kept.records} == {logging.ERROR}
    assert found([FAILURE[option]], said(kept.records))


@OPTIONS
@pytest.mark.parametrize("given", ["debug", 1.5, object()])
def test_anything_else_is_refused(option: str, given: object) -> None:
    options: dict[str, Any] = {option: given}
    with pytest.raises(ConfigError, match=f"^{option} must be True, False or a logger"):
        SocketIO(**options)


async def test_receivers_are_named(caplog: pytest.LogCaptureFixture) -> None:
    logger, kept = own(logging.DEBUG)
    socketio = make(logger=logger)
    async with serving(socketio):
        socketio.emit("one", to=["a", 7])
        socketio.emit("none", to=[])
    assert said(kept.records) == ["emitting 'one' in / to a, 7", "emitting 'none' in / to nobody"]


ALONE = """
import logging
from flask import Flask
from trioflask_sio import SocketIO
app = Flask("x")
socketio = SocketIO(app, logger={given})
socketio.on_event("ask", lambda: "answer")
client = socketio.test_client(app)
client.emit("ask", callback=True)
"""


@pytest.mark.parametrize("given", [True, False])
def test_true_is_seen_where_no_logging_is_configured(given: bool) -> None:
    command = [sys.executable, "-c", ALONE.format(given=given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ("event 'ask' of client" in done.stderr) == given
