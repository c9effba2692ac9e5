"""Revision 4 of Engine.IO on the wire: WebSocket messages and polling bodies (spec 3.4.2 to 3.4.7).

Rules:

* A polling body is UTF-8 text, its packets are joined with the record separator. There is no cap on their count: the
  body's size is capped by whoever reads it, and a body that was taken is taken whole (spec 3.4.5).
* Packets before a bad one are handed out before the error is raised (spec 3.4.7).
* Writing never fails: text that UTF-8 cannot carry (a lone surrogate) is replaced as browsers do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from trioflask_sio.exceptions import PacketError, PayloadError
from trioflask_sio.protocol.eio_packet import Message, Packet, decode, encode
from trioflask_sio.protocol.ws_frames import utf8

__all__ = ["V4", "V4_B64", "Revision4"]

_SEPARATOR: Final = "\x1e"
_CONTENT_TYPE: Final = "text/plain; charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Revision4:
    """The wire form of Engine.IO 4.

    Args:
        b64: the client cannot read binary frames (``b64=1`` in its query): bytes travel as text on WebSocket too.
    """

    b64: bool = False
    key: str = field(init=False)
    number: int = field(init=False, default=4)
    server_pings: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", "4b64" if self.b64 else "4")

    def to_ws(self, packet: Packet) -> str | bytes:
        """One packet as one WebSocket message: bytes for a binary message unless ``b64``, else text."""
        if type(packet) is Message and not self.b64 and isinstance(packet.data, bytes):
            return packet.data
        return encode(packet)

    def from_ws(self, message: str | bytes) -> Packet:
        """One WebSocket message as a packet; a binary frame is a binary message.

        Raises:
            PacketError: the text is no packet.
        """
        return decode(message) if isinstance(message, str) else Message(message)

    def element(self, packet: Packet) -> str:
        """One packet as an element of a polling body."""
        return encode(packet)

    def payload(self, elements: Sequence[str | bytes]) -> tuple[bytes, str]:
        """Elements as one polling body, and its content type."""
        return utf8(_SEPARATOR.join([e if isinstance(e, str) else encode(Message(e)) for e in elements])), _CONTENT_TYPE

    def from_payload(self, body: bytes, content_type: str = _CONTENT_TYPE) -> Iterator[Packet]:
        """The packets of one POST body, in order.

        Args:
            body: the whole body, already capped by the reader.
            content_type: the request's header; a binary one is refused (spec 3.4.3).

        Raises:
            PayloadError: wrong content type, not UTF-8, empty, or a bad packet; the packets before it come first.
        """
        if content_type.partition(";")[0].strip().lower() == "application/octet-stream":
            raise PayloadError("an Engine.IO 4 polling body must be text, not application/octet-stream")
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise PayloadError(f"a polling body of {len(body)} bytes is not UTF-8: {error.reason}") from error
        # Found one by one: a body may hold half a million packets, and the first bad one ends it.
        start = 0
        while start <= len(text):
            end = text.find(_SEPARATOR, start)
            if end < 0:
                end = len(text)
            try:
                packet = decode(text[start:end])
            except PacketError as error:
                raise PayloadError(f"bad packet at character {start} of a polling body: {error}") from error
            yield packet
            start = end + 1


V4: Final = Revision4()
V4_B64: Final = Revision4(b64=True)
