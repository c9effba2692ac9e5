"""One small strategy object per Engine.IO revision, chosen at the handshake (design §8.17).

Everything that differs between protocol generations on the wire is asked of this object, so that no other module
compares version numbers. Revision 4 lives in :mod:`trioflask_sio.protocol.eio_payload`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from trioflask_sio.protocol.eio_packet import Packet

__all__ = ["Revision"]


class Revision(Protocol):
    """The wire form of one Engine.IO protocol generation."""

    @property
    def key(self) -> str:
        """Names generation and framing; equal keys mean equal bytes. The cache key of ``Outgoing``."""

    @property
    def number(self) -> int:
        """The value of ``EIO`` in the handshake query."""

    @property
    def server_pings(self) -> bool:
        """True where the server sends the pings (revision 4)."""

    def to_ws(self, packet: Packet) -> str | bytes:
        """One packet as one WebSocket message."""

    def from_ws(self, message: str | bytes) -> Packet:
        """One WebSocket message as a packet. Raises PacketError."""

    def element(self, packet: Packet) -> str | bytes:
        """One packet as an element of a polling payload."""

    def payload(self, elements: Sequence[str | bytes]) -> tuple[bytes, str]:
        """Elements as one polling body, and its content type."""

    def from_payload(self, body: bytes, content_type: str) -> Iterator[Packet]:
        """The packets of a polling body, in order; those before a bad one are yielded before PayloadError is raised."""
