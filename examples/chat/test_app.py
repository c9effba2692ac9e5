"""The chat as its users see it: two Python clients talk, and, where there is a Chromium, two tabs of a real browser."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio as python_socketio

from tests.support.node import node
from tests.support.paths import ROOT
from tests.support.python_client import python_client
from tests.support.servers import Server, running

DEMO = ("-m", "trioflask_sio", "demo", "--port", "0")
SECONDS = 20
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    client = node().modules / "socket.io-client" / "dist" / "socket.io.min.js"
    with running(DEMO, tmp_path_factory.mktemp("chat"), env={"CHAT_CLIENT_JS": str(client)}) as server:
        yield server
    assert "Traceback" not in server.said_since(), server.said_since()


class Person:
    """A client that keeps what it hears, each event in a queue of its own."""

    def __init__(self, client: python_socketio.Client, url: str, name: str) -> None:
        self.client = client
        self.heard: dict[str, queue.Queue[Any]] = {event: queue.Queue() for event in ("message", "people", "typing")}
        for event, heard in self.heard.items():
            self.client.on(event, heard.put)
        self.client.connect(url, auth={"name": name}, transports=["websocket"], wait_timeout=SECONDS)

    def ask(self, event: str, value: Any) -> Any:
        return self.client.call(event, value, timeout=SECONDS)

    def next(self, event: str) -> Any:
        return self.heard[event].get(timeout=SECONDS)


@contextlib.contextmanager
def people(url: str, *names: str) -> Iterator[list[Person]]:
    with contextlib.ExitStack() as stack:
        yield [Person(stack.enter_context(python_client()), url, name) for name in names]


def test_two_people_talk(chat: Server) -> None:
    with people(chat.url, "Ada", "Grace  Hopper") as (ada, grace):
        assert ada.ask("join", "engines") == {"room": "engines", "messages": [], "people": ["Ada"]}
        assert ada.ask("say", "Is anybody here? 👋 <b>") is True
        joined = grace.ask("join", "engines")
        assert joined["people"] == ["Ada", "Grace Hopper"]
        assert [message["text"] for message in joined["messages"]] == ["Is anybody here? 👋 <b>"]
        assert ada.next("people") == ["Ada"]
        assert ada.next("people") == ["Ada", "Grace Hopper"]
        grace.ask("say", "I am.")
        assert ada.next("message")["text"] == "Is anybody here? 👋 <b>"
        said = ada.next("message")
        assert (said["name"], said["text"]) == ("Grace Hopper", "I am.")


def test_typing_reaches_the_others_only(chat: Server) -> None:
    with people(chat.url, "Ada", "Grace") as (ada, grace):
        ada.ask("join", "quiet")
        grace.ask("join", "quiet")
        grace.ask("typing", True)
        hint = ada.next("typing")
        assert (hint["name"], hint["typing"]) == ("Grace", True)
        grace.ask("say", "done")
        grace.next("message")
        assert grace.heard["typing"].empty()


def test_who_leaves_is_seen_to_leave(chat: Server) -> None:
    with people(chat.url, "Ada") as (ada,):
        ada.ask("join", "station")
        with people(chat.url, "Grace") as (grace,):
            grace.ask("join", "station")
            assert [ada.next("people"), ada.next("people")] == [["Ada"], ["Ada", "Grace"]]
        assert ada.next("people") == ["Ada"]
        ada.ask("join", "elsewhere")
        assert ada.ask("join", "station")["people"] == ["Ada"]


def test_nothing_is_said_without_words_or_room(chat: Server) -> None:
    with people(chat.url, "Ada") as (ada,):
        assert ada.ask("say", "too early") is False
        ada.ask("join", "here")
        assert ada.ask("say", "   ") is False


@pytest.mark.parametrize("name", ["", "   ", "x" * 31])
def test_an_unusable_name_is_refused(chat: Server, name: str) -> None:
    refusals: queue.Queue[Any] = queue.Queue()
    with python_client() as client:
        client.on("connect_error", refusals.put)
        with pytest.raises(python_socketio.exceptions.ConnectionError):
            client.connect(chat.url, auth={"name": name}, transports=["websocket"], wait_timeout=SECONDS)
    assert refusals.get(timeout=SECONDS)["message"] == "Please choose a name of 1 to 30 characters."


def test_the_page_names_the_client_that_is_configured(chat: Server, tmp_path: Path) -> None:
    with urllib.request.urlopen(chat.url) as reply:
        assert b'<script src="client.js"></script>' in reply.read()
    with urllib.request.urlopen(f"{chat.url}/client.js") as reply:
        assert reply.headers["content-type"].startswith("text/javascript")
    with running(DEMO, tmp_path, env={"CHAT_CLIENT_JS": ""}) as server, urllib.request.urlopen(server.url) as reply:
        assert b'<script src="https://cdn.socket.io/4.' in reply.read()


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")
def test_two_tabs_of_a_real_browser(chat: Server, tmp_path: Path) -> None:
    found = node()
    order = json.dumps({"url": chat.url, "chromium": CHROMIUM, "profile": str(tmp_path / "profile")})
    script = ROOT / "examples" / "chat" / "test_browser.js"
    done = subprocess.run(
        [found.executable, str(script), order],
        env=found.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"\n{done.stdout}"
