"""The border between threads and the loop: one bounded queue, drained on the loop (design §8.3, §8.4, §8.16).

Everything that a thread wants of the loop is one entry of one queue, so that the order in which a thread acted is the
order in which its acts take effect, whatever they are (an emit, a room joined, an acknowledgement, a job that ended).

=====================  ==================  ====================  ==================  =====================
public call            worker (handler)    loop (async handler)  foreign thread      no loop yet / ended
=====================  ==================  ====================  ==================  =====================
emit, send             queued              at once               queued              nobody / NotServing
join, leave, close     own client: queued  at once               round trip          nothing / NotServing
rooms                  round trip          at once               round trip          empty / NotServing
disconnect             nested or round t.  aio.disconnect        round trip          nothing / NotServing
call                   waits, place given  aio.call              waits               UsageError / NotServing
sleep                  waits, place given  aio.sleep             time.sleep          time.sleep
=====================  ==================  ====================  ==================  =====================

Rules:

* The wake-up of the loop is idempotent: our own flag is set before the loop is woken and cleared before the queue is
  drained, so a burst of a thousand emits wakes the loop once.
* The queue is bounded in entries and bytes. A thread that is ahead of the loop waits; the loop's own thread never does.
* What runs on the loop may not raise: an error in an entry is logged with its traceback and the rest goes on.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from anyio import CapacityLimiter

from trioflask_sio.bridge.waiting import Scope, Waiter
from trioflask_sio.exceptions import NotServing, UsageError
from trioflask_sio.protocol.limits import BORDER_BYTES, BORDER_ITEMS

__all__ = ["Backend", "Border", "BorderState", "current_backend"]

T = TypeVar("T")

COUNTED_SIZE = 4096
"""Smaller entries are bounded well enough by their number; counting them would cost a lock per emit."""

DRAIN_SLICE = 2_000
"""Entries drained before the loop gets its turn again, so that heartbeats keep their time in a storm of emits."""

LOST_LOOP = 5.0
"""Seconds between two looks of a waiting thread at whether there still is a loop that could answer. An orderly end
wakes everybody; only a loop that died in the middle is found out this way."""

_log = logging.getLogger("trioflask_sio")

Entry = tuple[Callable[..., object], tuple[object, ...], int]


class Backend(Protocol):
    """One running event loop (``backend_trio.py``, ``backend_asyncio.py``)."""

    name: str
    thread_id: int

    def wake(self, fn: Callable[[], None]) -> bool: ...
    def now(self) -> float: ...
    def ask(self, fn: Callable[[], None]) -> bool: ...
    async def pump(self) -> None: ...
    async def host_thread(self, fn: Callable[[], None], limiter: CapacityLimiter) -> None: ...


def current_backend() -> Backend:
    """The backend of the loop that runs the calling task."""
    import sniffio

    library = sniffio.current_async_library()
    if library == "trio":
        from trioflask_sio.bridge.backend_trio import TrioBackend

        return TrioBackend()
    if library == "asyncio":
        from trioflask_sio.bridge.backend_asyncio import AsyncioBackend

        return AsyncioBackend()
    raise UsageError(f"trioflask_sio runs on trio and asyncio, not on {library}.")


class BorderState(enum.Enum):
    """Whether a loop stands behind the border."""

    UNBOUND = "not serving yet"
    RUNNING = "serving"
    CLOSED = "stopped"


class Border:
    """The one way from threads to the loop."""

    def __init__(self) -> None:
        self.state = BorderState.UNBOUND
        self._backend: Backend | None = None
        self._thread_id = 0
        self._queue: deque[Entry] = deque()
        self._bytes = 0
        self._bytes_lock = threading.Lock()
        self._waiters: deque[Waiter] = deque()
        self._woken = False
        self._after: Callable[[], None] = _nothing
        self._park: Callable[[], Callable[[], None]] = _no_place
        self.stopping = Scope()
        """Ends with the clock of the serving: whoever waits in no other scope waits in this one."""

    # --- life -------------------------------------------------------------------------------------------------

    def bind(self, backend: Backend, after_drain: Callable[[], None], park: Callable[[], Callable[[], None]]) -> None:
        """Open the border on the running loop.

        Args:
            backend: the loop.
            after_drain: called once after each drain (flushes what the entries queued).
            park: gives the calling handler's place back while it waits, and returns how to take it again.
        """
        self._backend = backend
        self._thread_id = backend.thread_id
        self._after = after_drain
        self._park = park
        self.state = BorderState.RUNNING

    def close(self) -> None:
        """Take nothing more; wake everybody who waits. Entries still queued are carried out first."""
        self.drain()
        self.state = BorderState.CLOSED
        self.drain()  # what a thread queued between the two lines; later ones are refused
        self.stopping.end()
        self._wake_waiters()

    def unbind(self) -> None:
        """The loop ends: its thread is one like all others from here on."""
        self._thread_id = 0

    # --- from any thread ----------------------------------------------------------------------------------------

    def on_loop(self) -> bool:
        """True in the loop's own thread."""
        return threading.get_ident() == self._thread_id

    def now(self) -> float:
        """The loop's clock in seconds; 0.0 before the first start."""
        return self._backend.now() if self._backend is not None else 0.0

    def post(self, fn: Callable[..., object], *args: object, size: int = 0) -> None:
        """Queue ``fn(*args)`` for the loop and wake it.

        Args:
            fn: runs on the loop's thread, without awaiting.
            size: bytes that the entry holds, for the bound.

        Raises:
            NotServing: the server has stopped.
        """
        self.put(fn, args, size)
        self.wake()

    def put(self, fn: Callable[..., object], args: tuple[object, ...], size: int = 0) -> None:
        """Queue without waking: the caller wakes the loop itself when its burst ends."""
        if self.state is not BorderState.RUNNING:
            self._refuse()
        if size >= COUNTED_SIZE:
            with self._bytes_lock:
                self._bytes += size
        self._queue.append((fn, args, size))
        if self.state is not BorderState.RUNNING:  # closed since the first look: nobody may drain it any more
            self._refuse()
        if len(self._queue) > BORDER_ITEMS or self._bytes > BORDER_BYTES:
            self._wait_for_room()

    def offer(self, fn: Callable[..., object], *args: object) -> bool:
        """As ``post``, for who has no use for an error: False when the server has stopped."""
        try:
            self.post(fn, *args)
        except UsageError:
            return False
        return True

    def wake(self) -> None:
        """Wake the loop unless it has been woken already for what is queued."""
        if not self._woken:
            self._woken = True
            backend = self._backend
            if backend is None or not backend.ask(self._drain_slice):
                self.state = BorderState.CLOSED

    def call(self, fn: Callable[..., T], *args: object) -> T:
        """Run ``fn(*args)`` on the loop in its turn and return what it returned; raises what it raised.

        On the loop's own thread it is called at once, after what is queued.

        Raises:
            NotServing: the server has stopped.
        """
        if self.on_loop():
            self.drain()
            return fn(*args)
        waiter = Waiter()
        self.post(_answer, waiter, fn, args)
        unpark = self._park()
        try:
            self.wait_for(waiter)
        finally:
            unpark()
        if isinstance(waiter.value, _Failed):
            raise waiter.value.error
        return cast("T", waiter.value)

    def wait_for(self, waiter: Waiter) -> None:
        """Wait until ``waiter`` is woken by something that was queued for the loop.

        Raises:
            NotServing: there is no loop any more.
        """
        while not waiter.wait(timeout=LOST_LOOP):
            if self.state is not BorderState.RUNNING and not waiter.woken:
                self._refuse()

    # --- on the loop ------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Carry out all that is queued; loop thread only."""
        if self._queue:
            self._woken = False
            self._take(len(self._queue))
            self._finish()

    def _drain_slice(self) -> None:
        self._woken = False
        self._take(DRAIN_SLICE)
        self._finish()
        if self._queue:
            self.wake()

    def _finish(self) -> None:
        try:
            self._after()
        except Exception:  # would end the whole loop from here
            _log.exception("Sending what threads have emitted failed on the loop")

    def _take(self, most: int) -> None:
        queue = self._queue
        for _ in range(most):
            try:
                fn, args, size = queue.popleft()
            except IndexError:
                break
            if size >= COUNTED_SIZE:
                with self._bytes_lock:
                    self._bytes -= size
            try:
                fn(*args)
            except Exception:
                _log.exception("An act handed over from a thread failed on the loop: %r", fn)
        if self._waiters and len(queue) <= BORDER_ITEMS // 2 and self._bytes <= BORDER_BYTES // 2:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        while self._waiters:
            self._waiters.popleft().wake()

    # --- refusals and waiting -----------------------------------------------------------------------------------

    def _refuse(self) -> None:
        if self.state is BorderState.CLOSED:
            raise NotServing("The Socket.IO server has stopped: nothing can be sent any more.")
        raise UsageError("The Socket.IO server is not running yet: start it with trioflask_sio.serve(app).")

    def _wait_for_room(self) -> None:
        """The caller is ahead of the loop: wait until half of the queue is drained. Never on the loop's thread."""
        if self.on_loop():
            return
        waiter = Waiter()
        self._waiters.append(waiter)
        self.wake()
        unpark = self._park()
        try:
            while not waiter.wait(timeout=1.0):  # a lost loop must not hold a thread for ever
                if self.state is not BorderState.RUNNING:
                    break
                self._woken = False
                self.wake()
        finally:
            unpark()


class _Failed:
    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _answer(waiter: Waiter, fn: Callable[..., object], args: tuple[object, ...]) -> None:
    try:
        waiter.wake(fn(*args))
    except Exception as error:
        waiter.wake(_Failed(error))


def _nothing() -> None:
    """Nothing to do after a drain before the border is bound."""


def _no_place() -> Callable[[], None]:
    return _nothing
