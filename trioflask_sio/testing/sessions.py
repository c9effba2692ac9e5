"""An engine without a loop: sessions in memory and a clock moved by hand, for tests of what stands on the engine.

``FakeEngine`` and ``FakeSession`` keep the rules that the hub relies on (docs/design/interfaces.md):

* ``enqueue`` only fills the outbox; nothing is delivered before ``flush`` or ``send``.
* ``close`` keeps the first reason, tells the listener exactly once and before it returns, and every later ``enqueue``
  says False.
* A group of messages is delivered whole.
* Held bytes never become negative.

Nothing here starts a task, a thread or a timer of the operating system.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.transport import HttpRequest
from trioflask_sio.hub.ports import SessionPort
from trioflask_sio.protocol.eio_payload import V4
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.protocol.revision import Revision

__all__ = ["FakeEngine", "FakeSession", "FakeTimer", "FakeTimers"]


class _Listener(Protocol):
    def session_opened(self, session: SessionPort, /) -> None: ...
    def message_received(self, session: SessionPort, data: str | bytes, /) -> None: ...
    def session_closed(self, session: SessionPort, reason: CloseReason, /) -> None: ...


class FakeTimer:
    """One appointment of :class:`FakeTimers`."""

    __slots__ = ("active", "fn")

    def __init__(self, fn: Callable[[], None]) -> None:
        self.fn = fn
        self.active = True

    def cancel(self) -> None:
        """Let it never fire."""
        self.active = False


class FakeTimers:
    """A deadline heap whose clock only moves by :meth:`advance`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, FakeTimer]] = []
        self._made = 0

    def call_later(self, seconds: float, fn: Callable[[], None], /) -> FakeTimer:
        """Call ``fn`` when the clock has been moved by ``seconds``."""
        timer = FakeTimer(fn)
        self._made += 1
        heappush(self._heap, (self.now + seconds, self._made, timer))
        return timer

    def clock(self) -> float:
        """The time, for whoever wants a callable."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock and fire what is due, in order, each at its own moment."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, timer = heappop(self._heap)
            if timer.active:
                timer.active = False
                timer.fn()
        self.now = end

    def __len__(self) -> int:
        """How many timers may still fire."""
        return sum(timer.active for _, _, timer in self._heap)


class FakeSession:
    """One engine session in memory.

    ``sent`` holds what has left, one entry per group; ``outbox`` what waits. ``writable`` False makes volatile packets
    drop; ``full`` True makes ``enqueue`` refuse. Over ``inbound_limit`` held bytes with an answer outstanding the
    session closes, as the engine's does while its reader pauses, only sooner.
    """

    def __init__(self, engine: FakeEngine, eio_sid: str, revision: Revision = V4) -> None:
        self.eio_sid = eio_sid
        self.revision = revision
        self.request = HttpRequest(method="GET", path="/socket.io/", query_string="EIO=4&transport=websocket")
        self.transport = "websocket"
        self.upper: object | None = None
        self.awaiting_answer: Callable[[], bool] = bool
        self.close_reason: CloseReason | None = None
        self.confirmed = 0
        self.held = 0
        self.inbound_limit: int | None = None
        self.writable = True
        self.full = False
        self.outbox: deque[Outgoing] = deque()
        self.sent: list[tuple[str | bytes, ...]] = []
        self._engine = engine

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self.close_reason is not None

    def receive(self, *messages: str | bytes) -> None:
        """The client sends these."""
        for message in messages:
            if not self.closed:
                self._engine.listener.message_received(self, message)

    def take(self) -> list[tuple[str | bytes, ...]]:
        """What has been sent since the last look."""
        taken, self.sent = self.sent, []
        return taken

    def enqueue(self, item: Outgoing, /) -> bool:
        """Into the outbox."""
        if self.closed or self.full:
            return False
        self.outbox.append(item)
        return True

    def send(self, item: Outgoing, /) -> bool:
        """Into the outbox and out."""
        taken = self.enqueue(item)
        self.flush()
        return taken

    def flush(self) -> None:
        """Everything that waits leaves."""
        while self.outbox:
            self.sent.append(self.outbox.popleft().messages)

    def can_take_now(self) -> bool:
        """As ``writable`` says, and only with an empty outbox."""
        return self.writable and not self.closed and not self.outbox

    def close(self, reason: CloseReason, /, *, flush: bool = True) -> None:
        """End it."""
        if self.closed:
            return
        self.close_reason = reason
        if flush:
            self.flush()
        self.outbox.clear()
        self._engine.sessions.pop(self.eio_sid, None)
        self._engine.listener.session_closed(self, reason)

    def confirm(self) -> None:
        """Counted in ``confirmed``."""
        self.confirmed += 1

    def hold(self, size: int, /) -> None:
        """Counted in ``held``; ``hold(0)`` looks at the limit again."""
        self.held += size
        if self.inbound_limit is not None and self.held > self.inbound_limit and self.awaiting_answer():
            self.close(CloseReason.INBOUND_OVERFLOW)

    def release(self, size: int, /) -> None:
        """Taken from ``held``."""
        self.held -= size
        if self.held < 0:
            raise AssertionError(f"{-self.held} bytes were released that nobody held")


class FakeEngine:
    """Sessions, timers and flushing in memory.

    Args:
        listener: told as the engine tells it.
    """

    def __init__(self, listener: _Listener) -> None:
        self.listener = listener
        self.timers = FakeTimers()
        self.sessions: dict[str, FakeSession] = {}
        self._made = 0
        self._dirty: dict[SessionPort, None] = {}

    def open(self) -> FakeSession:
        """A client has shaken hands."""
        self._made += 1
        session = FakeSession(self, f"eio-{self._made}")
        self.sessions[session.eio_sid] = session
        self.listener.session_opened(session)
        return session

    def flush_soon(self, session: SessionPort, /) -> None:
        """Note it."""
        self._dirty[session] = None

    def flush(self) -> None:
        """Send what the noted sessions hold."""
        dirty, self._dirty = self._dirty, {}
        for session in dirty:
            if isinstance(session, FakeSession):
                session.flush()
