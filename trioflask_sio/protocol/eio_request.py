"""From the query of a first request to a handshake, or a refusal with its code (spec 3.1, 3.2, 3.3.1).

Rules:

* The first value of a repeated key counts (spec 3.1.1). Keys nobody knows are ignored.
* The checks come in the order of spec 3.1.2. Origin and session id are the engine's; an application hook that must
  stand between method and version uses the single steps ``check_transport``, ``check_opening`` and ``negotiate``.
* A refusal is a ``RequestRefused``; ``refusal_body`` is its JSON form.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from trioflask_sio.exceptions import RequestRefused
from trioflask_sio.protocol.eio_payload import V4, V4_B64
from trioflask_sio.protocol.limits import MAX_QUERY_FIELDS
from trioflask_sio.protocol.revision import Revision

__all__ = [
    "BAD_METHOD",
    "BAD_REQUEST",
    "BAD_VERSION",
    "FORBIDDEN",
    "MESSAGES",
    "TRANSPORTS",
    "UNKNOWN_SESSION",
    "UNKNOWN_TRANSPORT",
    "Handshake",
    "check_opening",
    "check_transport",
    "negotiate",
    "parse_handshake",
    "parse_query",
    "refusal",
    "refusal_body",
]

TRANSPORTS: Final = ("polling", "websocket")
"""Every transport of this package, by its name in the query."""

UNKNOWN_TRANSPORT: Final = 0
UNKNOWN_SESSION: Final = 1
BAD_METHOD: Final = 2
BAD_REQUEST: Final = 3
FORBIDDEN: Final = 4
BAD_VERSION: Final = 5

MESSAGES: Final = {
    UNKNOWN_TRANSPORT: "Transport unknown",
    UNKNOWN_SESSION: "Session ID unknown",
    BAD_METHOD: "Bad handshake method",
    BAD_REQUEST: "Bad request",
    FORBIDDEN: "Forbidden",
    BAD_VERSION: "Unsupported protocol version",
}
"""The text of each refusal (spec 3.2.1)."""

_SHOWN: Final = 40
"""Characters of a client's value that a refusal's context repeats for the log."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a first request asks for.

    Args:
        transport: ``polling`` or ``websocket``.
        revision: how packets look on the wire.
        b64: the client takes no binary frames.
        jsonp: the index of the JSONP callback, or None for an ordinary poll.
    """

    transport: str
    revision: Revision
    b64: bool = False
    jsonp: int | None = None


def refusal(code: int, context: str = "", message: str | None = None) -> RequestRefused:
    """The error for a code of spec 3.2.1.

    Args:
        code: 0 to 5.
        context: a finer cause for the log.
        message: another text for the client, for an application's own refusal.
    """
    return RequestRefused(
        code, MESSAGES[code] if message is None else message, 403 if code == FORBIDDEN else 400, context
    )


def refusal_body(refused: RequestRefused) -> bytes:
    """The JSON body of an error reply (spec 3.2.1), UTF-8, whatever the application's text holds."""
    return json.dumps({"code": refused.code, "message": refused.message}, separators=(",", ":")).encode("ascii")


def parse_query(query_string: str) -> dict[str, str]:
    """The fields of a query string, percent-decoded; blank values are kept, the first of repeated keys counts.

    Raises:
        RequestRefused: code 3, too many fields.
    """
    try:
        pairs = parse_qsl(query_string, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise refusal(BAD_REQUEST, f"QUERY: {error}") from error
    pairs.reverse()
    return dict(pairs)


def check_transport(query: Mapping[str, str], transports: Collection[str]) -> str:
    """The request's transport. A missing one is unknown too (spec 3.1.4).

    Args:
        query: as ``parse_query`` gives it.
        transports: the enabled names.

    Raises:
        RequestRefused: code 0, not known or not enabled.
    """
    name = query.get("transport")
    if name is None:
        raise refusal(UNKNOWN_TRANSPORT, "TRANSPORT_MISSING")
    if name not in TRANSPORTS or name not in transports:
        raise refusal(UNKNOWN_TRANSPORT, f"TRANSPORT_UNKNOWN: {name[:_SHOWN]!r}")
    return name


def check_opening(method: str, transport: str, *, is_upgrade: bool) -> None:
    """Refuse a request without session id that cannot open a session.

    Args:
        method: the HTTP method, upper case.
        transport: from ``check_transport``.
        is_upgrade: the request asks to become a WebSocket.

    Raises:
        RequestRefused: code 2, not GET; code 3, transport and request do not fit together.
    """
    if method != "GET":
        raise refusal(BAD_METHOD, f"METHOD: {method[:_SHOWN]!r}")
    if (transport == "websocket") != is_upgrade:
        raise refusal(BAD_REQUEST, "TRANSPORT_MISMATCH: an upgrade goes with transport=websocket and with no other")


def negotiate(query: Mapping[str, str], transport: str) -> Handshake:
    """Revision, binary support and JSONP of a first request.

    Only the literal ``4`` is a version (spec 3.3.1); for ``3`` the refusal's context says which clients will do.

    Raises:
        RequestRefused: code 5, another version; code 3, a JSONP index that is no number.
    """
    version = query.get("EIO")
    if version != "4":
        hint = _OLD_CLIENT if version == "3" else ""
        shown = "missing" if version is None else repr(version[:_SHOWN])
        raise refusal(BAD_VERSION, f"UNSUPPORTED_VERSION: EIO={shown}{hint}")
    b64 = query.get("b64", "") not in _FALSE
    return Handshake(transport, V4_B64 if b64 else V4, b64, _jsonp(query.get("j")))


def parse_handshake(
    method: str, query: Mapping[str, str], *, is_upgrade: bool, transports: Collection[str]
) -> Handshake:
    """All checks of a request without session id, in the order of spec 3.1.2.

    Args:
        method: the HTTP method, upper case.
        query: as ``parse_query`` gives it.
        is_upgrade: the request asks to become a WebSocket.
        transports: the enabled names.

    Raises:
        RequestRefused: codes 0, 2, 3, 5.
    """
    transport = check_transport(query, transports)
    check_opening(method, transport, is_upgrade=is_upgrade)
    return negotiate(query, transport)


_OLD_CLIENT: Final = (
    " is a client of Socket.IO 1.x or 2.x; this version serves clients that speak protocol 5: "
    "socket.io-client 3.x or 4.x, python-socketio 5.x"
)

_FALSE: Final = frozenset(("", "0", "false"))

_JSONP_DIGITS: Final = 10
"""Digits of a JSONP index; clients count from 0."""


def _jsonp(index: str | None) -> int | None:
    if index is None:
        return None
    if not (index.isascii() and index.isdigit() and len(index) <= _JSONP_DIGITS):
        raise refusal(BAD_REQUEST, f"JSONP_INDEX: {index[:_SHOWN]!r}")
    return int(index)
