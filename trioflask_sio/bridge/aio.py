"""The awaitable forms for ``async def`` handlers (design §8.15).

In an async handler ``emit``, ``send`` and the room functions are plain: they queue and return. What waits is awaited,
and found here: ``call``, ``sleep``, ``disconnect``, and an ``emit`` that waits until the addressed client's socket has
taken what was queued for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from trioflask_sio._types import Sid
from trioflask_sio.bridge import functions
from trioflask_sio.bridge.operations import (
    CALL_TIMEOUT,
    Answer,
    answer_of,
    as_args,
    as_rooms,
    disconnect_job,
    is_own,
    nested_run,
    spare,
    unsendable,
)
from trioflask_sio.bridge.runs import current_run
from trioflask_sio.exceptions import UsageError

if TYPE_CHECKING:
    from trioflask_sio.bridge.runs import Run
    from trioflask_sio.bridge.runtime import Runtime

__all__ = ["call", "disconnect", "emit", "sleep"]

DRAIN_STEP = 0.01
"""Seconds between two looks at a client's outbox in ``emit``."""


class _Mailbox:
    """Takes the place of a waiting thread: the answer sets an event."""

    __slots__ = ("event", "value")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.value: object = Answer.LATE

    def answered(self, args: tuple[object, ...]) -> None:
        self.value = args
        self.event.set()

    def gone(self) -> None:
        self.value = Answer.GONE
        self.event.set()


async def sleep(seconds: float = 0) -> None:
    """Wait ``seconds``; a cancellation point on every event loop."""
    await anyio.sleep(seconds)


async def call(
    event: str,
    *args: object,
    namespace: str | None = functions._UNSET,
    to: object = None,
    timeout: float | None = CALL_TIMEOUT,
) -> Any:
    """Emit to one client, by default the sender, and wait for its acknowledgement.

    Args:
        event: the event's name.
        *args: at most one payload; a tuple is several event arguments.
        namespace: default: that of the present event.
        to: the client's sid; default: the sender.
        timeout: seconds; None waits as long as the client is there.

    Returns:
        None, the one value, or a tuple of several.

    Raises:
        TimeoutError: no answer in time.
        ClientGone: the client left before it answered.
        UsageError: called outside an async handler.
    """
    runtime = _runtime("call")
    rooms = as_rooms(to) or (functions._sid("call"),)
    mailbox = _Mailbox()
    try:
        emission = runtime.hub.encode(
            functions._namespace(namespace, "call"), event, as_args(args, "call"), callback=mailbox, rooms=rooms
        )
    except (TypeError, ValueError) as error:
        raise unsendable(f"event {event!r}", error) from None
    runtime.border.drain()
    runtime.hub.emit(emission)
    runtime.hub.flush()
    try:
        with anyio.move_on_after(timeout):
            await mailbox.event.wait()
    finally:
        runtime.hub.withdraw(mailbox)
    if mailbox.value is Answer.GONE:
        await anyio.lowlevel.checkpoint_if_cancelled()  # the caller's own client: its handler is cancelled, not failed
    return answer_of(mailbox.value, event, rooms, timeout)


async def emit(event: str, *args: object, to: Sid | None = None, **options: Any) -> None:
    """Emit to one client and wait until its outbox is empty, so that a fast producer keeps the client's pace.

    Args:
        event: the event's name.
        *args: at most one payload.
        to: the client's sid; default: the sender. A room is not waited for: one slow member would hold up the caller.
        **options: as for :func:`trioflask_sio.emit`. With ``room`` or ``broadcast`` nobody is waited for.

    Raises:
        TypeError: the payload cannot be sent.
        UsageError: called outside an async handler.
    """
    runtime = _runtime("emit")
    if to is None and (options.get("room") not in (None, "") or options.get("broadcast")):
        functions.emit(event, *args, **options)
        await anyio.lowlevel.checkpoint()
        return
    target = to if to is not None else functions._sid("emit")
    namespace = functions._namespace(options.get("namespace", functions._UNSET), "emit")
    functions.emit(event, *args, to=target, **options)
    await anyio.lowlevel.checkpoint()
    while True:
        socket = runtime.hub.find(target, namespace)
        if socket is None or socket.ended or socket.client.session.can_take_now():
            return
        await anyio.sleep(DRAIN_STEP)


async def disconnect(sid: Sid | None = None, namespace: str | None = None) -> None:
    """Put a client, by default the sender, out of the namespace.

    The sender's own disconnect handler has run when this returns, and the caller is not cancelled by its own call.

    Raises:
        UsageError: called outside an async handler.
    """
    runtime = _runtime("disconnect")
    who = sid or functions._sid("disconnect")
    where = namespace or functions._namespace(functions._UNSET, "disconnect")
    runtime.border.drain()
    run = current_run()
    if run is not None and is_own(run, who, where):
        await _disconnect_self(runtime, run, who, where)
    else:
        spare(run, who, where)
        runtime.hub.disconnect(who, where)
        runtime.hub.flush()
        await anyio.lowlevel.checkpoint()


def _runtime(name: str) -> Runtime:
    """The serving, where its loop is the caller's."""
    runtime = functions._server(name).runtime
    if not runtime.border.on_loop():
        raise UsageError(f"aio.{name}() is for async handlers; in a synchronous one call {name}().")
    return runtime


async def _disconnect_self(runtime: Runtime, run: Run, sid: Sid, namespace: str) -> None:
    """The caller's own client: its disconnect handler runs before this returns."""
    cancelled_before, run.cancels = run.cancels, False
    socket = runtime.hub.disconnect(sid, namespace, run_handler=False)
    if socket is None:
        run.cancels = cancelled_before  # it had left before, by no doing of this handler
        return
    runtime.hub.flush()
    farewell = disconnect_job(runtime, socket)
    if farewell.handler is None or farewell.handler.is_async:
        try:
            if farewell.handler is not None:
                await runtime.dispatcher.perform_async(farewell, nested_run(runtime, farewell))
        finally:
            runtime.hub.disconnected(socket)
    else:
        done = anyio.Event()
        runtime.pool.run_disconnect(farewell, done.set)
        await done.wait()
