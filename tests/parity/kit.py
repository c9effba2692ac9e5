"""What a parity scenario is written with.

A scenario is a function that is run twice, once with Flask-SocketIO and once with this package, and says what it
sees. ``Transcript.note`` is for what must be the same in both. ``Transcript.differs`` is for a deliberate difference:
it names the row of ``docs/coming-from-flask-socketio.md`` and what each side is to show, and both are checked. So two
transcripts differ exactly where the page says so, and in the way the scenario says.
"""

from __future__ import annotations

import builtins
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, request

if TYPE_CHECKING:  # both packages are typed as ours: what a scenario uses of theirs must exist here
    from trioflask_sio import Namespace, SocketIO

__all__ = ["SCENARIOS", "Api", "Entry", "Scenario", "Transcript", "api", "kind", "req", "scenario"]

PACKAGES = {"theirs": "flask_socketio", "ours": "trioflask_sio"}

req: Any = request
"""Flask's request with what each event adds to it."""


class Api:
    """One of the two packages, by the names that both have.

    Args:
        side: ``theirs`` or ``ours``.
    """

    def __init__(self, side: str) -> None:
        self.side = side
        module: Any = importlib.import_module(PACKAGES[side])
        self.SocketIO: Any = module.SocketIO
        self.Namespace: Any = module.Namespace
        self.ConnectionRefusedError: Any = module.ConnectionRefusedError
        self.SocketIOTestClient: Any = module.SocketIOTestClient
        self.emit: Any = module.emit
        self.send: Any = module.send
        self.call: Any = module.call
        self.join_room: Any = module.join_room
        self.leave_room: Any = module.leave_room
        self.close_room: Any = module.close_room
        self.rooms: Any = module.rooms
        self.disconnect: Any = module.disconnect

    def socketio(self, app: Flask | None = None, **options: Any) -> SocketIO:
        """A ``SocketIO``. Theirs is told to use threads; ours needs not be told."""
        if self.side == "theirs":
            options.setdefault("async_mode", "threading")
        return cast("SocketIO", self.SocketIO(app, **options))

    def namespace(self, name: str, **methods: Callable[..., object]) -> Namespace:
        """A class-based namespace with these methods, made and not yet registered."""
        return cast("Namespace", type("Chat", (self.Namespace,), methods)(name))

    def make(self, **options: Any) -> tuple[Flask, SocketIO]:
        """An application and its ``SocketIO``."""
        app = Flask("parity")
        app.secret_key = "parity"
        return app, self.socketio(app, **options)


def api(side: str) -> Api:
    """The package of that side."""
    return Api(side)


@dataclass(frozen=True)
class Entry:
    """One thing that a scenario saw.

    Args:
        label: what it is.
        value: what was seen.
        difference: the row of the page that it shows, if it is a deliberate difference.
        expected: what this side is to show then.
    """

    label: str
    value: object
    difference: str | None = None
    expected: object = None


@dataclass
class Transcript:
    """What one side showed.

    Args:
        side: ``theirs`` or ``ours``.
    """

    side: str
    entries: list[Entry] = field(default_factory=list)
    _adding: threading.Lock = field(default_factory=threading.Lock)

    def note(self, label: str, value: object) -> None:
        """Something that must be the same on both sides."""
        self._add(Entry(label, value))

    def differs(self, difference: str, label: str, value: object, *, theirs: object, ours: object) -> None:
        """A deliberate difference, and what each side is to show."""
        self._add(Entry(label, value, difference, theirs if self.side == "theirs" else ours))

    def attempt(self, label: str, act: Callable[[], object], *, words: str = "") -> None:
        """Do something and note what it gives, or what kind of exception and whether its text holds ``words``."""
        self.note(label, outcome(act, words))

    def _add(self, entry: Entry) -> None:
        with self._adding:
            self.entries.append(entry)


def outcome(act: Callable[[], object], words: str = "") -> object:
    """What a call gives: its value, or the kind of its exception (and whether that says ``words``)."""
    try:
        return act()
    except Exception as error:
        return f"{kind(error)}: …{words}…" if words and words in str(error) else kind(error)


def kind(error: BaseException) -> str:
    """An exception's class as an application's ``except`` sees it: the builtin it is or is derived from, by name.

    Both packages have classes that are named like a builtin one; those count as that.
    """
    for cls in type(error).__mro__:
        if hasattr(builtins, cls.__name__):
            return cls.__name__
    return type(error).__name__


@dataclass(frozen=True)
class Scenario:
    """A function run on both sides.

    Args:
        name: for the test's id.
        spec: the rules of the specification it shows.
        differences: the rows of the page it shows.
        run: the function.
    """

    name: str
    spec: str
    differences: frozenset[str]
    run: Callable[[Api, Transcript], None]


SCENARIOS: dict[str, Scenario] = {}
"""All scenarios that need no server, by name."""


def scenario(
    spec: str, *differences: str
) -> Callable[[Callable[[Api, Transcript], None]], Callable[[Api, Transcript], None]]:
    """Decorator: a scenario that shows these rules and, where named, these deliberate differences."""

    def register(run: Callable[[Api, Transcript], None]) -> Callable[[Api, Transcript], None]:
        name = run.__name__
        if name in SCENARIOS:
            raise ValueError(f"there are two scenarios called {name}")
        SCENARIOS[name] = Scenario(name, spec, frozenset(differences), run)
        return run

    return register
