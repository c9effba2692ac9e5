"""Every HTTP reply the engine gives, in one place (spec 3.2.1, 3.5.1, 3.5.2, 3.11, 3.12).

Rules: a reply carries the CORS headers of its request; nothing of a session is ever cached; compression obeys the
client's q-values and says so in Vary.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping

from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.engine.origin import OriginPolicy
from trioflask_sio.engine.transport import HttpRequest, HttpResponse
from trioflask_sio.exceptions import RequestRefused
from trioflask_sio.protocol.eio_request import FORBIDDEN, refusal_body

__all__ = ["Replies", "cookie_header", "pick_encoding"]

_LEVEL = 1
"""The fastest level: a polling reply is compressed on the loop, and JSON shrinks well at any level."""


def pick_encoding(accept: str | None) -> str | None:
    """``gzip``, ``deflate`` or None: what the client likes best by its q-values, the first of equals (spec 3.12.1)."""
    if not accept:
        return None
    wishes: dict[str, float] = {}
    for part in accept.split(","):
        name, _, parameters = part.partition(";")
        wishes.setdefault(name.strip().lower(), _quality(parameters))
    anything = wishes.get("*", 0.0)
    best = max(("gzip", "deflate"), key=lambda name: (wishes.get(name, anything), -_position(wishes, name)))
    quality = wishes.get(best, anything)
    return best if quality > 0 and quality >= wishes.get("identity", 0.0) else None


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _position(wishes: Mapping[str, float], name: str) -> int:
    names = list(wishes)
    return names.index(name) if name in wishes else len(names)


def cookie_header(cookie: str | Mapping[str, object], eio_sid: str) -> str:
    """The value of Set-Cookie for a new session (spec 3.11.1).

    Args:
        cookie: the option: a name, or ``name`` and attributes in order; True is a bare attribute, False leaves it
            out, a callable is called for its value.
        eio_sid: the session's id.
    """
    if isinstance(cookie, str):
        cookie = {"name": cookie, "path": "/", "SameSite": "Lax"}
    parts = [f"{cookie.get('name', 'io')}={eio_sid}"]
    for key, option in cookie.items():
        value = option() if callable(option) else option
        if value is True:
            parts.append(key)
        elif key != "name" and value is not False and value is not None:
            parts.append(f"{key}={value}")
    return "; ".join(parts)


class Replies:
    """The replies of one engine.

    Args:
        config: compression and cookie.
        origins: for the CORS headers.
    """

    __slots__ = ("_config", "_origins")

    def __init__(self, config: EngineConfig, origins: OriginPolicy) -> None:
        self._config = config
        self._origins = origins

    def payload(self, request: HttpRequest, body: bytes, content_type: str, eio_sid: str | None = None) -> HttpResponse:
        """A polling reply with packets; ``eio_sid`` is given for a handshake, which may set the cookie."""
        headers = [("Content-Type", content_type), ("Cache-Control", "no-store")]
        agent = request.header("user-agent") or ""
        if ";MSIE" in agent or "Trident/" in agent:
            headers.append(("X-XSS-Protection", "0"))
        if eio_sid is not None and self._config.cookie is not None:
            headers.append(("Set-Cookie", cookie_header(self._config.cookie, eio_sid)))
        if self._config.http_compression and len(body) >= self._config.compression_threshold:
            body = self._compress(request, body, headers)
        return HttpResponse(200, (*headers, *self._origins.headers(request)), body)

    def _compress(self, request: HttpRequest, body: bytes, headers: list[tuple[str, str]]) -> bytes:
        headers.append(("Vary", "Accept-Encoding"))
        encoding = pick_encoding(request.header("accept-encoding"))
        if encoding is None:
            return body
        headers.append(("Content-Encoding", encoding))
        return gzip.compress(body, _LEVEL, mtime=0) if encoding == "gzip" else zlib.compress(body, _LEVEL)

    def taken(self, request: HttpRequest) -> HttpResponse:
        """Every packet of a POST was taken (spec 3.5.2)."""
        headers = (("Content-Type", "text/html"), ("Cache-Control", "no-store"))
        return HttpResponse(200, (*headers, *self._origins.headers(request)), b"ok")

    def too_big(self, request: HttpRequest) -> HttpResponse:
        """A POST was over the limit (decision 6.4 #12). The rest of its body is unread, so the connection ends."""
        return HttpResponse(413, (("Connection", "close"), *self._origins.headers(request)))

    def bad_method(self, request: HttpRequest) -> HttpResponse:
        """Neither GET nor POST on a session (spec 3.1.5)."""
        return HttpResponse(405, (("Allow", "GET, POST, OPTIONS"), *self._origins.headers(request)))

    def preflight(self, request: HttpRequest) -> HttpResponse:
        """The answer to OPTIONS (spec 3.10.3)."""
        return HttpResponse(204, tuple(self._origins.preflight(request)))

    def refusal(self, request: HttpRequest, refused: RequestRefused) -> HttpResponse:
        """An error reply in the JSON form (spec 3.2.1), also in place of an upgrade (design §8.22)."""
        headers = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
        origin = self._origins.headers(request, checked=refused.code != FORBIDDEN)
        return HttpResponse(refused.status, (*headers, *origin), refusal_body(refused))
