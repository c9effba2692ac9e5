"""What travels from an emit to the sockets: one group of messages that must arrive together (design §8.17).

A Socket.IO packet and its attachments are one ``Outgoing``. It is built once per emit, shared by every receiver, and
encoded lazily once per Engine.IO revision and framing: a broadcast to a thousand WebSockets frames its text once.
Nothing here mutates after construction except the caches, which hold pure functions of the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioflask_sio.protocol.eio_packet import Message
from trioflask_sio.protocol.ws_frames import frame

if TYPE_CHECKING:
    from trioflask_sio.protocol.revision import Revision

__all__ = ["Outgoing"]


class Outgoing:
    """A group of Engine.IO messages, delivered whole and in order, or not at all.

    Args:
        messages: text or bytes, one per Engine.IO message; a Socket.IO packet first, then its attachments.
        event: the event's name, for policies that look at it (coalesce) and for logs; None for other packets.
        volatile: drop it for receivers that cannot take it at once.
    """

    __slots__ = ("_elements", "_frames", "event", "messages", "size", "volatile")

    def __init__(self, messages: tuple[str | bytes, ...], *, event: str | None = None, volatile: bool = False) -> None:
        self.messages = messages
        self.event = event
        self.volatile = volatile
        self.size = sum(len(m) for m in messages)
        """Bytes held, by the length of the messages (characters for text): what the outbox limits count."""
        self._frames: dict[str, bytes] = {}
        self._elements: dict[str, tuple[str | bytes, ...]] = {}

    def frames(self, revision: Revision) -> bytes:
        """All messages as ready WebSocket frames, back to back, for receivers of this revision."""
        key = revision.key
        made = self._frames.get(key)
        if made is None:
            made = b"".join(frame(revision.to_ws(Message(m))) for m in self.messages)
            self._frames[key] = made
        return made

    def elements(self, revision: Revision) -> tuple[str | bytes, ...]:
        """All messages as elements of a polling payload of this revision."""
        made = self._elements.get(revision.key)
        if made is None:
            made = tuple(revision.element(Message(m)) for m in self.messages)
            self._elements[revision.key] = made
        return made

    def __repr__(self) -> str:
        return f"<Outgoing {self.event or 'packet'!s} {len(self.messages)} message(s) {self.size} bytes>"
