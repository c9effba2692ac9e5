"""What a scenario over real servers is written with: a server's half and a client's half.

The server's half registers handlers in a namespace of its own, in one process per package that serves them all. The
client's half drives python-socketio's client and writes the transcript. What handlers see they ``note``; the client's
half reads that over HTTP and so waits for it without sleeping.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import requests
import socketio as python_socketio
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from tests.parity.kit import Api, Transcript
from tests.support.python_client import python_client

if TYPE_CHECKING:
    from trioflask_sio import SocketIO

__all__ = ["WIRES", "Notes", "Stage", "Visitor", "Wire", "WireScenario", "load", "wire"]

F = TypeVar("F", bound=Callable[..., object])

SECONDS = 10.0
"""What is waited for at most; never waited out by a test that passes."""


class Notes:
    """What the handlers of one scenario have seen."""

    def __init__(self) -> None:
        self._entries: list[object] = []
        self._more = threading.Condition()

    def __call__(self, value: object) -> None:
        with self._more:
            self._entries.append(value)
            self._more.notify_all()

    def first(self, count: int) -> list[object]:
        """The notes, when there are ``count`` of them."""
        with self._more:
            self._more.wait_for(lambda: len(self._entries) >= count, SECONDS)
            return list(self._entries)


@dataclass(frozen=True)
class Stage:
    """What the server's half of a scenario works with.

    Args:
        api: the package.
        app: the one application of the process.
        sio: its ``SocketIO``.
        namespace: the scenario's own.
        note: tells the client's half.
    """

    api: Api
    app: Flask
    sio: SocketIO
    namespace: str
    note: Notes = field(default_factory=Notes)

    def on(self, event: str) -> Callable[[F], F]:
        """Decorator: handle an event in the scenario's namespace."""
        return self.sio.on(event, namespace=self.namespace)


class Visitor:
    """A connected client; everything it hears waits in order of arrival, each with its event's name."""

    def __init__(self, client: python_socketio.Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace
        self.heard: queue.Queue[list[Any]] = queue.Queue()
        self.answers: dict[str, Any] = {}
        client.on("*", self._hear, namespace=namespace)
        client.on("disconnect", lambda reason: self.heard.put(["disconnect", reason]), namespace=namespace)

    def _hear(self, event: str, *args: Any) -> Any:
        if event in self.answers:
            return self.answers[event]
        self.heard.put([event, *args])
        return None

    def next(self) -> list[Any]:
        """The next event: its name and arguments."""
        return self.heard.get(timeout=SECONDS)

    def next_sorted(self, count: int) -> list[list[Any]]:
        """The next events in alphabetical order: this client runs each in a thread of its own."""
        return sorted((self.next() for _ in range(count)), key=repr)

    def emit(self, event: str, *args: Any) -> None:
        """Emit without asking for an answer."""
        self.client.emit(event, args, namespace=self.namespace)

    def ask(self, event: str, *args: Any) -> Any:
        """Emit and wait for the answer."""
        return self.client.call(event, args, namespace=self.namespace, timeout=SECONDS)

    @property
    def sid(self) -> str:
        """Its id in the scenario's namespace."""
        return str(self.client.get_sid(self.namespace))


@dataclass(frozen=True)
class Wire:
    """What the client's half works with.

    Args:
        url: of the server.
        namespace: the scenario's own.
    """

    url: str
    namespace: str

    @contextlib.contextmanager
    def visit(self, query: str = "", transports: tuple[str, ...] = ("polling",), **options: Any) -> Iterator[Visitor]:
        """A client, connected to the scenario's namespace; ``options`` are those of its ``connect``,
        and ``more`` names further namespaces.

        Polling is the quick way: over a WebSocket the other package's server leaves the client waiting for the end of
        its goodbye, three seconds each time.
        """
        with python_client() as client:
            visitor = Visitor(client, self.namespace)
            options.setdefault("wait_timeout", SECONDS)
            namespaces = [self.namespace, *options.pop("more", ())]
            client.connect(f"{self.url}{query}", transports=transports, namespaces=namespaces, **options)
            yield visitor

    def refused(self, **options: Any) -> list[Any]:
        """How a client is refused: the exception of its ``connect`` and what ``connect_error`` was told."""
        told: queue.Queue[Any] = queue.Queue()
        with python_client() as client:
            client.on("connect_error", told.put, namespace=options.get("namespace", self.namespace))
            namespaces = [options.pop("namespace", self.namespace)]
            options.setdefault("wait_timeout", SECONDS)
            try:
                client.connect(self.url, transports=["polling"], namespaces=namespaces, **options)
            except python_socketio.exceptions.ConnectionError as error:
                return [type(error).__name__, None if told.empty() else told.get()]
        return ["let in"]

    def noted(self, count: int) -> list[Any]:
        """What the handlers have noted, once it is that many."""
        answer = requests.get(f"{self.url}/noted{self.namespace}", params={"count": count}, timeout=2 * SECONDS)
        return list(json.loads(answer.text))


@dataclass(frozen=True)
class WireScenario:
    """The two halves.

    Args:
        name: for the test's id; it names the namespace too.
        spec: the rules of the specification it shows.
        differences: the rows of the page it shows.
        serve: the server's half.
        drive: the client's half.
    """

    name: str
    spec: str
    differences: frozenset[str]
    serve: Callable[[Stage], None]
    drive: Callable[[Wire, Transcript], None]

    @property
    def namespace(self) -> str:
        """Its own."""
        return f"/{self.name}"


WIRES: dict[str, WireScenario] = {}
"""All scenarios that need a server, by name."""


def wire(
    spec: str, *differences: str, serve: Callable[[Stage], None]
) -> Callable[[Callable[[Wire, Transcript], None]], Callable[[Wire, Transcript], None]]:
    """Decorator of the client's half: a scenario that shows these rules and these deliberate differences."""

    def register(drive: Callable[[Wire, Transcript], None]) -> Callable[[Wire, Transcript], None]:
        name = drive.__name__
        if name in WIRES:
            raise ValueError(f"there are two scenarios called {name}")
        WIRES[name] = WireScenario(name, spec, frozenset(differences), serve, drive)
        return drive

    return register


def load() -> dict[str, WireScenario]:
    """Import the scenarios' modules."""
    wires = importlib.import_module("tests.parity.wires")
    for module in pkgutil.iter_modules(wires.__path__):
        importlib.import_module(f"{wires.__name__}.{module.name}")
    return WIRES


def build(api: Api) -> tuple[Flask, SocketIO]:
    """The application of one package, with the server's half of every scenario."""
    # Ours lets a handler overlap the one before it when that runs for long. How long is no matter of parity, and a busy
    # machine makes everything long.
    options: dict[str, Any] = {"overlap_after": 5.0} if api.side == "ours" else {}
    app, sio = api.make(**options)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation has it
    for scenario in load().values():
        stage = Stage(api, app, sio, scenario.namespace)
        scenario.serve(stage)
        app.add_url_rule(f"/noted/{scenario.name}", scenario.name, partial(_noted, stage.note))
    return app, sio


def _noted(notes: Notes) -> str:
    from flask import request

    return json.dumps(notes.first(int(request.args["count"])))
