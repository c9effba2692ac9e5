"""Which sessions live: Engine.IO sid to session. The engine is the only one that adds or removes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from typing import TypeVar

    from trioflask_sio.engine.session import Session

    _T = TypeVar("_T")

__all__ = ["Registry", "short"]

_SHOWN = 6
"""Characters of a sid that a log may show: whoever knows a whole one can take its session over (spec 3.3.5)."""


def short(sid: str) -> str:
    """An Engine.IO sid for a log line: enough to tell two apart, not enough to use it."""
    return f"{sid[:_SHOWN]}…"


class Registry(Mapping[str, "Session"]):
    """The live sessions, in the order of their handshakes. Reading it is for everybody."""

    __slots__ = ("_sessions",)

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def __getitem__(self, sid: str) -> Session:
        return self._sessions[sid]

    @overload
    def get(self, sid: str, /) -> Session | None: ...
    @overload
    def get(self, sid: str, /, default: Session | _T) -> Session | _T: ...
    def get(self, sid: str, /, default: object = None) -> object:
        """The session of this sid, or ``default``."""
        return self._sessions.get(sid, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """Enter a new session. The engine has made sure that its sid is free."""
        self._sessions[session.eio_sid] = session

    def remove(self, session: Session) -> None:
        """Take a session out, at once and once (spec 3.9.1)."""
        del self._sessions[session.eio_sid]

    def snapshot(self) -> list[Session]:
        """The sessions of this moment, safe to walk while some of them close."""
        return list(self._sessions.values())

    def __repr__(self) -> str:
        return f"<Registry of {len(self._sessions)} session(s)>"
