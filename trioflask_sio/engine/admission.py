"""Who may open a session: the checks of a first request, and the log of refusals (spec 3.1.2, 3.2).

Rules: the order of the checks is spec 3.1.2's; a hook that fails is a programmer's mistake (traceback) and refuses;
each kind of refusal is logged once at ERROR and later at INFO, so that a scanner cannot flood the log (spec 3.2.4); a
refused origin counts as a kind of its own, up to ``ORIGINS_SAID`` of them, since each is another site to be allowed.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from logging import ERROR, INFO, Logger

from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.engine.origin import FOREIGN_ORIGIN, SHOWN
from trioflask_sio.engine.transport import HttpRequest
from trioflask_sio.exceptions import RequestRefused
from trioflask_sio.protocol.eio_request import FORBIDDEN, Handshake, check_opening, check_transport, negotiate, refusal

__all__ = ["ORIGINS_SAID", "RefusalLog", "admit"]

ORIGINS_SAID = 100
"""Different origins whose refusal is said loudly. More are no misconfiguration, but somebody who invents them."""


async def admit(
    config: EngineConfig, logger: Logger, request: HttpRequest, query: Mapping[str, str], *, is_upgrade: bool
) -> Handshake:
    """All checks of a request without session id, behind the origin's.

    Args:
        config: the engine's options.
        logger: where a failing ``allow_request`` is reported.
        request: the request.
        query: its parsed query.
        is_upgrade: it asks to become a WebSocket.

    Raises:
        RequestRefused: codes 0 and 2 to 5.
    """
    transport = check_transport(query, config.enabled)
    check_opening(request.method, transport, is_upgrade=is_upgrade)
    await _ask_application(config, logger, request)
    return negotiate(query, transport)


async def _ask_application(config: EngineConfig, logger: Logger, request: HttpRequest) -> None:
    if config.allow_request is None:
        return
    verdict: object
    try:
        verdict = config.allow_request(request)
        if inspect.isawaitable(verdict):
            verdict = await verdict
    except Exception as error:
        logger.exception("allow_request failed for %s; the client is refused", request.client)
        raise refusal(FORBIDDEN, "ALLOW_REQUEST: it raised an error") from error
    if isinstance(verdict, str):
        raise refusal(FORBIDDEN, "ALLOW_REQUEST: refused with a text", verdict)
    if not verdict:
        raise refusal(FORBIDDEN, "ALLOW_REQUEST: refused")


class RefusalLog:
    """Writes refusals to the log, loud once per kind.

    Args:
        logger: the engine's.
    """

    __slots__ = ("_logger", "_origins", "_seen")

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._seen: set[str] = set()
        self._origins: set[str] = set()

    def write(self, request: HttpRequest, refused: RequestRefused) -> None:
        """One line: what was refused, to whom, why."""
        kind = refused.context.partition(":")[0] or str(refused.code)
        loud = self._is_new_origin(request) if kind == FOREIGN_ORIGIN else self._is_new(kind)
        self._logger.log(
            ERROR if loud else INFO,
            "refused %s %s from %s with %d, code %d %r: %s%s",
            request.method,
            request.path,
            request.client[0] if request.client else "unknown address",
            refused.status,
            refused.code,
            refused.message,
            refused.context or refused.message,
            " (said once, later ones of this kind at INFO)" if loud else "",
        )

    def _is_new(self, kind: str) -> bool:
        if kind in self._seen:
            return False
        self._seen.add(kind)
        return True

    def _is_new_origin(self, request: HttpRequest) -> bool:
        origin = (request.header("origin") or "")[:SHOWN].lower()
        if origin in self._origins or len(self._origins) >= ORIGINS_SAID:
            return False
        self._origins.add(origin)
        return True
