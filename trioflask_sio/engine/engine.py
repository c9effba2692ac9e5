"""The engine: admission, the table of sessions, the nursery of the few tasks that belong to nobody's request.

Rules:

* ``run`` hosts: the timers' task, writer tasks of sockets that would block, the flush pump, and what the layer above
  starts. An idle client has none of them (design §8.13).
* Only this module adds to and removes from the registry.
* A client's mistake is one log line. A mistake of the layer above is a traceback and the end of that one session.
* Stopping: handshakes are refused first, then every session is closed with SERVER_SHUTDOWN, then goodbyes are waited
  for under a deadline (design §8.14). That holds for ``shutdown`` and for a cancelled ``run`` alike.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup, TaskStatus

from trioflask_sio.engine.admission import RefusalLog, admit
from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.engine.origin import OriginPolicy
from trioflask_sio.engine.polling import PollingCarrier
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.registry import Registry, short
from trioflask_sio.engine.replies import Replies
from trioflask_sio.engine.session import Session, SessionListener
from trioflask_sio.engine.timers import Timers
from trioflask_sio.engine.transport import (
    HttpExchange,
    HttpRequest,
    HttpResponse,
    PeerGone,
    TransportFailed,
    WebSocketTransport,
    WebSocketUpgrade,
)
from trioflask_sio.engine.upgrade import Probe
from trioflask_sio.engine.websocket import WebSocketCarrier
from trioflask_sio.exceptions import RequestRefused, UsageError
from trioflask_sio.protocol.eio_machine import Effect, Input, State
from trioflask_sio.protocol.eio_packet import Open
from trioflask_sio.protocol.eio_request import (
    BAD_REQUEST,
    UNKNOWN_SESSION,
    Handshake,
    check_transport,
    parse_query,
    refusal,
)
from trioflask_sio.protocol.limits import FANOUT_CHUNK

__all__ = ["Engine"]

HELD_GOODBYES: Final = 1.0
"""Seconds a stopping engine waits for polls that fetch held goodbyes. A living client polls again within milliseconds;
one that has vanished shall not hold up the stop."""

ELSEWHERE: Final = (
    " (it has ended, or was opened elsewhere: before a restart, or in another worker process. "
    "Several processes? Use one, or sticky sessions)"
)
"""Why a session may be unknown. That this process has others proves nothing: every worker process has its own."""


def _new_sid() -> str:
    """Twenty url-safe characters that nobody can guess (spec 3.3.5)."""
    return secrets.token_urlsafe(15)


class Engine:
    """All Engine.IO sessions of one server.

    Args:
        config: the options.
        listener: the layer above.
        new_sid: makes session ids; called again when one is taken.
        logger: default ``trioflask_sio.engine``.
    """

    def __init__(
        self,
        config: EngineConfig,
        listener: SessionListener,
        *,
        new_sid: Callable[[], str] = _new_sid,
        logger: logging.Logger | None = None,
    ) -> None:
        self.config = config
        self.listener = listener
        self.logger = logger or logging.getLogger("trioflask_sio.engine")
        self.timers = Timers(self.logger)
        self.sessions = Registry()
        self.accepting = False
        """Handshakes are admitted; set by ``run``, cleared for good by ``shutdown``."""
        self.on_refused: Callable[[HttpRequest, RequestRefused], object] | None = None
        """Called with each refusal (spec 3.2.5)."""
        self._origins = OriginPolicy(config, self.logger)
        self.replies = Replies(config, self._origins)
        self._refusals = RefusalLog(self.logger)
        self._new_sid = new_sid
        self._nursery: TaskGroup | None = None
        self._guests = 0
        self._writers = 0
        self._farewells: dict[str, Session] = {}
        self._dirty: deque[Session] = deque()
        self._pumping = False
        self._changed: anyio.Event | None = None

    def __repr__(self) -> str:
        state = "accepting" if self.accepting else "running" if self._nursery else "not running"
        return f"<Engine {state}, {len(self.sessions)} session(s)>"

    # --- the nursery --------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Host the engine until cancelled; then say goodbye to everybody under a deadline.

        Raises:
            UsageError: it runs already.
        """
        if self._nursery is not None:
            raise UsageError("this Engine is running already; make another one, or stop the first")
        # Cancelling `run` must not cut off the writers that the goodbye needs. They live under this shield, which the
        # finally below lifts after at most goodbye_timeout: a shield with a deadline, set when it starts to matter.
        hosting = anyio.CancelScope(shield=True)
        async with anyio.create_task_group() as outer:
            await outer.start(self._host, hosting)
            self.accepting = True
            try:
                task_status.started()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await self.shutdown(timeout=self.config.goodbye_timeout)
                hosting.cancel()

    async def _host(self, scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        try:
            with scope:
                async with anyio.create_task_group() as self._nursery:
                    self._nursery.start_soon(self.timers.run)
                    task_status.started()
        finally:
            self._nursery = None
            self.timers.clear()
            self._farewells.clear()

    def start_soon(self, fn: Callable[..., Awaitable[object]], *args: Any) -> None:
        """Start a task for the layer above; it ends with the engine. Its error is logged and ends nothing else.

        Raises:
            UsageError: the engine does not run.
        """
        if self._nursery is None:
            raise UsageError("start_soon needs a running Engine: start it with nursery.start(engine.run)")
        self._nursery.start_soon(self._guarded, fn, args)

    async def _guarded(self, fn: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        try:
            await fn(*args)
        except Exception:
            self.logger.exception("a task of the engine failed: %r", fn)

    def start_writer(self, write: Callable[[], Awaitable[None]]) -> None:
        """Start the writer of one session; ``shutdown`` waits for it."""
        self._writers += 1
        self.start_soon(self._written, write)

    async def _written(self, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await write()
        finally:
            self._writers -= 1
            self._note()

    # --- fan-out, phase 2 ---------------------------------------------------------------------------------------

    def flush_soon(self, session: Session) -> None:
        """Put a session on the list of those to flush; ``flush`` follows in the same step of the loop."""
        if not session.dirty:
            session.dirty = True
            self._dirty.append(session)

    def flush(self) -> None:
        """Bring out what fan-outs have queued: a chunk of receivers now, the rest by a task that yields in between."""
        if not self._pumping and self._flush_chunk():
            self._pumping = True
            self.start_soon(self._pump)

    def _flush_chunk(self) -> bool:
        dirty = self._dirty
        for _ in range(min(FANOUT_CHUNK, len(dirty))):
            session = dirty.popleft()
            session.dirty = False
            session.flush()
        return bool(dirty)

    async def _pump(self) -> None:
        """Flush the rest of a long fan-out. Cancelled: the engine ends, and closing sessions flush themselves."""
        try:
            while True:
                await anyio.lowlevel.checkpoint()
                if not self._flush_chunk():
                    return
        finally:
            self._pumping = False

    # --- HTTP ---------------------------------------------------------------------------------------------------

    async def handle_http(self, exchange: HttpExchange) -> None:
        """Answer one request: a poll, a POST, a handshake, a preflight, or a refusal.

        Never raises for a client's mistake. Cancelled, it closes the session it was serving, with a goodbye to a
        waiting poll under a deadline.
        """
        self._guests += 1
        session: Session | None = None
        try:
            try:
                response, session = await self._serve(exchange)
            except RequestRefused as refused:
                response = self._refuse(exchange.request, refused)
            await self.deliver(exchange, response, session)
        except PeerGone:
            self.logger.debug("a client left before %s was answered", exchange.request.path)
        finally:
            self._guests -= 1
            self._note()

    async def deliver(self, exchange: HttpExchange, response: HttpResponse, session: Session | None) -> None:
        """Write a reply. One that cannot be delivered in a heartbeat's time closes the session: packets are lost.

        After an upgrade nothing hangs on it any more.
        """
        delivered = False
        try:
            with anyio.move_on_after(self.config.ping_interval + self.config.ping_timeout):
                await exchange.respond(response)
                delivered = True
        except TransportFailed:
            self.logger.debug("a reply to %s could not be delivered", exchange.request.path)
        finally:
            if session is not None and not delivered and isinstance(session.carrier, PollingCarrier):
                session.close(CloseReason.TRANSPORT_ERROR, flush=False)

    async def _serve(self, exchange: HttpExchange) -> tuple[HttpResponse, Session | None]:
        request = exchange.request
        self._origins.check(request)
        if request.method == "OPTIONS":
            return self.replies.preflight(request), None
        query = parse_query(request.query_string)
        if not query.get("sid"):
            return await self._open_polling(exchange, query)
        name = check_transport(query, self.config.enabled)
        session = self.sessions.get(query["sid"])
        if session is None:
            return self._serve_farewell(exchange, query["sid"])
        carrier = session.carrier
        effect = session.step(Input.POLL_REQUEST)
        if effect is not Effect.SERVE or name != carrier.name or not isinstance(carrier, PollingCarrier):
            raise refusal(BAD_REQUEST, f"TRANSPORT_MISMATCH: {name} request for a session on {carrier.name}")
        if request.method == "GET":
            return await carrier.get(exchange), session
        if request.method == "POST":
            return await carrier.post(exchange), session
        return self.replies.bad_method(request), None

    async def _open_polling(self, exchange: HttpExchange, query: dict[str, str]) -> tuple[HttpResponse, Session | None]:
        handshake = await self._admit(exchange.request, query, is_upgrade=False)
        session = self._make(handshake, exchange.request, State.POLLING)
        carrier = PollingCarrier(self, session)
        session.carrier = carrier
        session.outbox.put_control(self._greeting(session, self.config.upgrades))
        return carrier.open(exchange), session

    def _serve_farewell(self, exchange: HttpExchange, sid: str) -> tuple[HttpResponse, Session | None]:
        """The first poll after a close without a poll fetches what was left (spec 3.5.6); all else is unknown."""
        session = self._farewells.get(sid)
        if session is None or exchange.request.method != "GET" or not isinstance(session.carrier, PollingCarrier):
            raise refusal(UNKNOWN_SESSION, f"UNKNOWN_SID: {short(sid)!r}{ELSEWHERE}")
        self.fetch_farewell(sid)
        session.carrier.drop_probe()
        return session.carrier.reply(exchange), None

    # --- WebSocket ----------------------------------------------------------------------------------------------

    async def handle_websocket(self, upgrade: WebSocketUpgrade) -> None:
        """Serve one WebSocket request until the session leaves that WebSocket: the reader is the caller's task.

        Never raises for a client's mistake. Cancelled, it closes the session and says goodbye under a deadline.
        """
        self._guests += 1
        try:
            live = await self._serve_websocket(upgrade)
            if live is not None:
                await live()
        except RequestRefused as refused:
            with anyio.move_on_after(self.config.goodbye_timeout):
                await upgrade.reject(self._refuse(upgrade.request, refused))
        except TransportFailed:
            self.logger.debug("a client left before its WebSocket was accepted")
        finally:
            self._guests -= 1
            self._note()

    async def _serve_websocket(self, upgrade: WebSocketUpgrade) -> Callable[[], Awaitable[None]] | None:
        """Answer the request. What is lived in afterwards is returned: an idle client keeps no frame of this."""
        request = upgrade.request
        self._origins.check(request)
        query = parse_query(request.query_string)
        if not query.get("sid"):
            handshake = await self._admit(request, query, is_upgrade=True)
            return await self._open_websocket(handshake, await self.accept(upgrade), request)
        name = check_transport(query, self.config.enabled)
        session = self.sessions.get(query["sid"])
        if session is None:
            raise refusal(UNKNOWN_SESSION, f"UNKNOWN_SID: {short(query['sid'])!r}{ELSEWHERE}")
        if not self.config.allow_upgrades:
            raise refusal(BAD_REQUEST, "UPGRADES_OFF: allow_upgrades is False")
        # An upgrade request for polling is accepted and closed, as a second WebSocket is (spec 3.7.3).
        if name == "websocket" and session.step(Input.PROBE_OFFERED) is Effect.ADMIT_PROBE:
            carrier = session.carrier
            if isinstance(carrier, PollingCarrier):
                return partial(Probe(self, session, carrier).run, upgrade)
        else:
            await self._accept_and_close(upgrade)
        return None

    async def _open_websocket(
        self, handshake: Handshake, wire: WebSocketTransport, request: HttpRequest
    ) -> Callable[[], Awaitable[None]] | None:
        if not self.accepting:
            await wire.close(CloseReason.SERVER_SHUTDOWN.ws_code, CloseReason.SERVER_SHUTDOWN.detail)
            return None
        session = self._make(handshake, request, State.WEBSOCKET)
        carrier = WebSocketCarrier(self, session, wire)
        session.carrier = carrier
        session.send_control(self._greeting(session, ()))
        self.session_opened(session)
        return carrier.run

    async def _accept_and_close(self, upgrade: WebSocketUpgrade) -> None:
        with anyio.move_on_after(self.config.goodbye_timeout):
            await (await self.accept(upgrade)).close()

    async def accept(self, upgrade: WebSocketUpgrade) -> WebSocketTransport:
        """Answer 101 with the engine's limits. The cookie is polling's alone (spec 3.11.2)."""
        config = self.config
        return await upgrade.accept(
            max_message=config.max_http_buffer_size,
            headers=self._origins.headers(upgrade.request),
            deflate=config.per_message_deflate,
            deflate_threshold=config.compression_threshold,
        )

    # --- sessions -----------------------------------------------------------------------------------------------

    async def _admit(self, request: HttpRequest, query: dict[str, str], *, is_upgrade: bool) -> Handshake:
        handshake = await admit(self.config, self.logger, request, query, is_upgrade=is_upgrade)
        if not self.accepting:
            raise RequestRefused(BAD_REQUEST, "Server is shutting down", 503, "NOT_ACCEPTING")
        return handshake

    def _refuse(self, request: HttpRequest, refused: RequestRefused) -> HttpResponse:
        self._refusals.write(request, refused)
        if self.on_refused is not None:
            try:
                self.on_refused(request, refused)
            except Exception:
                self.logger.exception("on_refused failed")
        return self.replies.refusal(request, refused)

    def _make(self, handshake: Handshake, request: HttpRequest, state: State) -> Session:
        sid = self._new_sid()
        while sid in self.sessions or sid in self._farewells:
            sid = self._new_sid()
        if request.raw_head:  # of use until a session has its connection; an idle client need not keep it
            request = replace(request, raw_head=b"")
        session = Session(self, sid, handshake.revision, request, state)
        self.sessions.add(session)
        self.logger.debug("client %s has opened a session over %s", short(sid), handshake.transport)
        return session

    def _greeting(self, session: Session, upgrades: tuple[str, ...]) -> Open:
        """Exactly the five keys of spec 3.3.2, times in whole milliseconds."""
        config = self.config
        values = {
            "sid": session.eio_sid,
            "upgrades": list(upgrades),
            "pingInterval": round(config.ping_interval * 1000),
            "pingTimeout": round(config.ping_timeout * 1000),
            "maxPayload": config.max_http_buffer_size,
        }
        return Open(json.dumps(values, separators=(",", ":")))

    def session_opened(self, session: Session) -> None:
        """Tell the layer above about a new session."""
        try:
            self.listener.session_opened(session)
        except Exception:
            self.session_failed(session)

    def session_ended(self, session: Session, reason: CloseReason) -> None:
        """A session has closed: out of the table at once, then tell the layer above (spec 3.9)."""
        self.sessions.remove(session)
        self.logger.debug("client %s has left: %s", short(session.eio_sid), reason.detail)
        try:
            self.listener.session_closed(session, reason)
        except Exception:
            self.logger.exception("session_closed failed for client %s", short(session.eio_sid))

    def session_failed(self, session: Session) -> None:
        """Call in an except block: the layer above (or a transport) raised. The session ends, the engine lives."""
        self.logger.exception("handling client %s failed; its session is closed", short(session.eio_sid))
        session.close(CloseReason.SERVER_ERROR, flush=False)

    def hold_farewell(self, session: Session) -> None:
        """Keep a closed session's last packets for its next poll, for ``close_timeout`` seconds (spec 3.5.6)."""
        self._farewells[session.eio_sid] = session
        self.timers.call_later(self.config.close_timeout, self.fetch_farewell, session.eio_sid)

    def fetch_farewell(self, sid: str) -> bool:
        """Take a held goodbye; True when there was one."""
        session = self._farewells.pop(sid, None)
        if session is None:
            return False
        self._note()
        return True

    # --- stopping -----------------------------------------------------------------------------------------------

    async def shutdown(self, *, timeout: float) -> None:
        """Refuse handshakes, close every session with SERVER_SHUTDOWN, wait for the goodbyes.

        Args:
            timeout: seconds for all of it. Whoever has not finished by then is left to the cancelling of its task.

        Waits for the engine's own work (requests, WebSockets, writers), not for tasks of ``start_soon``.
        """
        self.accepting = False
        for session in self.sessions.snapshot():
            session.close(CloseReason.SERVER_SHUTDOWN)
        with anyio.move_on_after(timeout):
            with anyio.move_on_after(HELD_GOODBYES):
                await self._wait_until(lambda: not self._farewells)
            self._farewells.clear()
            await self._wait_until(lambda: not (self._guests or self._writers))

    async def _wait_until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._changed = self._changed or anyio.Event()
            await self._changed.wait()

    def _note(self) -> None:
        """Something that ``shutdown`` may wait for has ended."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None
