"""Listen, serve, stop: the life of one server (design §8.14).

::

    serve_service
    ├─ watch                  hears cancellation from outside
    └─ shield                 so that a stop can be orderly; from the stop on it has a deadline
       ├─ engine.run
       ├─ second signal       cancels the shield
       ├─ accept loops        one per listener
       └─ connections         one task each

Stopping, first request: the engine refuses handshakes and closes its sessions while known ones are still served; then
the listeners close, idle connections end, requests at work may finish; at ``shutdown_timeout`` the rest is cancelled.
Second request: everything is cancelled now. Cancelled from outside: like the first, but within a second.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import trio

from trioflask_sio.server.config import ServeConfig
from trioflask_sio.server.connection import refuse_connection, serve_stream, serve_tls
from trioflask_sio.server.listener import Bound, Listener, open_listeners
from trioflask_sio.server.service import Service
from trioflask_sio.server.site import Peer, Site, logger
from trioflask_sio.server.streams import PlainStream, tls_stream

__all__ = ["StopSignal", "one_error", "serve_service"]

_CANCEL_GRACE: Final = 1.0
"""Seconds for farewells when the server is cancelled from outside."""

_MAX_REFUSING: Final = 64
"""Connections over the limit that are being told so; beyond these they are closed without a word."""


class StopSignal:
    """How a running server is told to stop: once in order, twice at once. On the loop's thread only."""

    __slots__ = ("_drain", "_now")

    def __init__(self) -> None:
        self._drain = trio.Event()
        self._now = trio.Event()

    def request(self) -> None:
        """First call: drain. Second call: cancel now."""
        if self._drain.is_set():
            self._now.set()
        self._drain.set()

    @property
    def requested(self) -> bool:
        """Whether anybody has asked."""
        return self._drain.is_set()

    async def wait(self) -> None:
        """Until the first request."""
        await self._drain.wait()

    async def wait_now(self) -> None:
        """Until the second request."""
        await self._now.wait()


async def serve_service(
    service: Service,
    config: ServeConfig,
    *,
    stop: StopSignal | None = None,
    task_status: trio.TaskStatus[list[Bound]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen and serve until stopped or cancelled.

    Args:
        service: what to serve; its engine's ``run`` is hosted here.
        config: the options.
        stop: lets the caller stop in order (``stop.request()``); cancelling works without it.
        task_status: told the addresses, once the server listens and the engine runs.

    Raises:
        AddressInUse, ListenError: it cannot listen there.
        ConfigError: the TLS files cannot be loaded.
    """
    server = _Server(service, config, stop or StopSignal())
    with _switch_interval(config.switch_interval), one_error():
        await server.open()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(server.watch)
                await server.run(task_status)
                nursery.cancel_scope.cancel()
        finally:
            server.close_listeners()


class _Server:
    """One server at work."""

    def __init__(self, service: Service, config: ServeConfig, stop: StopSignal) -> None:
        self.site = Site(service, config)
        self.config = config
        self.stop = stop
        self.context = config.tls()
        self.listeners: list[Listener] = []
        self.shield = trio.CancelScope(shield=True)
        self.open_count = 0
        self.refusing = 0

    async def open(self) -> None:
        """Bind everything."""
        self.listeners = await open_listeners(self.config)

    def close_listeners(self) -> None:
        """Stop listening. Idempotent."""
        for listener in self.listeners:
            listener.close()

    def hurry(self, seconds: float) -> None:
        """The shield ends in ``seconds`` at the latest."""
        self.shield.deadline = min(self.shield.deadline, trio.current_time() + seconds)

    async def watch(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Cancelled from outside, stop in order but quickly. Cancelled after the end, it changes nothing."""
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self.hurry(_CANCEL_GRACE)
            if not self.stop.requested:
                self.stop.request()

    async def run(self, task_status: trio.TaskStatus[list[Bound]]) -> None:
        """Everything below the shield. Returns when the server has stopped."""
        with self.shield:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.site.service.engine.run)
                nursery.start_soon(self._second_signal)
                async with trio.open_nursery() as connections, trio.open_nursery() as acceptors:
                    for listener in self.listeners:
                        acceptors.start_soon(listener.accept_forever, self._acceptor(listener, connections))
                    task_status.started([listener.bound for listener in self.listeners])
                    await self.stop.wait()
                    await self._drain(acceptors)
                nursery.cancel_scope.cancel()

    async def _second_signal(self) -> None:
        await self.stop.wait_now()
        self.shield.cancel()

    async def _drain(self, acceptors: trio.Nursery) -> None:
        """The orderly stop, up to the point where only requests at work are left."""
        self.site.draining = True
        self.hurry(self.config.shutdown_timeout)
        remaining = self.shield.deadline - trio.current_time()
        await self.site.service.engine.shutdown(timeout=max(0.0, remaining))
        acceptors.cancel_scope.cancel()
        self.close_listeners()
        self.site.close_idle()

    # -- connections -------------------------------------------------------------------------------------------------

    def _acceptor(self, listener: Listener, connections: trio.Nursery) -> Callable[[socket.socket, Any], None]:
        def accepted(sock: socket.socket, address: Any) -> None:
            if self.open_count >= self.config.max_connections:
                self._refuse(sock, connections)
                return
            self.open_count += 1
            connections.start_soon(self._connection, sock, address, listener.bound)

        return accepted

    def _refuse(self, sock: socket.socket, connections: trio.Nursery) -> None:
        """One connection too many: say so, as long as that is cheap."""
        if not self.refusing:
            logger.warning("refusing connections: max_connections=%d are open", self.config.max_connections)
        if self.refusing >= _MAX_REFUSING or self.context is not None:
            sock.close()
            return
        self.refusing += 1
        connections.start_soon(self._tell_refused, PlainStream(sock))

    async def _tell_refused(self, stream: PlainStream) -> None:
        try:
            await refuse_connection(self.site, stream)
        finally:
            self.refusing -= 1

    async def _connection(self, sock: socket.socket, address: Any, bound: Bound) -> None:
        try:
            peer = _peer(sock, address, bound)
            if self.context is None:
                await serve_stream(self.site, PlainStream(sock), peer)
            else:
                stream, ssl_stream = tls_stream(sock, self.context)
                await serve_tls(self.site, stream, ssl_stream, peer)
        finally:
            self.open_count -= 1
            sock.close()


def _peer(sock: socket.socket, address: Any, bound: Bound) -> Peer:
    """Both ends of an accepted connection; a Unix socket has no client address."""
    scheme = "https" if bound.tls else "http"
    if bound.path is not None:
        return Peer(None, (bound.path, None), scheme)
    local: tuple[str, int] = (bound.host, bound.port)
    with contextlib.suppress(OSError):  # the client may be gone already; reading will tell
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        local = sock.getsockname()[:2]
    return Peer((address[0], address[1]), local, scheme)


@contextlib.contextmanager
def one_error() -> Iterator[None]:
    """A single error leaves without the exception groups that nurseries put around it."""
    try:
        yield
    except BaseException as error:
        inner: BaseException = error
        while len(getattr(inner, "exceptions", ())) == 1:
            inner = inner.exceptions[0]  # type: ignore[attr-defined]  # a group, by the test above
        if inner is error:
            raise
        raise inner from inner.__cause__


_interval_lock = threading.Lock()
_interval_users: list[float] = []
"""The interval to restore, once per server that runs in this process: it is one for all threads."""


@contextlib.contextmanager
def _switch_interval(seconds: float | None) -> Iterator[None]:
    """Give the interpreter lock away more often while serving (design §8.6); the last server restores what was."""
    if seconds is None:
        yield
        return
    with _interval_lock:
        _interval_users.append(_interval_users[0] if _interval_users else sys.getswitchinterval())
        sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        with _interval_lock:
            before = _interval_users.pop()
            if not _interval_users:
                sys.setswitchinterval(before)
