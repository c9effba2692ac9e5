"""What a user sees on the terminal: sentences in the command line's words, and no traceback that buries them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from flask import Flask

from trioflask_sio import SocketIO, serve
from trioflask_sio.bridge.cli import main


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_in_use_is_one_sentence_with_the_options_of_the_command(taken_port: int) -> None:
    done = CliRunner().invoke(main, ["demo", "--port", str(taken_port)])
    assert done.exit_code == 1
    assert done.output.startswith(f"Error: port {taken_port} on 127.0.0.1 is already in use")
    assert "--port 0" in done.output
    assert "port=" not in done.output
    assert "Traceback" not in done.output


def test_a_program_whose_port_is_in_use_sees_its_own_line_and_the_sentence(taken_port: int) -> None:
    app = Flask("busy")
    SocketIO(app)
    with pytest.raises(OSError, match=r"already in use.*port=0 takes any free one") as caught:
        serve(app, port=taken_port)
    assert caught.value.errno
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "one traceback, not two"
    assert [entry.name for entry in caught.traceback][1:] == ["serve"], "and of this package the one frame"


@pytest.mark.parametrize("target", ["chat", ":socketio", "no_such_module:socketio", "json:socketio"])
def test_a_target_that_cannot_be_is_one_sentence(target: str) -> None:
    done = CliRunner().invoke(main, ["serve", target])
    assert done.exit_code == 2
    assert "Invalid value" in done.output
    assert "Traceback" not in done.output


def test_a_target_that_is_no_application_says_what_was_expected() -> None:
    done = CliRunner().invoke(main, ["serve", "json:dumps"])
    assert done.exit_code == 1
    assert "Flask application or its SocketIO" in done.output
