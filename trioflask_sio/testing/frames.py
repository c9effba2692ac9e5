"""Reads a server's WebSocket frames as a client does: the opposite of ``protocol.ws_frames.frame``.

Rules: data frames only, because a server of ours writes whole text and binary frames; anything else fails the test.
"""

from __future__ import annotations

__all__ = ["FrameReader"]


class FrameReader:
    """Reads the server's frames: unmasked, unfragmented text and binary."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[str | bytes]:
        """The messages that are whole now."""
        self._buffer += data
        messages: list[str | bytes] = []
        while (frame := self._next()) is not None:
            messages.append(frame)
        return messages

    def _next(self) -> str | bytes | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return None
        payload = bytes(buffer[start : start + size])
        kind = buffer[0]
        del buffer[: start + size]
        if kind not in (0x81, 0x82):
            raise AssertionError(f"the server wrote a frame that starts with {kind:#x}")
        return payload.decode() if kind == 0x81 else payload
