"""The input half of a WebSocket, without I/O: bytes in; messages, answers and the end out (design §5, §8.19).

Rules:

* A simple frame is decoded by ``FrameBuffer``. wsproto decides everything about the others: control frames, fragments,
  compression, violations. It is built only when the first such frame comes: an idle client holds none of it.
* Nothing is decoded after the end has been found; what came before it is still delivered.
* A compressed message is inflated in small steps and refused as soon as it is over the limit.
"""

from __future__ import annotations

from typing import Final

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.extensions import PerMessageDeflate

from trioflask_sio.engine.transport import MessageTooBig, PeerGone, TransportFailed
from trioflask_sio.protocol.limits import INPUT_CHUNK
from trioflask_sio.protocol.ws_frames import FrameBuffer, FrameError, FrameTooBig, RawFrame

__all__ = ["Input"]

_INFLATE_STEP: Final = 2_048
"""Compressed bytes per step: deflate grows some 1000-fold at most, so a bomb is seen after 2 MB."""

_CONTROL_BIT: Final = 0x08
"""In an opcode: ping, pong or close."""


class Input:
    """What one client has sent.

    Args:
        max_message: bytes of one message, inflated.
        early: what came behind the upgrade request.
        deflate: the negotiated compression, or None.
    """

    __slots__ = (
        "_control",
        "_data",
        "_deflate",
        "_frames",
        "_max_message",
        "_parts",
        "_parts_size",
        "answer",
        "close_code",
        "failure",
        "pending",
        "ready",
    )

    def __init__(self, max_message: int, early: bytes, deflate: PerMessageDeflate | None) -> None:
        self._max_message = max_message
        self._frames = FrameBuffer(max_message)
        self._deflate = deflate
        self._control: Connection | None = None
        self._data: Connection | None = None
        self._parts: list[str | bytes] = []
        self._parts_size = 0
        self.ready: list[str | bytes] = []
        """Whole messages; whoever takes them puts an empty list in their place."""
        self.answer = b""
        """The control frame to send back: the latest pong (RFC 6455 5.5.3), or the answer to a close frame."""
        self.failure: TransportFailed | None = None
        """Why nothing more will come."""
        self.close_code: int | None = None
        """The code that a violation demands of our close frame."""
        self.pending = False
        """Bytes were fed and not decoded."""
        if early:
            self.feed(early)

    def feed(self, data: bytes) -> None:
        """What the stream gave; ``decode`` until nothing is ``pending`` before the next feed."""
        self._frames.feed(data)
        self.pending = True

    def end(self, failure: TransportFailed) -> None:
        """The stream has ended; the first cause stays."""
        if self.failure is None:
            self.failure = failure

    def decode(self) -> None:
        """Make messages, answers and the failure of what was fed; ``pending`` stays set when a chunk was not all."""
        self.pending = False
        if self.failure is None:
            try:
                self._decode()
            except FrameTooBig as error:
                self._refuse(1009, MessageTooBig(error.size, error.limit))
            except FrameError as error:
                self._refuse(error.code, TransportFailed(str(error)))

    def _decode(self) -> None:
        take = self._frames.next
        ready = self.ready
        for _ in range(INPUT_CHUNK):
            item = take()
            if item is None:
                return
            if not isinstance(item, RawFrame):
                ready.append(item)
            elif not self._unusual(item.data):
                return
        self.pending = True

    def _refuse(self, code: int, failure: TransportFailed) -> None:
        self.close_code = code
        self.failure = failure
        self._parts.clear()

    def _unusual(self, data: bytes) -> bool:
        """One whole frame for wsproto. False when it was the last that counts."""
        if data[0] & _CONTROL_BIT:
            authority = self._control_authority()
            step = len(data)
        else:
            authority = self._data_authority()
            step = len(data) if self._deflate is None else _INFLATE_STEP
        for start in range(0, len(data), step):
            authority.receive_data(data[start : start + step])
            for event in authority.events():
                self._take(authority, event)
                if self.failure is not None:
                    return False
        return True

    def _control_authority(self) -> Connection:
        """wsproto for control frames; where nothing is compressed, for all."""
        if self._control is None:
            self._control = Connection(ConnectionType.SERVER)
        return self._control

    def _data_authority(self) -> Connection:
        """wsproto for data frames.

        A second one where compression is on: wsproto 1.3 forgets that a fragmented message is compressed when a
        control frame comes between its fragments.
        """
        if self._data is None:
            if self._deflate is None:
                self._data = self._control_authority()
            else:
                self._data = Connection(ConnectionType.SERVER, [self._deflate])
        return self._data

    def _take(self, authority: Connection, event: Event) -> None:
        if isinstance(event, (TextMessage, BytesMessage)):
            self._take_part(event)
        elif isinstance(event, Ping):
            if authority.state is ConnectionState.OPEN:
                self.answer = bytes(authority.send(event.response()))
        elif isinstance(event, CloseConnection):
            self._take_close(authority, event)

    def _take_part(self, event: TextMessage | BytesMessage) -> None:
        """A piece of a fragmented or compressed message."""
        piece: str | bytes = event.data if isinstance(event.data, str) else bytes(event.data)
        self._parts_size += len(piece.encode()) if isinstance(piece, str) and not piece.isascii() else len(piece)
        if self._parts_size > self._max_message:
            self._refuse(1009, MessageTooBig(self._parts_size, self._max_message))
            return
        self._parts.append(piece)
        if event.message_finished:
            empty: str | bytes = "" if isinstance(event, TextMessage) else b""
            self.ready.append(empty.join(self._parts))  # type: ignore[arg-type]  # the pieces are all of one kind
            self._parts.clear()
            self._parts_size = 0

    def _take_close(self, authority: Connection, event: CloseConnection) -> None:
        """A close frame, or wsproto's verdict on a violation: it reports both alike, its state tells them apart."""
        code = int(event.code)
        if authority.state is ConnectionState.REMOTE_CLOSING:
            self.failure = PeerGone(f"the client closed the WebSocket with code {code}", code)
            self.answer = bytes(authority.send(event.response()))
        elif authority.state is ConnectionState.CLOSED:
            self.failure = PeerGone("the WebSocket is closed", code)
        else:
            self._refuse(code, TransportFailed(f"WebSocket protocol violation: {event.reason or code}"))

    # -- what wsproto makes for the output half ------------------------------------------------------------------------

    def goodbye(self, code: int, reason: str) -> bytes:
        """Our close frame, once; empty when the closing handshake has gone beyond it. A violation's code wins."""
        authority = self._control_authority()
        if authority.state is not ConnectionState.OPEN:
            return b""
        return bytes(authority.send(CloseConnection(code=self.close_code or code, reason=reason or None)))

    def compress(self, message: str | bytes) -> bytes:
        """One message as a compressed frame."""
        if isinstance(message, str):
            return bytes(self._data_authority().send(TextMessage(data=message)))
        return bytes(self._data_authority().send(BytesMessage(data=message)))
