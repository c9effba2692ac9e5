"""Listening sockets: our own, non-blocking, from the standard library (design §5).

Rules:

* An address that cannot be had is one sentence that names host, port and remedy.
* A Unix socket's file is removed only when it is stale or ours.
* The accept loop never ends by itself and never spins: out of file descriptors it says so once and waits.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import trio

from trioflask_sio.exceptions import SocketIOError
from trioflask_sio.server.config import ServeConfig

__all__ = ["AddressInUse", "Bound", "ListenError", "Listener", "open_listeners"]

logger = logging.getLogger("trioflask_sio.server")

_ACCEPT_BATCH: Final = 64
"""Connections taken per wake-up: a flood of them still lets the loop run."""

_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_NOT_HERE: Final = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
_EXHAUSTED_PAUSE: Final = 0.1
"""Seconds until the next try when the system has no descriptor left."""


class ListenError(SocketIOError, OSError):
    """The server cannot listen at this address; the message says why and what to do."""

    def __str__(self) -> str:
        return str(self.args[-1])  # the sentence alone, without OSError's "[Errno 98]" before it


class AddressInUse(ListenError):
    """Somebody else listens there already."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One address that is listened on; ``str()`` of it is the URL, or ``unix:`` and the path."""

    host: str
    port: int
    tls: bool = False
    path: str | None = None
    """The Unix socket's path; host and port are then empty and 0."""

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class Listener:
    """One listening socket; for a Unix socket also its file."""

    __slots__ = ("_inode", "bound", "sock")

    def __init__(self, sock: socket.socket, bound: Bound) -> None:
        self.sock = sock
        self.bound = bound
        self._inode = None if bound.path is None else _inode(bound.path)

    async def accept_forever(self, accepted: Callable[[socket.socket, Any], None]) -> None:
        """Hand every connection to ``accepted(socket, peer)``, which must not block or raise. Ends by cancellation."""
        complained = False
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            try:
                for _ in range(_ACCEPT_BATCH):
                    connection, peer = self.sock.accept()
                    connection.setblocking(False)
                    accepted(connection, peer)
                    complained = False
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    continue  # this client left before it was accepted
                if not complained:
                    complained = True
                    logger.warning("no new connections on %s: %s (raise the limit: ulimit -n)", self.bound, error)
                await trio.sleep(_EXHAUSTED_PAUSE)

    def close(self) -> None:
        """Stop listening; remove the Unix socket's file if it is still ours. Idempotent."""
        if self.sock.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()
        path = self.bound.path
        if path is not None and self._inode is not None and _inode(path) == self._inode:
            with contextlib.suppress(OSError):
                os.unlink(path)


async def open_listeners(config: ServeConfig) -> list[Listener]:
    """Bind and listen on everything the config names.

    Raises:
        AddressInUse: another program listens there.
        ListenError: the name is unknown, the address is not ours, or permission is missing.
    """
    tls = config.ssl_context is not None or config.certfile is not None
    if config.unix_socket is not None:
        return [_listen_unix(config.unix_socket, config.backlog, tls)]
    addresses = await _resolve(config.host, config.port)
    listeners: list[Listener] = []
    port = config.port
    missing: ListenError | None = None
    try:
        for family, address in addresses:
            try:
                listener = _listen_tcp(family, (address[0], port, *address[2:]), config.backlog, tls)
            except ListenError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error  # "localhost" may name ::1 on a machine without IPv6
                continue
            listeners.append(listener)
            port = listener.bound.port  # with port=0 every family gets the port that the first one got
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    if missing is not None and not listeners:
        raise missing
    return listeners


async def _resolve(host: str | None, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    try:
        found = await trio.socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG * (not host)
        )
    except OSError as error:
        raise ListenError(f"cannot listen on host {host!r}: the name is unknown here ({error})") from error
    unique = {(int(family), address): None for family, _, _, _, address in found}
    # IPv4 first: the address that people type.
    return sorted(unique, key=lambda pair: pair[0] != socket.AF_INET)


def _listen_tcp(family: int, address: tuple[Any, ...], backlog: int, tls: bool) -> Listener:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _explain(error, address[0], address[1]) from None  # it holds the errno
    try:
        sock.setblocking(False)
        if os.name == "posix":  # elsewhere this option lets two servers share one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _explain(error, address[0], address[1]) from None  # it holds the errno
    host, port = sock.getsockname()[:2]
    return Listener(sock, Bound(host, port, tls))


def _explain(error: OSError, host: str, port: int) -> ListenError:
    """The sentence for an address that cannot be had."""
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(
            error.errno,
            f"port {port} on {host} is already in use: another program, perhaps an earlier start of this one, "
            f"listens there. Stop it, or choose another port (port=0 takes any free one)",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ListenError(
            error.errno,
            f"no permission to listen on port {port} of {host}: ports below 1024 usually need root. "
            f"Choose a higher port and put a proxy in front",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ListenError(
            error.errno, f"{host} is not an address of this machine: use 127.0.0.1, 0.0.0.0 or one of its own addresses"
        )
    return ListenError(error.errno, f"cannot listen on port {port} of {host}: {error.strerror or error}")


def _listen_unix(path: str, backlog: int, tls: bool) -> Listener:
    if not hasattr(socket, "AF_UNIX"):
        raise ListenError("this platform has no Unix sockets: give host and port instead of unix_socket")
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise ListenError(error.errno, f"cannot listen on the Unix socket {path}: {error.strerror or error}") from error
    return Listener(sock, Bound("", 0, tls, path))


def _remove_stale(path: str) -> None:
    """Remove the file of a server that has died.

    Raises:
        AddressInUse: somebody answers there.
        ListenError: the file is no socket.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"unix_socket {path} exists and is not a socket: remove the file, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError:
            pass  # it may live: EAGAIN is a full backlog
    raise AddressInUse(
        errno.EADDRINUSE, f"the Unix socket {path} is in use: another server listens there. Stop it, or choose a path"
    )


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
