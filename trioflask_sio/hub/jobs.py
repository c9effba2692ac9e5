"""One piece of work for the application: which handler, with what, for whom."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioflask_sio.hub.handlers import Handler
    from trioflask_sio.hub.socket import Socket

__all__ = ["Job", "JobKind"]


class JobKind(enum.Enum):
    """What a job is, and with that what its ``args`` hold and how it must end.

    * CONNECT: ``args == (auth,)``; ends with exactly one of ``hub.accept`` and ``hub.refuse``, also when cancelled
      (refuse) or failed.
    * EVENT: ``args`` are the event's arguments; an answer goes out by ``hub.send_ack`` when ``ack_id`` is not None.
    * DISCONNECT: ``args == (reason,)``; ends with ``hub.disconnected``.
    * CALLBACK: ``callback(*args)``, a client's answer, run for the socket whose handler emitted.
    """

    CONNECT = "connect"
    EVENT = "event"
    DISCONNECT = "disconnect"
    CALLBACK = "callback"


class Job:
    """One call into the application. Never changed after it was made.

    Args:
        kind: see :class:`JobKind`.
        socket: whose client it is for; its lane keeps the order.
        handler: None for CALLBACK.
        event: the event's name as it came from the wire; None for CALLBACK.
        args: by kind.
        ack_id: the client's acknowledgement id, where it wants an answer.
        size: bytes of input held until the job has ended.
        callback: what a CALLBACK runs.
    """

    __slots__ = ("ack_id", "args", "callback", "event", "handler", "kind", "size", "socket")

    def __init__(
        self,
        kind: JobKind,
        socket: Socket,
        handler: Handler | None,
        event: object,
        args: tuple[object, ...],
        ack_id: int | None = None,
        size: int = 0,
        callback: Callable[..., object] | None = None,
    ) -> None:
        self.kind = kind
        self.socket = socket
        self.handler = handler
        self.event = event
        self.args = args
        self.ack_id = ack_id
        self.size = size
        self.callback = callback

    def __repr__(self) -> str:
        return f"<Job {self.kind.value} {self.event!r} for {self.socket!r}>"
