"""An ASGI server in memory for one request at a time, with every delivery under the test's control."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from trioflask_sio.bridge.wsgi import WsgiApplication
from trioflask_sio.bridge.wsgi_stream import WsgiCallable

DEADLINE = 20
"""Seconds after which a test that hangs fails; never waited for otherwise."""


@asynccontextmanager
async def running(wsgi_app: WsgiCallable, **options: Any) -> AsyncIterator[WsgiApplication]:
    """The application with its threads, for the length of the block."""
    application = WsgiApplication(wsgi_app, **options)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as group:
            await group.start(application.run)
            yield application
            group.cancel_scope.cancel()


class Exchange:
    """One request and its reply.

    Args:
        method, path, headers: the request's head.
        pieces: body messages that wait already.
        open_body: the body goes on after ``pieces``; ``feed`` brings the rest.
        root_path, raw_path, **scope: for the ASGI scope.
    """

    def __init__(
        self,
        method: str = "GET",
        path: str = "/",
        *,
        headers: Iterable[tuple[str, str]] = (),
        pieces: Iterable[bytes] = (),
        open_body: bool = False,
        **scope: Any,
    ) -> None:
        path, _, query = path.partition("?")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [
                (name.encode(), value.encode("latin-1")) for name, value in [("host", "test.example"), *headers]
            ],
            "client": ("192.0.2.7", 4711),
            "server": ("192.0.2.1", 8000),
            **scope,
        }
        self.waiting: deque[dict[str, Any]] = deque()
        self.taken = 0
        self.sent: list[MutableMapping[str, Any]] = []
        self.gate = anyio.Event()
        self.gate.set()
        self.broken = False
        self.ended = False
        self._changed = anyio.Event()
        parts = list(pieces) or [b""]
        for number, piece in enumerate(parts, 1):
            self.feed(piece, more=open_body or number < len(parts))

    # --- the client ---------------------------------------------------------------------------------------------

    def feed(self, body: bytes, *, more: bool = True) -> None:
        """The client sends another part of its body."""
        self._put({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        """The client closes its connection."""
        self._put({"type": "http.disconnect"})

    def _put(self, message: dict[str, Any]) -> None:
        self.waiting.append(message)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def until_sent(self, count: int) -> None:
        """Return when the application has sent ``count`` messages."""
        while len(self.sent) < count:
            await self._changed.wait()

    async def until_taken(self, count: int) -> None:
        """Return when the application has taken ``count`` messages."""
        while self.taken < count:
            await self._changed.wait()

    # --- the server ---------------------------------------------------------------------------------------------

    async def receive(self) -> dict[str, Any]:
        """ASGI receive; ``http.disconnect`` stays."""
        while not self.waiting:
            await self._changed.wait()
        self.taken += 1
        message = self.waiting[0] if self.waiting[0]["type"] == "http.disconnect" else self.waiting.popleft()
        self._tell()
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """ASGI send; waits at the gate and refuses when broken."""
        if self.broken:
            raise ConnectionResetError("the client has left")
        assert not self.complete, f"{message} after the end"
        assert bool(self.sent) == (message["type"] == "http.response.body"), f"{message} out of turn"
        self.sent.append(message)
        self._tell()
        await self.gate.wait()

    async def run(self, application: WsgiApplication) -> Exchange:
        """Let the application answer."""
        await application(self.scope, self.receive, self.send)
        self.ended = True
        return self

    # --- the reply ----------------------------------------------------------------------------------------------

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.sent[0]["headers"]}

    @property
    def chunks(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def complete(self) -> bool:
        return bool(self.sent) and self.sent[-1].get("more_body") is False


async def fetch(application: WsgiApplication, method: str = "GET", path: str = "/", **options: Any) -> Exchange:
    """One request from beginning to end."""
    return await Exchange(method, path, **options).run(application)
