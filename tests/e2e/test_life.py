"""Starting and stopping: signals, threads, ports, options, and the sentences for what a programmer did wrong."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kinds import COMMANDS, REFERENCE
from tests.e2e.wire import joined
from tests.support.servers import launch, start

pytestmark = pytest.mark.skipif(REFERENCE, reason="Flask-SocketIO is started and stopped in other ways")

PROGRAMS = ("-m", "tests.e2e.programs")
PROMPTLY = 5.0  # seconds: a stop with nothing to wait for takes far less than the shutdown timeout of 10


def ended(*words: str, folder: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a program that ends by itself; its exit code and what it said."""
    program = launch(words, folder, env=env)
    return program.wait(30), program.said_since()


def last_line(text: str) -> str:
    return text.rstrip().splitlines()[-1]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_signal_ends_the_server_promptly_and_in_order(kind: str, number: signal.Signals, tmp_path: Path) -> None:
    server = start(COMMANDS[kind], tmp_path)
    with joined(server.port) as (opened, _):
        began = time.monotonic()
        code = server.stop(number)
        assert time.monotonic() - began < PROMPTLY, server.said_since()
        assert opened.closed() != 1009
    assert code in ({0} if kind != "uvicorn" else {0, -number}), server.said_since()  # uvicorn raises the signal again
    assert "Traceback" not in server.said_since(), server.said_since()


@pytest.mark.parametrize("name", ["thread", "serve"])
def test_a_server_answers_from_any_thread(name: str, tmp_path: Path) -> None:
    server = start((*PROGRAMS, name), tmp_path)
    try:
        assert hello(server.port) == b"hello from Flask"
        with joined(server.port) as (opened, _):
            opened.send('421["ask","a"]')
            assert opened.receive() == '431["a"]'
    finally:
        server.stop(signal.SIGKILL if name == "thread" else signal.SIGTERM)
    assert "Traceback" not in server.said_since(), server.said_since()


def test_two_applications_in_one_process_know_nothing_of_each_other(tmp_path: Path) -> None:
    server = start((*PROGRAMS, "two"), tmp_path, listeners=2)
    try:
        with joined(server.ports[0]) as (first, _), joined(server.ports[1]) as (second, _):
            for opened, word in ((first, "first"), (second, "second")):
                opened.send('421["join","the room"]')
                assert opened.receive() == '431[["the room"]]'
                opened.send(f'42["say",{{"broadcast":true}},"{word}"]')
                assert opened.receive() == f'42["said","{word}"]'
                opened.send(f'42["say",{{"to":"the room"}},"{word} room"]')
                assert opened.receive() == f'42["said","{word} room"]'
            for port in server.ports:
                assert len(state(port)["connected"]) == 1
            for opened in (first, second):  # nothing of the other application came in between
                opened.send('422["ask","settle"]')
                assert opened.receive() == '432["settle"]'
    finally:
        server.stop()
    assert "Traceback" not in server.said_since(), server.said_since()


def hello(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as reply:
        return bytes(reply.read())


def state(port: int) -> dict[str, dict[str, str]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/state", timeout=20) as reply:
        found: dict[str, dict[str, str]] = json.load(reply)
        return found


# ------------------------------------------------------------------------------------------------- clear sentences


def test_a_port_in_use_is_one_sentence(taken_port: int, tmp_path: Path) -> None:
    code, said = ended(*PROGRAMS, "serve", json.dumps({"port": taken_port}), folder=tmp_path)
    assert code == 1
    assert str(taken_port) in last_line(said)
    assert "in use" in last_line(said)
    code, said = ended("-m", "trioflask_sio", "demo", "--port", str(taken_port), folder=tmp_path)
    assert code == 1
    assert said.count("\n") == 1, said
    assert str(taken_port) in said
    assert "in use" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pongtime": 1}, ["pongtime"]),
        ({"keepalive_timeout": 1}, ["keepalive_timeout", "keep_alive_timeout"]),
        ({"ping_interval": 1}, ["ping_interval", "SocketIO"]),
        ({"port": 70_000}, ["port", "70000"]),
        ({"port": "http"}, ["port", "'http'"]),
        ({"keep_alive_timeout": -1}, ["keep_alive_timeout", "-1"]),
        ({"keyfile": "key.pem"}, ["certfile"]),
        ({"certfile": "nowhere.pem"}, ["nowhere.pem"]),
    ],
)
def test_a_wrong_option_of_serve_is_one_sentence(options: dict[str, object], words: list[str], tmp_path: Path) -> None:
    code, said = ended(*PROGRAMS, "serve", json.dumps(options), folder=tmp_path)
    assert code == 1
    assert [word for word in words if word not in last_line(said)] == [], said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ping_intervall": 1}, ["ping_intervall", "ping_interval"]),
        ({"ping_interval": -1}, ["ping_interval", "-1"]),
        ({"ping_timeout": "soon"}, ["ping_timeout", "'soon'"]),
        ({"max_http_buffer_size": 0}, ["max_http_buffer_size", "0"]),
        ({"transports": ["carrier pigeon"]}, ["transports"]),
        ({"async_mode": "twisted"}, ["async_mode", "twisted"]),
        ({"cors_allowed_origins": 7}, ["cors_allowed_origins", "7"]),
        ({"serializer": "pickle"}, ["serializer", "pickle"]),
    ],
)
def test_a_wrong_option_of_socketio_is_one_sentence(
    options: dict[str, object], words: list[str], tmp_path: Path
) -> None:
    code, said = ended(*PROGRAMS, "options", json.dumps(options), folder=tmp_path)
    assert code == 1
    assert [word for word in words if word not in last_line(said)] == [], said


def test_an_application_without_socketio_is_told_the_two_lines(tmp_path: Path) -> None:
    code, said = ended(*PROGRAMS, "bare", folder=tmp_path)
    assert code == 1
    assert "from trioflask_sio import SocketIO" in said
    assert "SocketIO(app)" in said


def test_a_patched_process_is_refused_with_what_to_delete(tmp_path: Path) -> None:
    code, said = ended(*PROGRAMS, "patched", folder=tmp_path)
    assert code == 1
    assert "gevent" in last_line(said)
    assert "monkey" in last_line(said)
    assert "elete" in last_line(said) or "emove" in last_line(said)


def test_uvicorn_without_lifespan_is_a_clear_error(tmp_path: Path) -> None:
    command = ("-m", "uvicorn", "--port", "0", "--lifespan", "off", "tests.e2e.app:socketio")
    server = start(command, tmp_path)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server.url}/socket.io/?EIO=4&transport=polling", timeout=20)
        assert refused.value.code == 500
        text = refused.value.read().decode()
        refused.value.close()
    finally:
        server.stop()
    assert "lifespan" in text or "lifespan" in server.said_since()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("serve", "nowhere:app"), "nowhere"),
        (("serve", "nocolon"), "module:name"),
        (("serve", "tests.e2e.kinds:ALL"), "a Flask application or its SocketIO object"),
        (("serve", "tests.e2e.app:nothing"), "nothing"),
        (("demo", "--prot", "1"), "--port"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_no_traceback(
    words: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    code, said = ended("-m", "trioflask_sio", *words, folder=tmp_path)
    assert code != 0
    assert "Traceback" not in said, said
    assert expected in said
