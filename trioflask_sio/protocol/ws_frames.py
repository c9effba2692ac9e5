"""WebSocket frames (RFC 6455): one frame per message out, and the shortcut for whole simple frames in (design §8.19).

Rules:

* Out: one message is one unmasked frame, framed once and shared by every receiver.
* In: bytes are buffered until a frame is whole. A frame that is complete in itself (final, no reserved bit, masked,
  text or binary, not inside a fragmented message) is decoded here. Every other frame is handed on as raw bytes for
  wsproto, which stays the authority for control frames, fragments, compression and every violation.
* A declared length over the cap is refused from the header alone, before its payload is buffered.
* After an error nothing more is parsed: the same error is raised again.
"""

from __future__ import annotations

from typing import Final

from trioflask_sio.exceptions import ProtocolError

__all__ = ["FrameBuffer", "FrameError", "FrameTooBig", "RawFrame", "frame", "utf8"]

_TEXT: Final = 0x81
_BINARY: Final = 0x82
_SIMPLE: Final = frozenset((_TEXT, _BINARY))
_FIN: Final = 0x80
_MASKED: Final = 0x80
_CONTROL_MAX: Final = 125
"""Bytes of a control frame's payload (RFC 6455 5.5)."""

_STRIPES_FROM: Final = 512
"""Bytes from which four translated stripes are faster than one big integer (measured)."""


class FrameError(ProtocolError):
    """The peer broke the WebSocket protocol.

    Args:
        code: the close code to answer with (RFC 6455 7.4.1).
        message: what was wrong; fits a close frame.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class FrameTooBig(FrameError):
    """A message is over the cap; ``size`` is what is known of it, ``limit`` the cap, both in bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(1009, f"message of {size} bytes is over the limit of {limit} bytes")
        self.size = size
        self.limit = limit


class RawFrame:
    """One complete frame that is not a simple message, as received: input for wsproto."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"<RawFrame opcode {self.data[0] & 0x0F} of {len(self.data)} bytes>"


def utf8(text: str) -> bytes:
    """Text as UTF-8, with U+FFFD in place of lone surrogates (which UTF-8 cannot carry), as browsers encode it."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def frame(message: str | bytes) -> bytes:
    """One message as one final, unmasked frame: text for str, binary for bytes."""
    if isinstance(message, str):
        first = _TEXT
        payload = utf8(message)
    else:
        first = _BINARY
        payload = message
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126, size >> 8, size & 0xFF)) + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


class FrameBuffer:
    """Incoming bytes of one connection, cut into whole frames.

    Args:
        max_message: bytes; a longer frame, or a fragmented message whose parts add up to more, is refused.
    """

    __slots__ = ("_buffer", "_error", "_fragmented", "_fragments", "_max", "_position")

    def __init__(self, max_message: int) -> None:
        self._max = max_message
        self._buffer: bytes | bytearray = b""
        self._position = 0
        self._fragmented = False
        self._fragments = 0
        self._error: FrameError | None = None

    def feed(self, data: bytes) -> None:
        """Take what the socket gave. After an error it is dropped."""
        if self._error is not None:
            return
        buffer = self._buffer
        position = self._position
        if position == len(buffer):
            self._buffer = data  # the usual case: nothing is left over, nothing is copied
        elif isinstance(buffer, bytearray):
            # Cutting a bytearray's front moves a pointer, and appending is amortised: no byte is copied per read.
            del buffer[:position]
            buffer += data
        else:
            joined = bytearray(memoryview(buffer)[position:])
            joined += data
            self._buffer = joined
        self._position = 0

    def next(self) -> str | bytes | RawFrame | None:
        """The next simple message, or the next other frame, or None when no whole frame is left.

        Raises:
            FrameTooBig: close with 1009 (spec 3.13.3).
            FrameError: text that is not UTF-8 (1007), a control frame that is too long (1002).
        """
        buffer = self._buffer
        start = self._position
        available = len(buffer) - start
        if available < 2:
            if self._error is not None:
                raise self._error
            return None
        first = buffer[start]
        size = buffer[start + 1] - _MASKED
        if not 0 <= size < 126 or first not in _SIMPLE or self._fragmented:
            return self._unusual(start, available)
        if size > self._max:
            raise self._fail(FrameTooBig(size, self._max))
        end = start + 6 + size
        if end > len(buffer):
            return None
        self._position = end
        return self._message(first, buffer[start + 2 : start + 6], buffer[start + 6 : end])

    def drain(self) -> list[str | bytes | RawFrame]:
        """All that ``next`` would give, in order; one call per read.

        An error behind some messages does not swallow them: it is raised by the next call of either method.

        Raises:
            FrameError: as ``next``, when nothing comes before it.
        """
        taken: list[str | bytes | RawFrame] = []
        add = taken.append
        take = self.next
        try:
            while (item := take()) is not None:
                add(item)
        except FrameError:
            if not taken:
                raise
        return taken

    @property
    def buffered(self) -> int:
        """Bytes held that are not yet a whole frame, or were not yet asked for."""
        return len(self._buffer) - self._position

    def _message(self, first: int, key: bytes | bytearray, masked: bytes | bytearray) -> str | bytes:
        payload = _unmask(key, masked)
        if first == _BINARY:
            return payload
        try:
            return payload.decode()
        except UnicodeDecodeError as error:
            raise self._fail(FrameError(1007, f"text message is not UTF-8: {error.reason}")) from error

    def _unusual(self, start: int, available: int) -> str | bytes | RawFrame | None:
        """A frame with a long length, or one that is for wsproto."""
        buffer = self._buffer
        first, second = buffer[start], buffer[start + 1]
        head, size = self._length(start, second & 0x7F, available)
        if size < 0:
            return None
        total = self._admit(first, size)
        masked = second & _MASKED
        body = start + head + (4 if masked else 0)
        end = body + size
        if end > len(buffer):
            return None
        self._position = end
        # A length written longer than needed is a violation: wsproto says so.
        if first in _SIMPLE and masked and head == _head(size) and not self._fragmented:
            return self._message(first, buffer[body - 4 : body], buffer[body:end])
        self._track(first, total)
        return RawFrame(bytes(buffer[start:end]))

    def _length(self, start: int, short: int, available: int) -> tuple[int, int]:
        """Bytes before the mask, and bytes of the payload: -1 while they have not come."""
        if short < 126:
            return 2, short
        head = 4 if short == 126 else 10
        if available < head:
            return head, -1
        return head, int.from_bytes(self._buffer[start + 2 : start + head], "big")

    def _admit(self, first: int, size: int) -> int:
        """Refuse a frame by its header. Returns the bytes of its message so far, itself included."""
        if first & 0x08:
            if size > _CONTROL_MAX:
                raise self._fail(FrameError(1002, f"control frame of {size} bytes; at most {_CONTROL_MAX} are allowed"))
            return size
        total = size + (self._fragments if first & 0x0F == 0 else 0)
        if total > self._max:
            raise self._fail(FrameTooBig(total, self._max))
        return total

    def _track(self, first: int, total: int) -> None:
        """Follow a fragmented message; control frames may stand between its parts."""
        if not first & 0x08:
            self._fragmented = not first & _FIN
            self._fragments = total if self._fragmented else 0

    def _fail(self, error: FrameError) -> FrameError:
        self._error = error
        self._buffer = b""
        self._position = 0
        return error


def _head(size: int) -> int:
    """Bytes before the mask in the shortest, and only legal, way to write a length."""
    return 2 if size < 126 else 4 if size < 65_536 else 10


def _unmask(key: bytes | bytearray, masked: bytes | bytearray) -> bytes:
    size = len(masked)
    if size < _STRIPES_FROM:
        mask = int.from_bytes((key * (size // 4 + 1))[:size], "little")
        return (int.from_bytes(masked, "little") ^ mask).to_bytes(size, "little")
    plain = bytearray(masked)
    for i in range(4):
        plain[i::4] = plain[i::4].translate(_XOR[key[i]])
    return bytes(plain)


_XOR: Final = tuple(bytes(byte ^ key for byte in range(256)) for key in range(256))
"""``_XOR[k]`` translates every byte to itself xor k."""
