"""What the public functions do, whoever calls them: a handler's thread, an async handler, any other thread.

Arguments are explicit here (namespace, rooms, sids); ``functions.py`` fills them in from Flask's request, and
``extension.py`` and ``namespace.py`` from their own defaults. The table in ``portal.py`` says what waits where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from trioflask_sio._types import Room, Sid
from trioflask_sio.bridge.portal import BorderState
from trioflask_sio.bridge.runs import Run, current_run
from trioflask_sio.bridge.waiting import CANCELLED, Scope, Waiter
from trioflask_sio.exceptions import ClientGone, NotServing, TimeoutError, UsageError
from trioflask_sio.hub.jobs import Job, JobKind

if TYPE_CHECKING:
    from trioflask_sio.bridge.portal import Border
    from trioflask_sio.bridge.runtime import Runtime
    from trioflask_sio.hub.emission import Emission
    from trioflask_sio.hub.socket import Socket

__all__ = [
    "Answer",
    "Operations",
    "answer_of",
    "as_args",
    "as_rooms",
    "as_sids",
    "disconnect_job",
    "is_own",
    "nested_run",
    "spare",
    "unpack",
    "unsendable",
]

CALL_TIMEOUT = 60.0
"""Seconds that ``call()`` waits by default (spec 1.9.3)."""


class Answer:
    """What a ``call()`` waits with: the hub tells it of the answer, or that nobody is left who could give one."""

    __slots__ = ("timer", "waiter")

    GONE = object()
    LATE = object()

    def __init__(self) -> None:
        self.waiter: Waiter | None = None
        self.timer: Any = None

    def answered(self, args: tuple[object, ...]) -> None:
        if self.waiter is not None:
            self.waiter.wake(args)

    def gone(self) -> None:
        if self.waiter is not None:
            self.waiter.wake(Answer.GONE)


class Operations:
    """The acts of one ``SocketIO`` on its clients.

    Args:
        runtime: called for the present serving each time: it changes from one ``serve()`` to the next.
        emit_grace: seconds after its client left in which a handler's emits to it are silent (design §3).
    """

    def __init__(self, runtime: Callable[[], Runtime], emit_grace: float) -> None:
        self._runtime = runtime
        self.emit_grace = emit_grace

    # --- emitting -----------------------------------------------------------------------------------------------

    def emit(
        self,
        event: str,
        args: tuple[object, ...],
        *,
        namespace: str,
        rooms: tuple[Room, ...] | None,
        skip: Iterable[Sid] = (),
        callback: Any = None,
    ) -> None:
        """Queue an event for its receivers; returns once it is queued, never waits for a client.

        Args:
            event: the event's name.
            args: its arguments, serialised now.
            namespace: where.
            rooms: rooms or sids, each receiver once; None is everybody in the namespace, ``()`` nobody.
            skip: sids that do not get it.
            callback: called with a receiver's acknowledgement, once per receiver.

        Raises:
            TypeError: an argument cannot be sent (nothing has been sent then).
            NotServing: the server has stopped.
            HandlerCancelled: the calling handler's client, the only receiver, left more than ``emit_grace`` ago.
        """
        runtime = self._runtime()
        run = current_run()
        sender = run.socket if run is not None else None
        try:
            emission = runtime.hub.encode(
                namespace,
                event,
                args,
                callback=callback,
                rooms=rooms,
                skip=skip,
                sender=_sender(run, callback),
            )
        except (TypeError, ValueError) as error:
            raise unsendable(f"event {event!r}", error) from None
        border = runtime.border
        if border.state is BorderState.UNBOUND:
            return  # nobody is connected yet
        if run is not None and sender is not None and sender.ended and self._withheld(run, sender, emission, border):
            return
        _hand_over(runtime, run, emission)

    def _withheld(self, run: Run, sender: Socket, emission: Emission, border: Border) -> bool:
        """Whether an emit of a handler whose client has left goes nowhere; late ones to that client end the handler.

        An emit to the departed client alone is a silent no-op at first, so that a handler which only reports its
        result is not hurt by the departure; after ``emit_grace`` it raises, so that a loop that only reports ends too.
        """
        if run.unwinding and border.state is not BorderState.RUNNING:
            return True  # the server is gone too
        if emission.rooms != (sender.sid,) or emission.namespace != sender.namespace:
            return False
        left = sender.left_at
        late = left is not None and border.now() - left >= self.emit_grace
        if late and run.cancels and not run.unwinding:
            raise run.cancellation()
        return True

    def call(
        self, event: str, args: tuple[object, ...], *, namespace: str, rooms: tuple[Room, ...], timeout: float | None
    ) -> object:
        """Emit to one client and wait for its acknowledgement, holding no worker place meanwhile.

        Args:
            event: the event's name.
            args: its arguments.
            namespace: where.
            rooms: the client's sid.
            timeout: seconds to wait for the answer; None waits as long as the client is there.

        Returns:
            None, the one value, or a tuple of several (spec 1.9.3).

        Raises:
            TimeoutError: no answer in time.
            ClientGone: the client left, or was not there.
            UsageError: called where it cannot wait.
            HandlerCancelled: the calling handler's client left.
        """
        runtime = self._waiting_runtime("call")
        answer = Answer()
        try:
            emission = runtime.hub.encode(namespace, event, args, callback=answer, rooms=rooms)
        except (TypeError, ValueError) as error:
            raise unsendable(f"event {event!r}", error) from None
        run = current_run()
        try:
            arm = partial(_ask, runtime, answer, emission, timeout)
            value = run.wait(arm) if run is not None else _wait_in_thread(runtime, arm)
        finally:
            runtime.border.offer(_withdraw, runtime, answer)
        if value is Answer.GONE and run is not None and run.cancels and run.socket is not None and run.socket.ended:
            raise run.cancellation()  # it was the handler's own client: the news only came by this way first
        return answer_of(value, event, rooms, timeout)

    # --- rooms --------------------------------------------------------------------------------------------------

    def enter_room(self, sid: Sid, namespace: str, room: Room) -> None:
        """Put a client into a room.

        Raises:
            KeyError: no such client.
            ValueError: nobody is connected to the namespace.
        """
        self._room_act("enter_room", sid, namespace, room)

    def leave_room(self, sid: Sid, namespace: str, room: Room) -> None:
        """Take a client out of a room; unknown clients and rooms are ignored."""
        self._room_act("leave_room", sid, namespace, room)

    def _room_act(self, name: str, sid: Sid, namespace: str, room: Room) -> None:
        runtime = self._runtime()
        if runtime.border.state is BorderState.UNBOUND:
            return
        act = getattr(runtime.hub, name)
        run = current_run()
        socket = run.socket if run is not None else None
        if run is not None and socket is not None and socket.sid == sid and socket.namespace == namespace:
            if runtime.border.on_loop():
                runtime.border.call(act, sid, namespace, room)
            else:
                run.post(_if_there, (act, sid, namespace, room), 0)  # it exists or has left: nothing to wait for
        else:
            runtime.border.call(act, sid, namespace, room)

    def close_room(self, room: Room, namespace: str) -> None:
        """Take everybody out of a room; nobody is told."""
        runtime = self._runtime()
        if runtime.border.state is not BorderState.UNBOUND:
            runtime.border.call(runtime.hub.close_room, room, namespace)

    def rooms(self, sid: Sid, namespace: str) -> list[Room]:
        """The client's rooms, its own (named like its sid) included."""
        runtime = self._runtime()
        if runtime.border.state is BorderState.UNBOUND:
            return []
        return list(runtime.border.call(runtime.hub.rooms, sid, namespace))

    # --- disconnecting ------------------------------------------------------------------------------------------

    def disconnect(self, sid: Sid, namespace: str) -> None:
        """Put a client out of a namespace.

        A handler that puts out its own client finds the disconnect handler already run when this returns, and is not
        cancelled by its own call; for another client this returns once it is out of every fan-out and its disconnect
        handler is scheduled (design §8.8).

        Raises:
            UsageError: called in an async handler, where ``trioflask_sio.aio.disconnect`` is the form that waits.
        """
        runtime = self._runtime()
        if runtime.border.state is BorderState.UNBOUND:
            return
        if runtime.border.on_loop():
            raise UsageError(
                "disconnect() waits, and this is the event loop: use `await trioflask_sio.aio.disconnect()`."
            )
        run = current_run()
        if run is not None and is_own(run, sid, namespace):
            self._disconnect_self(runtime, run, sid, namespace)
        else:
            spare(run, sid, namespace)
            runtime.border.call(partial(_disconnect_other, runtime, sid, namespace))

    def _disconnect_self(self, runtime: Runtime, run: Run, sid: Sid, namespace: str) -> None:
        cancelled_before, run.cancels = run.cancels, False
        socket = runtime.border.call(partial(_disconnect_quietly, runtime, sid, namespace))
        if socket is None:
            run.cancels = cancelled_before  # it had left before, by no doing of this handler
            return
        job = disconnect_job(runtime, socket)
        if job.handler is not None and job.handler.is_async:
            run.wait(lambda waiter: runtime.pool.run_disconnect(job, waiter.wake))
            return
        try:
            if job.handler is not None:
                runtime.dispatcher.perform(job, nested_run(runtime, job))
        finally:
            runtime.border.offer(runtime.hub.disconnected, socket)

    # --- helpers ------------------------------------------------------------------------------------------------

    def _waiting_runtime(self, name: str) -> Runtime:
        """The runtime, where the calling thread may wait for it."""
        runtime = self._runtime()
        state = runtime.border.state
        if state is BorderState.UNBOUND:
            raise UsageError(f"{name}() needs a running server: start it with trioflask_sio.serve(app).")
        if state is BorderState.CLOSED:
            raise NotServing(f"{name}() needs a running server, and it has stopped.")
        if runtime.border.on_loop():
            raise UsageError(f"{name}() waits, and this is the event loop: use `await trioflask_sio.aio.{name}(…)`.")
        return runtime


def disconnect_job(runtime: Runtime, socket: Socket) -> Job:
    """The job of a disconnect handler that the caller runs itself."""
    handler = runtime.hub.handlers.find(socket.namespace, "disconnect")
    return Job(JobKind.DISCONNECT, socket, handler, "disconnect", (socket.reason,))


def nested_run(runtime: Runtime, job: Job) -> Run:
    """A run for a handler inside another one: it shares the thread and its place, and nothing cancels it."""
    run = Run(runtime.border, Scope(), job.socket.lane, None)
    run.pass_on()
    run.begin(job, cancels=False)
    return run


def is_own(run: Run, sid: Sid, namespace: str) -> bool:
    """Whether the run works for this client; in its connect handler the hub goes the ordinary way (spec 1.5.7)."""
    socket, job = run.socket, run.job
    if socket is None or job is None or job.kind is JobKind.CONNECT:
        return False
    return socket.sid == sid and socket.namespace == namespace


def spare(run: Run | None, sid: Sid, namespace: str) -> None:
    """A connect handler that puts out its own client is not cancelled by its own call either."""
    socket = run.socket if run is not None else None
    if run is not None and socket is not None and socket.sid == sid and socket.namespace == namespace:
        run.cancels = run.cancels and socket.ended


def _sender(run: Run | None, callback: object) -> Sid | None:
    """On whose behalf the calling code emits. A background task's callback belongs to no client (spec 1.9.1)."""
    if run is None:
        return None
    if run.socket is not None:
        return run.socket.sid
    return run.origin if callback is None else None


def _hand_over(runtime: Runtime, run: Run | None, emission: Emission) -> None:
    """Bring an emission to the hub: at once on the loop, queued from everywhere else."""
    border, hub = runtime.border, runtime.hub
    if border.on_loop():
        border.drain()
        hub.emit(emission)
        if run is None or not run.flushes:
            hub.flush()
    elif run is not None:
        run.post(hub.emit, (emission,), emission.size)
    else:
        border.post(hub.emit, emission, size=emission.size)


def _if_there(act: Callable[[Sid, str, Room], object], sid: Sid, namespace: str, room: Room) -> None:
    """A handler's act on its own client, which may have left meanwhile: nothing then (design §8.16)."""
    with suppress(KeyError, ValueError):
        act(sid, namespace, room)


def _disconnect_quietly(runtime: Runtime, sid: Sid, namespace: str) -> Socket | None:
    socket = runtime.hub.disconnect(sid, namespace, run_handler=False)
    runtime.hub.flush()
    return socket


def _disconnect_other(runtime: Runtime, sid: Sid, namespace: str) -> None:
    runtime.hub.disconnect(sid, namespace)
    runtime.hub.flush()


def _ask(runtime: Runtime, answer: Answer, emission: Emission, timeout: float | None, waiter: Waiter) -> None:
    """On the loop: send the question and start the clock."""
    if waiter.woken:
        return  # cancelled before the question was sent
    answer.waiter = waiter
    if timeout is not None:
        answer.timer = runtime.timers.call_later(timeout, partial(waiter.wake, Answer.LATE))
    runtime.hub.emit(emission)
    runtime.hub.flush()


def _withdraw(runtime: Runtime, answer: Answer) -> None:
    if answer.timer is not None:
        answer.timer.cancel()
    runtime.hub.withdraw(answer)


def _wait_in_thread(runtime: Runtime, arm: Callable[[Waiter], object]) -> object:
    waiter = Waiter()
    stopping = runtime.border.stopping
    stopping.enter(waiter)
    try:
        runtime.border.post(arm, waiter)
        runtime.border.wait_for(waiter)
    finally:
        stopping.leave(waiter)
    if waiter.value is CANCELLED:
        raise NotServing("The server stopped while call() waited for an answer.")
    return waiter.value


def answer_of(value: object, event: str, rooms: tuple[Room, ...], timeout: float | None) -> object:
    """What a ``call()`` returns or raises for what it was woken with: arguments, ``Answer.GONE`` or ``Answer.LATE``."""
    if value is Answer.LATE:
        raise TimeoutError(f"The client {rooms[0]!r} did not answer {event!r} within {timeout:g} s.")
    if value is Answer.GONE:
        raise ClientGone(f"The client {rooms[0]!r} left, or was not connected, before it answered {event!r}.")
    assert isinstance(value, tuple)
    return unpack(value)


def unpack(args: tuple[object, ...]) -> object:
    """An acknowledgement's arguments as a value: None, the one, or the tuple of several."""
    if not args:
        return None
    return args[0] if len(args) == 1 else args


def as_args(args: tuple[object, ...], what: str) -> tuple[object, ...]:
    """The event's arguments from the positional ones of a public call (spec 1.9.1).

    Raises:
        TypeError: more than one positional payload.
    """
    if len(args) > 1:
        raise TypeError(f"{what}() takes one payload: give several event arguments as one tuple.")
    if not args or args[0] is None:
        return ()
    return args[0] if isinstance(args[0], tuple) else args


def as_rooms(to: object) -> tuple[Room, ...] | None:
    """The receivers named by ``to`` (spec 6.4 #4): None and '' everybody, ``[]`` nobody, 0 the room 0."""
    if to is None or to == "":
        return None
    if isinstance(to, (list, tuple, set, frozenset)):
        return tuple(to)
    return (to,)  # type: ignore[return-value]  # any hashable may name a room


def as_sids(skip: object) -> tuple[Sid, ...]:
    """The sids named by ``skip_sid``: None, one, or any iterable of them."""
    if skip is None:
        return ()
    if isinstance(skip, str):
        return (skip,)
    if isinstance(skip, Iterable):
        return tuple(skip)
    raise TypeError(f"skip_sid must be a sid or several, not {skip!r}")


def unsendable(what: str, error: Exception) -> Exception:
    """The error of a value that cannot be serialised, naming what it was for; of the same type, for who catches it."""
    if type(error) not in (TypeError, ValueError):
        return error  # a json module's own: it may hold more than a text
    return type(error)(f"{what} cannot be sent: {error}").with_traceback(error.__traceback__)
