"""An open WebSocket on our own streams: ``engine.transport.WebSocketTransport``.

Rules:

* Input is decoded without awaiting (``ws_input``), so a cancelled ``receive`` has lost nothing.
* Answers to control frames wait until no frame of ours is half sent, and never stop the reader: what cannot go now goes
  with the engine's next frame.
* ``close`` is bounded by its own deadline, whatever the client does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

import trio
from wsproto.extensions import PerMessageDeflate

from trioflask_sio.engine.transport import PeerGone, TransportFailed
from trioflask_sio.protocol.ws_frames import frame
from trioflask_sio.server.streams import ByteStream
from trioflask_sio.server.ws_input import Input

__all__ = ["Transport"]

CLOSE_DEADLINE: Final = 2.0
"""Seconds for our close frame to be taken and answered."""


class Transport:
    """One open WebSocket.

    Args:
        stream: the bytes; it belongs to the transport from now on.
        max_message: bytes of one incoming message, inflated.
        early: what the client sent behind its upgrade request.
        deflate: the negotiated compression, or None.
        deflate_threshold: smallest message in bytes that is compressed.
    """

    __slots__ = (
        "_answers",
        "_closing",
        "_deflate_threshold",
        "_ended",
        "_hindered",
        "_input",
        "_lock",
        "_mid_frame",
        "_reading",
        "_stream",
        "_tail",
        "can_try_send",
        "framed",
    )

    def __init__(
        self,
        stream: ByteStream,
        *,
        max_message: int,
        early: bytes = b"",
        deflate: PerMessageDeflate | None = None,
        deflate_threshold: int = 1024,
    ) -> None:
        self._stream = stream
        self._input = Input(max_message, early, deflate)
        self._deflate_threshold = deflate_threshold
        self._tail = b""
        """The rest of a control frame that is half sent: nothing may come before it."""
        self._answers = b""
        """Whole control frames that wait to be sent."""
        self._mid_frame = False
        """Frames are half sent: nothing but their rest may come now."""
        self._hindered = False
        """Any reason why ``try_send`` must look closer: one test on the hot path."""
        self._lock = trio.Lock()
        """Held by whoever awaits a send."""
        self._reading = False
        self._closing = False
        self._ended: trio.Event | None = None
        self.framed = deflate is None
        self.can_try_send = deflate is None and stream.can_try_send

    def __repr__(self) -> str:
        state = "closing" if self._closing else "open" if self._input.failure is None else "failed"
        return f"<WebSocket {state}{'' if self.framed else ' deflate'}>"

    # -- in ----------------------------------------------------------------------------------------------------------

    async def receive(self) -> Sequence[str | bytes]:
        """See ``WebSocketTransport.receive``. Cancelled while it waits, it has lost nothing."""
        source = self._input
        while True:
            if source.pending:
                source.decode()
                if source.pending:  # a read can hold thousands of frames: others have their turn in between
                    with self._as_reader():
                        await trio.lowlevel.checkpoint()
            if source.answer:
                await self._answer()
            if source.ready:
                messages = source.ready
                source.ready = []
                return messages
            if source.failure is not None:
                raise source.failure
            if not source.pending:
                await self._read()

    async def _read(self) -> None:
        """Feed the input with what comes next; its end is input too."""
        with self._as_reader():
            try:
                data = await self._stream.receive_some()
            except PeerGone as error:
                self._input.end(error)
                return
        if data:
            self._input.feed(data)
        else:
            self._input.end(PeerGone("the client closed the connection without a close frame", 1006))

    @contextlib.contextmanager
    def _as_reader(self) -> Iterator[None]:
        """Whoever is in here reads; nobody else begins to."""
        self._reading = True
        try:
            yield
        finally:
            self._reading = False
            if self._ended is not None:
                self._ended.set()

    async def _answer(self) -> None:
        """Take the input's answer, and send it if that is possible at once; else it goes with our next frame.

        The reader never waits for a client that does not read. Cancelled in mid-frame, the stream is only good for
        closing.
        """
        self._answers = self._input.answer
        self._input.answer = b""
        self._hindered = True
        if self._mid_frame or self._lock.locked():
            return
        try:
            if self._stream.can_try_send:
                self._flush_control()
            else:
                async with self._lock:
                    await self._send_control()
        except PeerGone as error:
            self._input.end(error)

    # -- out ---------------------------------------------------------------------------------------------------------

    def try_send(self, data: bytes | memoryview) -> int:
        """See ``WebSocketTransport.try_send``."""
        if self._hindered and not self._clear_way():
            return 0
        taken = self._stream.try_send(data)
        if 0 < taken < len(data):
            self._mid_frame = self._hindered = True
        return taken

    def _clear_way(self) -> bool:
        """Whether the engine's next frame may go now; control frames that wait go first. Raises PeerGone."""
        if self._closing:
            raise PeerGone("the WebSocket is closed")
        if self._mid_frame or self._lock.locked():
            return False
        return self._flush_control()

    def _flush_control(self) -> bool:
        """Send waiting control frames without waiting; True when none is left. Only at a frame's border."""
        waiting = self._tail + self._answers
        sent = self._stream.try_send(waiting) if waiting else 0
        if sent == len(waiting):
            self._tail = self._answers = b""
            self._hindered = self._closing
            return True
        if sent > len(self._tail):
            self._tail, self._answers = waiting[sent:], b""
        else:
            self._tail = self._tail[sent:]
        return False

    async def _send_control(self) -> None:
        """With the lock held and at a frame's border: send what waits. Cancelled, it leaves ``_mid_frame`` set."""
        waiting = self._tail + self._answers
        self._tail = self._answers = b""
        if waiting:
            self._mid_frame = True
            await self._stream.send_all(waiting)
            self._mid_frame = False
        self._hindered = self._closing

    async def send_bytes(self, data: bytes | memoryview) -> None:
        """See ``WebSocketTransport.send_bytes``."""
        async with self._lock:
            if self._closing:
                raise PeerGone("the WebSocket is closed")
            if not self._mid_frame:
                await self._send_control()
            self._mid_frame = self._hindered = True
            await self._stream.send_all(data)
            self._mid_frame = False
            await self._send_control()

    async def send_message(self, message: str | bytes) -> None:
        """See ``WebSocketTransport.send_message``."""
        if self.framed or len(message) < self._deflate_threshold:
            await self.send_bytes(frame(message))
        else:
            await self.send_bytes(self._input.compress(message))

    # -- the end -----------------------------------------------------------------------------------------------------

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """See ``WebSocketTransport.close``. The code that a violation demands wins over ``code``."""
        if self._closing:
            return
        self._closing = self._hindered = True
        try:
            with trio.move_on_after(CLOSE_DEADLINE):
                await self._say_goodbye(code, reason)
                await self._stream.aclose()
        except PeerGone:
            pass
        finally:
            self._stream.abort()

    async def _say_goodbye(self, code: int, reason: str) -> None:
        """Our close frame, or the answer to the client's; then wait until the client has closed too."""
        async with self._lock:
            if self._mid_frame:
                return  # a frame was cut short: a close frame would be read as its payload
            self._answers = self._input.answer or self._answers
            self._answers += self._input.goodbye(code, reason)
            await self._send_control()
        await self._wait_closed()
        if self._input.close_code is not None:  # its input is not to be trusted, but let it read our close frame
            await self._stream.send_eof()
            while await self._stream.receive_some():
                pass

    async def _wait_closed(self) -> None:
        """Until the client's close frame or the end of the stream has come, whoever reads it."""
        while self._input.failure is None:
            if self._reading:
                self._ended = trio.Event()
                await self._ended.wait()
                await trio.lowlevel.checkpoint()  # the one who has read decodes it
            else:
                with contextlib.suppress(TransportFailed):
                    await self.receive()

    async def wait_gone(self) -> None:
        """See ``WebSocketTransport.wait_gone``."""
        await self._stream.wait_gone()

    def abort(self) -> None:
        """See ``WebSocketTransport.abort``."""
        self._closing = self._hindered = True
        self._stream.abort()
