"""Which web pages may talk to this server: the Origin check and the CORS headers (spec 3.10).

Rules:

* No Origin header: always allowed; it was no browser page. ``cors_allowed_origins=[]``: no check and no headers at all.
* ``None`` means the server's own origin: scheme and Host of the request, and the same as a proxy reports them in
  X-Forwarded-Proto and X-Forwarded-Host.
* A refusal is 403 with code 4 (design §8.22), before any other check; its context says what to change.
* Credentials are announced to an allowed origin only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from logging import Logger
from typing import cast

from trioflask_sio.engine.config import EngineConfig, takes_request
from trioflask_sio.engine.transport import HttpRequest
from trioflask_sio.protocol.eio_request import BAD_REQUEST, FORBIDDEN, refusal

__all__ = ["FOREIGN_ORIGIN", "SHOWN", "OriginPolicy", "own_origins"]

FOREIGN_ORIGIN = "INVALID_ORIGIN"
"""The kind of these refusals, in front of their context."""

SHOWN = 200
"""Characters of a foreign header that a log line repeats."""


def own_origins(request: HttpRequest) -> list[str]:
    """The origins under which a browser may know this server, by this request."""
    scheme, host = request.scheme, request.header("host")
    origins = [f"{scheme}://{host}"] if host else []
    forwarded_scheme = _first(request.header("x-forwarded-proto"))
    forwarded_host = _first(request.header("x-forwarded-host"))
    if (forwarded_scheme or forwarded_host) and (forwarded_host or host):
        origins.append(f"{forwarded_scheme or scheme}://{forwarded_host or host}")
    return origins


def _first(value: str | None) -> str:
    return value.partition(",")[0].strip() if value else ""


class OriginPolicy:
    """The policy of one engine.

    Args:
        config: ``cors_allowed_origins`` and ``cors_credentials``.
        logger: where a failing callable's traceback goes.
    """

    __slots__ = ("_any", "_check", "_credentials", "_listed", "_logger", "_off", "_pass_request")

    def __init__(self, config: EngineConfig, logger: Logger) -> None:
        allowed = config.cors_allowed_origins
        self._logger = logger
        self._credentials = config.cors_credentials
        self._check: Callable[..., object] | None = allowed if callable(allowed) else None
        self._pass_request = self._check is not None and takes_request(self._check)
        self._listed: frozenset[str] | None = None
        if allowed is not None and self._check is None:
            names = (allowed,) if isinstance(allowed, str) else cast("Iterable[str]", allowed)
            self._listed = frozenset(name.lower() for name in names)
        self._any = self._listed is not None and "*" in self._listed
        self._off = self._listed is not None and not self._listed

    def check(self, request: HttpRequest) -> None:
        """Let the request pass.

        Raises:
            RequestRefused: 403, code 4, a foreign origin; 400, code 3, an Origin with control characters.
        """
        origin = request.header("origin")
        if origin is None or self._off:
            return
        if any(char < " " or char == "\x7f" for char in origin):
            raise refusal(BAD_REQUEST, f"{FOREIGN_ORIGIN}: it contains control characters")
        if not self._allows(origin, request):
            raise refusal(FORBIDDEN, self._explain(origin, request))

    def headers(self, request: HttpRequest, *, checked: bool = True) -> list[tuple[str, str]]:
        """The CORS headers of a reply to this request; none without an Origin or for one that is not allowed.

        Args:
            request: the request that is answered.
            checked: it has passed ``check``, so the application's callable is not asked again.
        """
        origin = request.header("origin")
        if origin is None or self._off or not origin.isprintable():
            return []
        if not checked and not self._allows(origin, request):
            return []
        headers = [("Access-Control-Allow-Origin", origin)]
        if self._credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        headers.append(("Vary", "Origin"))
        return headers

    def preflight(self, request: HttpRequest) -> list[tuple[str, str]]:
        """What an OPTIONS reply adds to ``headers`` (spec 3.10.3)."""
        headers = self.headers(request)
        if headers:
            headers.append(("Access-Control-Allow-Methods", "OPTIONS, GET, POST"))
            wanted = request.header("access-control-request-headers")
            if wanted and wanted.isprintable():
                headers.append(("Access-Control-Allow-Headers", wanted))
        return headers

    def _allows(self, origin: str, request: HttpRequest) -> bool:
        if self._any:
            return True
        if self._check is not None:
            return self._ask(self._check, origin, request)
        if self._listed is not None:
            return origin.lower() in self._listed
        return origin.lower() in (own.lower() for own in own_origins(request))

    def _ask(self, check: Callable[..., object], origin: str, request: HttpRequest) -> bool:
        try:
            return bool(check(origin, request) if self._pass_request else check(origin))
        except Exception:
            self._logger.exception("cors_allowed_origins failed for origin %r; the request is refused", origin[:SHOWN])
            return False

    def _explain(self, origin: str, request: HttpRequest) -> str:
        shown = origin[:SHOWN]
        own = " or ".join(own_origins(request)) or "unknown (no Host header)"
        if self._check is not None:
            return f"{FOREIGN_ORIGIN}: {shown!r} was refused by the callable cors_allowed_origins; own origin: {own}"
        return f"{FOREIGN_ORIGIN}: {shown!r} is not {own}; to allow it add it to cors_allowed_origins"
