"""What the engine's tests share: a recording listener, a running engine, a virtual-clock runner, short hands."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import sniffio
import trio
import trio.testing

from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.engine.engine import Engine
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.session import Session
from trioflask_sio.engine.transport import HttpResponse
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.testing.wires import EngineClient, SocketClient

T = TypeVar("T")
POLL = {"EIO": "4", "transport": "polling"}
SOCKET = {"EIO": "4", "transport": "websocket"}


class Recorder:
    """A listener that writes everything down, and echoes when asked to."""

    def __init__(self, *, echo: bool = False) -> None:
        self.echo = echo
        self.opened: list[Session] = []
        self.messages: list[str | bytes] = []
        self.closed: list[tuple[Session, CloseReason]] = []
        self.on_open: Callable[[Session], object] | None = None
        self.on_message: Callable[[Session, str | bytes], object] | None = None
        self.on_close: Callable[[Session, CloseReason], object] | None = None

    def session_opened(self, session: Session) -> None:
        self.opened.append(session)
        if self.on_open:
            self.on_open(session)

    def message_received(self, session: Session, data: str | bytes) -> None:
        self.messages.append(data)
        if self.on_message:
            self.on_message(session, data)
        if self.echo:
            session.send(Outgoing((data,)))

    def session_closed(self, session: Session, reason: CloseReason) -> None:
        assert session.closed
        assert session.close_reason is reason
        self.closed.append((session, reason))
        if self.on_close:
            self.on_close(session, reason)

    @property
    def reasons(self) -> list[CloseReason]:
        return [reason for _, reason in self.closed]


class Stage:
    """One running engine with a client's hands."""

    def __init__(self, engine: Engine, listener: Recorder, client: EngineClient, nursery: Any) -> None:
        self.engine = engine
        self.listener = listener
        self.client = client
        self.nursery = nursery

    async def open_polling(self) -> str:
        """Shake hands over polling; the sid."""
        return str(opening(await self.client.http("GET", POLL))["sid"])

    async def open_socket(self, **options: Any) -> SocketClient:
        """Shake hands over WebSocket; the greeting is read."""
        socket = self.client.socket(SOCKET, client=SocketClient(**options))
        assert await socket.wait_open() is None
        greeting = await socket.receive()
        assert isinstance(greeting, str)
        assert greeting.startswith("0{")
        return socket

    async def get(self, sid: str) -> str:
        """One poll; the body of a 200."""
        return body(await self.client.http("GET", {**POLL, "sid": sid}))

    async def post(self, sid: str, data: str | bytes) -> HttpResponse:
        return await self.client.http("POST", {**POLL, "sid": sid}, data)

    def offer(self, sid: str) -> SocketClient:
        """Open a WebSocket for an upgrade."""
        return self.client.socket({**SOCKET, "sid": sid})

    async def upgrade(self, sid: str) -> SocketClient:
        """The whole upgrade, as a client does it."""
        poll = self.client.start("GET", {**POLL, "sid": sid})
        await settle()
        socket = self.offer(sid)
        socket.send("2probe")
        assert await socket.receive() == "3probe"
        assert body(await poll.wait_response()) == "6"
        socket.send("5")
        await settle()
        return socket

    @property
    def session(self) -> Session:
        return self.listener.opened[-1]


def body(response: HttpResponse) -> str:
    assert response.status == 200, response
    return response.body.decode()


def refused(response: HttpResponse | None) -> tuple[int, int, str]:
    """Status, code and message of an error reply."""
    assert response is not None
    assert dict(response.headers)["Content-Type"] == "application/json"
    data = json.loads(response.body)
    return response.status, data["code"], data["message"]


def opening(response: HttpResponse) -> dict[str, Any]:
    """The handshake data of a polling reply."""
    first = body(response).split("\x1e")[0]
    assert first[0] == "0"
    data = json.loads(first[1:])
    assert isinstance(data, dict)
    return data


async def settle() -> None:
    """Let everybody run until nobody can.

    AnyIO's own way sleeps real time on asyncio; there, a fixed number of turns of the loop is more than any chain of
    wake-ups in these tests needs.
    """
    if sniffio.current_async_library() == "trio":
        await trio.testing.wait_all_tasks_blocked()
    for _ in range(40):
        await anyio.lowlevel.checkpoint()


def item(*messages: str | bytes) -> Outgoing:
    return Outgoing(messages)


@asynccontextmanager
async def stage(*, listener: Recorder | None = None, logger: Any = None, **options: Any) -> AsyncIterator[Stage]:
    """A running engine; leaving it proves that nothing is left."""
    recorder = listener or Recorder()
    engine = Engine(EngineConfig(**options), recorder, logger=logger or logging.getLogger("test.engine"))
    async with anyio.create_task_group() as hosting:
        await hosting.start(engine.run)
        async with anyio.create_task_group() as nursery:
            yield Stage(engine, recorder, EngineClient(engine, nursery), nursery)
            async with anyio.create_task_group() as stopping:
                stopping.start_soon(lambda: engine.shutdown(timeout=5))
                await settle()
                for session in recorder.opened:  # polling clients fetch their goodbyes, so nobody waits for them
                    if session.transport == "polling":
                        await EngineClient(engine, stopping).http("GET", {**POLL, "sid": session.eio_sid})
            nursery.cancel_scope.cancel()
        hosting.cancel_scope.cancel()
    assert not engine.sessions
    assert len(engine.timers) == 0
    assert len(recorder.closed) == len(recorder.opened)


def virtual(scenario: Callable[[], Awaitable[T]]) -> T:
    """Run on Trio under a virtual clock that jumps: hours take milliseconds, every moment is exact."""
    return trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))
