"""Attachments in: from the messages of one connection to whole packets (spec 2.1.5, 2.2).

Rules:

* One packet is in flight per connection. Between a header and its last attachment only binary may come, and without a
  header none.
* What waits is bounded in count and in bytes.
* After an error nothing is kept; the connection is to be closed.
"""

from __future__ import annotations

from trioflask_sio.exceptions import PacketError
from trioflask_sio.protocol.jsonlib import DEFAULT_JSON, JsonCodec
from trioflask_sio.protocol.limits import DEFAULT_LIMITS, Limits
from trioflask_sio.protocol.sio_packet import Packet, Pending, decode

__all__ = ["Assembler"]


class Assembler:
    """Makes packets from the Engine.IO messages of one connection.

    Args:
        limits: caps of what a client may send.
        json: the codec.
    """

    __slots__ = ("_attachments", "_json", "_limits", "_pending", "pending_bytes")

    def __init__(self, limits: Limits = DEFAULT_LIMITS, json: JsonCodec = DEFAULT_JSON) -> None:
        self._limits = limits
        self._json = json
        self._pending: Pending | None = None
        self._attachments: list[bytes] = []
        self.pending_bytes = 0
        """Bytes of attachments that wait for the rest of their packet."""

    @property
    def waiting(self) -> bool:
        """Whether a header has come whose attachments are not complete."""
        return self._pending is not None

    def feed(self, message: str | bytes) -> Packet | None:
        """Take one Engine.IO message.

        Args:
            message: text or one attachment.

        Returns:
            The packet that is now complete, or None when attachments are missing.

        Raises:
            PacketError: the message cannot be read or may not come now; nothing is kept.
        """
        if self._pending is not None:
            return self._attach(self._pending, message)
        if not isinstance(message, str):
            raise PacketError(f"{len(message)} bytes of binary that no packet announced")
        packet = decode(message, self._limits, self._json)
        if type(packet) is Pending:
            self._pending = packet
            return None
        return packet  # type: ignore[return-value]  # mypy does not narrow the other half of `type() is`

    def reset(self) -> None:
        """Forget what waits; for the end of a connection."""
        self._pending = None
        self._attachments = []
        self.pending_bytes = 0

    def _attach(self, pending: Pending, message: str | bytes) -> Packet | None:
        expected = pending.packet.attachments
        if isinstance(message, str):
            missing = expected - len(self._attachments)
            self.reset()
            raise PacketError(f"a text message while {missing} of {expected} attachments are missing")
        self.pending_bytes += len(message)
        limit = self._limits.max_attachment_bytes
        if self.pending_bytes > limit:
            size = self.pending_bytes
            self.reset()
            raise PacketError(f"attachments of at least {size} bytes in one packet; at most {limit} are taken")
        self._attachments.append(message)
        if len(self._attachments) < expected:
            return None
        for container, key, number in pending.slots:
            container[key] = self._attachments[number]
        self.reset()
        return pending.packet
