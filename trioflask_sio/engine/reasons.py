"""Why a session ended: one value, chosen once, seen in three ways.

``app`` is the one of five strings that handlers see (spec 2.9); ``detail`` is the finer string for log and metrics;
``ws_code`` is the WebSocket close code the server sends where it closes (spec 3.6, 3.13.3): 1002 says that the client
broke the rules, 1011 that the server failed.
"""

from __future__ import annotations

import enum

__all__ = ["CloseReason"]


class CloseReason(enum.Enum):
    """The cause of a session's end."""

    CLIENT_CLOSE = ("client disconnect", "client close packet", 1000)
    TRANSPORT_CLOSE = ("transport close", "transport close", 1000)
    TRANSPORT_ERROR = ("transport error", "transport error", 1002)
    SERVER_ERROR = ("transport error", "server error", 1011)
    PING_TIMEOUT = ("ping timeout", "ping timeout", 1000)
    PARSE_ERROR = ("transport error", "parse error", 1000)
    PROTOCOL_ERROR = ("transport error", "forced close", 1000)
    MESSAGE_TOO_BIG = ("transport error", "message too big", 1009)
    SLOW_CONSUMER = ("transport error", "slow consumer", 1008)
    INBOUND_OVERFLOW = ("transport error", "inbound overflow", 1008)
    CONNECT_TIMEOUT = ("server disconnect", "connect timeout", 1000)
    SERVER_DISCONNECT = ("server disconnect", "server disconnect", 1000)
    SERVER_SHUTDOWN = ("server disconnect", "server shutting down", 1001)

    def __init__(self, app: str, detail: str, ws_code: int) -> None:
        self.app = app
        self.detail = detail
        self.ws_code = ws_code
