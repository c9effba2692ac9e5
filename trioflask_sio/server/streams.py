"""Byte streams under a connection: our own sockets, TLS, and anything in memory.

Rules:

* ``PeerGone`` is the one error: a closed, broken or aborted stream raises it; the end of input is ``b""``.
* One reader and one writer at a time; reading and writing may overlap.
* ``receive_some`` and ``wait_gone`` may be cancelled at any time without loss. A cancelled ``send_all`` leaves a stream
  that is only good for closing (design §8.5).
* ``wait_gone`` never loses bytes and never spins on bytes that nobody reads. (A peer that has filled the whole receive
  window before it closes cannot be seen to close by anybody who does not read: its FIN waits behind the bytes.)
* ``abort`` is synchronous, idempotent, and wakes whoever waits.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol

import trio

from trioflask_sio.engine.transport import PeerGone
from trioflask_sio.server.sendnow import SEND_FLAGS, lock_keeping_send

__all__ = ["ByteStream", "HangupWatch", "PlainStream", "TrioStream", "tls_stream"]

RECEIVE_SIZE: Final = 65_536
"""Bytes asked of the kernel at once; the reply is as small as what came, so an idle client holds none of it."""

PUSHBACK_LIMIT: Final = 65_536
"""Bytes that ``wait_gone`` of a wrapped stream keeps for the next reader before it stops reading ahead."""

_HANGUP_POLL: Final = 0.5
"""Seconds between looks at a peer with unread data, only where the platform has no epoll."""


_CLOSE_DEADLINE: Final = 2.0
"""Seconds for TLS to say goodbye."""

_BROKEN: Final = (OSError, ValueError, trio.ClosedResourceError)
"""What waiting on or using a socket raises when it broke or was closed by us (ValueError: its number is gone)."""


class ByteStream(Protocol):
    """What a connection needs of the thing under it."""

    @property
    def can_try_send(self) -> bool: ...

    async def receive_some(self) -> bytes:
        """Some bytes, or ``b""`` at the end of input. Raises PeerGone when the stream is broken."""

    def try_send(self, data: bytes | memoryview) -> int:
        """Send what is taken at once; only where ``can_try_send``. Raises PeerGone."""

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send everything. Raises PeerGone."""

    async def send_eof(self) -> None:
        """Say that nothing more will be sent, where the stream can say so. Never raises PeerGone."""

    async def wait_gone(self) -> None:
        """Return when the peer has closed or broken the stream, even while unread bytes wait."""

    async def aclose(self) -> None:
        """Close in order. Idempotent, never raises PeerGone."""

    def abort(self) -> None:
        """Close at once."""


class HangupWatch:
    """Waits for a socket's hang-up and is blind for its readable bytes."""

    __slots__ = ("_epoll", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._epoll: select.epoll | None = None

    async def wait(self) -> None:
        """Return when the peer has hung up, or ``wake`` was called. Cancelled, it leaves nothing behind."""
        if not hasattr(select, "epoll"):
            while not _hung_up(self._sock):  # noqa: ASYNC110  nothing tells us, that is why we look
                await trio.sleep(_HANGUP_POLL)
            return
        # An epoll set can itself be waited for: this one holds one socket and of it only the hang-up.
        with select.epoll(1) as epoll:
            epoll.register(self._sock.fileno(), select.EPOLLRDHUP)
            self._epoll = epoll
            try:
                await trio.lowlevel.wait_readable(epoll.fileno())
            except trio.ClosedResourceError:
                return
            finally:
                self._epoll = None

    def wake(self) -> None:
        """Call before the socket is closed: a closed socket silently leaves an epoll set."""
        if self._epoll is not None:
            trio.lowlevel.notify_closing(self._epoll.fileno())


class PlainStream:
    """A connected, non-blocking standard-library socket that belongs to us."""

    __slots__ = ("_fd", "_hangup", "_sock")

    can_try_send = True

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._hangup: HangupWatch | None = None

    async def receive_some(self) -> bytes:
        # Waiting first costs an idle connection nothing, and makes every read a checkpoint: nobody starves the rest.
        fd = self._open_fd()
        try:
            while True:
                await trio.lowlevel.wait_readable(fd)
                try:
                    return self._sock.recv(RECEIVE_SIZE)
                except (BlockingIOError, InterruptedError):
                    continue
        except _BROKEN as error:
            raise _gone(error) from None

    def try_send(self, data: bytes | memoryview) -> int:
        if lock_keeping_send is not None and data.__class__ is bytes and self._fd >= 0:
            count = lock_keeping_send(self._fd, data, len(data), SEND_FLAGS)
            if count >= 0:
                return count
        try:
            return self._sock.send(data, SEND_FLAGS)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise _gone(error) from None

    async def send_all(self, data: bytes | memoryview) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        sent = self.try_send(data)
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        while rest:
            fd = self._open_fd()
            try:
                await trio.lowlevel.wait_writable(fd)
            except _BROKEN as error:
                raise _gone(error) from None
            rest = rest[self.try_send(rest) :]

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def wait_gone(self) -> None:
        if self._fd < 0:
            await trio.lowlevel.checkpoint()
            return
        try:
            while True:
                await trio.lowlevel.wait_readable(self._fd)
                try:
                    if not self._sock.recv(1, socket.MSG_PEEK):
                        return
                    break
                except (BlockingIOError, InterruptedError):
                    continue
            # Bytes wait that are not ours to read: a pipelined request, or messages of a paused client.
            self._hangup = HangupWatch(self._sock)
            try:
                await self._hangup.wait()
            finally:
                self._hangup = None
        except _BROKEN:
            return

    async def aclose(self) -> None:
        self.abort()
        await trio.lowlevel.checkpoint_if_cancelled()

    def abort(self) -> None:
        if self._fd < 0:
            return
        self._wake()
        self._sock.close()

    def detach(self) -> socket.socket:
        """Give the open socket away (design §8.20); whoever waited on this stream hears that it is closed."""
        self._open_fd()
        self._wake()
        return socket.socket(fileno=self._sock.detach())

    def _open_fd(self) -> int:
        """The descriptor; a closed one must never reach trio, which would keep it as waited for. Raises PeerGone."""
        if self._fd < 0:
            raise PeerGone("the connection is closed")
        return self._fd

    def _wake(self) -> None:
        trio.lowlevel.notify_closing(self._fd)
        if self._hangup is not None:
            self._hangup.wake()
        self._fd = -1  # before the number can belong to somebody else


class TrioStream:
    """A trio stream (TLS, in memory) as ours: no direct sends, everything else the same.

    Args:
        stream: the trio stream.
        close_now: closes what is under it at once, without awaiting.
        hangup: tells when the peer has hung up although nobody reads; None where nothing can.
    """

    __slots__ = ("_close_now", "_ended", "_hangup", "_pushback", "_stream")

    can_try_send = False

    def __init__(
        self, stream: trio.abc.Stream, close_now: Callable[[], None], hangup: HangupWatch | None = None
    ) -> None:
        self._stream = stream
        self._close_now = close_now
        self._hangup = hangup
        self._pushback = bytearray()
        self._ended = False

    async def receive_some(self) -> bytes:
        if not self._pushback:
            return await self._read()
        await trio.lowlevel.checkpoint()
        taken = bytes(self._pushback)
        self._pushback.clear()
        return taken

    async def _read(self) -> bytes:
        """Bytes from below, ``b""`` for ever after the end. Cancelled, it has consumed nothing."""
        if self._ended:
            await trio.lowlevel.checkpoint()
            return b""
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _gone(error) from None
        self._ended = not data
        return data

    def try_send(self, data: bytes | memoryview) -> int:
        return 0

    async def send_all(self, data: bytes | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _gone(error) from None

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._stream.send_eof()

    async def wait_gone(self) -> None:
        # Only what is decrypted shows the end, so we read ahead, within bounds, for whoever reads next.
        try:
            while len(self._pushback) < PUSHBACK_LIMIT:
                data = await self._read()
                if not data:
                    return
                self._pushback += data
        except PeerGone:
            return
        if self._hangup is None:
            await trio.sleep_forever()
        else:
            with contextlib.suppress(*_BROKEN):
                await self._hangup.wait()

    async def aclose(self) -> None:
        try:
            with trio.move_on_after(_CLOSE_DEADLINE), contextlib.suppress(trio.BrokenResourceError):
                await self._stream.aclose()
        finally:
            self.abort()

    def abort(self) -> None:
        self._ended = True
        if self._hangup is not None:
            self._hangup.wake()
        self._close_now()


def tls_stream(sock: socket.socket, context: ssl.SSLContext) -> tuple[TrioStream, trio.SSLStream[trio.SocketStream]]:
    """A TLS server on a connected socket: our stream, and trio's for the handshake that is still to be done."""
    raw = trio.socket.from_stdlib_socket(sock)
    ssl_stream = trio.SSLStream(trio.SocketStream(raw), context, server_side=True, https_compatible=True)
    return TrioStream(ssl_stream, raw.close, HangupWatch(sock)), ssl_stream


def _gone(error: BaseException) -> PeerGone:
    """The one error of this module, with the cause in words."""
    if isinstance(error, trio.ClosedResourceError) or (isinstance(error, OSError) and error.errno == errno.EBADF):
        return PeerGone("the connection is closed")
    return PeerGone(f"the connection broke: {error}")


def _hung_up(sock: socket.socket) -> bool:
    """For platforms without epoll: what ``poll`` says of the peer, else of an exhausted stream."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock.fileno(), getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))
    return sock.fileno() < 0
