"""One emit on its way from the caller's thread to the receivers.

It is encoded where it was made, in the caller's thread: data that cannot be sent raises there (spec 1.9.1), and what
the caller changes afterwards does not change what was sent. With a callback every receiver needs its own
acknowledgement id; the JSON is still made once and the id is put into its place per receiver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from trioflask_sio._types import Room, Sid
from trioflask_sio.hub.acks import Callback
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.protocol.sio_codec import Messages

__all__ = ["Emission", "Numbered"]


class Numbered:
    """An event packet with the place of its acknowledgement id left open (spec 2.1.2).

    Args:
        messages: the packet encoded without an id.
        numbering: puts an id into it (``PacketCodec.numbering``).
        event: the event's name.
        volatile: as in ``Outgoing``.
    """

    __slots__ = ("_event", "_numbering", "_volatile", "size")

    def __init__(self, messages: Messages, numbering: Callable[[int], Messages], event: str, *, volatile: bool) -> None:
        self._numbering = numbering
        self._event = event
        self._volatile = volatile
        self.size = sum(len(message) for message in messages)
        """Bytes held while it waits, by the length of the messages."""

    def with_id(self, ack_id: int) -> Outgoing:
        """The packet for one receiver."""
        return Outgoing(self._numbering(ack_id), event=self._event, volatile=self._volatile)


class Emission(NamedTuple):
    """What ``Hub.encode`` makes and ``Hub.emit`` delivers. Immutable, made in any thread."""

    namespace: str
    event: str
    args: tuple[object, ...]
    outgoing: Outgoing | None
    """The shared packet; None when a callback needs one id per receiver."""
    rooms: tuple[Room, ...] | None
    """The union of these; None is the whole namespace, ``()`` nobody."""
    skip: frozenset[Sid]
    callback: Callback | None
    volatile: bool
    sender: Sid | None
    """The sid whose handler emitted: its own connect handler may already reach it (spec 2.5.2), and callbacks run
    in its lane."""
    numbered: Numbered | None
    """The packet with its id left open, where ``outgoing`` is None."""

    @property
    def size(self) -> int:
        """Bytes that wait with it on its way to the loop."""
        if self.outgoing is not None:
            return self.outgoing.size
        return self.numbered.size if self.numbered is not None else 0
