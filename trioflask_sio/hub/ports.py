"""What the hub needs of the engine below it: four small Protocols, so that a test can hold the engine's place.

``trioflask_sio.engine`` satisfies them with ``Session``, ``Engine``, ``Timers`` and ``Timer``;
``trioflask_sio.testing.sessions`` does in memory. Everything is called on the loop's thread and nothing awaits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.transport import HttpRequest
from trioflask_sio.protocol.outgoing import Outgoing

__all__ = ["EnginePort", "SessionPort", "TimerPort", "TimersPort"]


class TimerPort(Protocol):
    """One call that waits for its time."""

    def cancel(self) -> None:
        """Forget it. Idempotent, also after it has fired."""


class TimersPort(Protocol):
    """The loop's deadline heap."""

    def call_later(self, seconds: float, fn: Callable[[], None], /) -> TimerPort:
        """Call ``fn`` on the loop's thread in ``seconds``."""


class SessionPort(Protocol):
    """One Engine.IO session, as far as the hub uses it."""

    upper: object | None
    awaiting_answer: Callable[[], bool]

    @property
    def eio_sid(self) -> str: ...

    @property
    def request(self) -> HttpRequest: ...

    @property
    def closed(self) -> bool: ...

    def enqueue(self, item: Outgoing, /) -> bool:
        """Phase 1 of a delivery: into the outbox only. False when closed or over the limit; never calls back."""

    def send(self, item: Outgoing, /) -> bool:
        """``enqueue`` and flush."""

    def can_take_now(self) -> bool:
        """Whether a volatile packet would leave at once."""

    def close(self, reason: CloseReason, /, *, flush: bool = True) -> None:
        """End it; ``session_closed`` is called before this returns."""

    def confirm(self) -> None:
        """A namespace was accepted: no connect timeout any more."""

    def hold(self, size: int, /) -> None:
        """``size`` bytes of input wait in the hub; 0 looks at the limit again. May close the session in this call."""

    def release(self, size: int, /) -> None:
        """``size`` of the held bytes have been handled or dropped."""


class EnginePort(Protocol):
    """The engine, as far as the hub uses it."""

    @property
    def timers(self) -> TimersPort: ...

    def flush_soon(self, session: SessionPort, /) -> None:
        """Phase 2 is due for this session."""

    def flush(self) -> None:
        """Phase 2 of what ``flush_soon`` noted."""
