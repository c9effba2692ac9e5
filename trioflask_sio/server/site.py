"""What all connections of one running server share, and the lines they log."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Final

import trio

from trioflask_sio.engine.transport import HttpRequest
from trioflask_sio.server.config import ServeConfig
from trioflask_sio.server.service import Service

__all__ = ["Peer", "Site", "logger"]

logger = logging.getLogger("trioflask_sio.server")
access_logger = logging.getLogger("trioflask_sio.access")

_SID: Final = re.compile(r"(?<![^?&])sid=([^&]{0,6})[^&]*")


class Peer:
    """The two ends of one connection, as requests show them."""

    __slots__ = ("client", "scheme", "server")

    def __init__(
        self,
        client: tuple[str, int] | None = None,
        server: tuple[str, int | None] | None = None,
        scheme: str = "http",
    ) -> None:
        self.client = client
        self.server = server
        self.scheme = scheme

    def __str__(self) -> str:
        return "local" if self.client is None else f"{self.client[0]}:{self.client[1]}"


class Site:
    """One server at work: its service, its options, its idle connections."""

    __slots__ = ("_closing", "_idle", "access_log", "config", "connections", "draining", "service")

    def __init__(self, service: Service, config: ServeConfig) -> None:
        self.service = service
        self.config = config
        self.access_log = config.access_log
        self.draining = False
        """Set when stopping: every reply says ``Connection: close``."""
        self.connections = 0
        self._closing = False
        self._idle: dict[trio.CancelScope, None] = {}

    @contextmanager
    def idling(self, seconds: float) -> Iterator[trio.CancelScope]:
        """The wait for a request's first byte: ends after ``seconds``, or when idle connections are closed."""
        with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
            self._idle[scope] = None
            if self._closing:
                scope.cancel()
            try:
                yield scope
            finally:
                self._idle.pop(scope, None)

    def busy(self, scope: trio.CancelScope, seconds: float) -> None:
        """The first byte came: no longer idle, and ``seconds`` are left for the rest."""
        self._idle.pop(scope, None)
        scope.deadline = trio.current_time() + seconds

    def close_idle(self) -> None:
        """End every connection that waits for a request, now and from now on."""
        self._closing = self.draining = True
        for scope in list(self._idle):
            scope.cancel()

    def common_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every reply."""
        headers = [(b"date", _date())]
        if self.config.server_header is not None:
            headers.append((b"server", self.config.server_header.encode("ascii")))
        return headers

    def log_request(self, peer: Peer, request: HttpRequest, status: int, size: int, seconds: float) -> None:
        """One line for one answered request."""
        target = request.raw_path.decode("latin-1")
        if request.query_string:
            target = f"{target}?{shorten_sids(request.query_string)}"
        line = '%s "%s %s HTTP/%s" %d %d %.1fms'
        access_logger.info(line, peer, request.method, target, request.http_version, status, size, seconds * 1000)

    def log_connection(self, peer: Peer, what: str) -> None:
        """One line when a connection opens or closes."""
        if self.access_log:
            access_logger.info("%s connection %s (%d open)", peer, what, self.connections)


def shorten_sids(query: str) -> str:
    """A query string fit for a log: whoever knows a session id can take the session over (spec 3.3.5)."""
    return _SID.sub(r"sid=\1…", query)


_date_cache = (0, b"")


def _date() -> bytes:
    """The Date header's value, made once per second."""
    global _date_cache
    now = int(time.time())
    made = _date_cache
    if made[0] != now:
        made = _date_cache = (now, formatdate(now, usegmt=True).encode("ascii"))
    return made[1]
