"""Every size and count cap of the package, each with its reason.

Rules: a cap has a name here and nowhere a number of its own; sizes are bytes, times are seconds; what a user may
change is an option elsewhere whose default is the constant below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trioflask_sio.exceptions import ConfigError

__all__ = [
    "BORDER_BYTES",
    "BORDER_ITEMS",
    "CLIENT_ATTACHMENTS",
    "CLOSE_HOLD",
    "CONNECT_TIMEOUT",
    "DEFAULT_LIMITS",
    "FANOUT_CHUNK",
    "INBOUND_BYTES",
    "INPUT_CHUNK",
    "MAX_MESSAGE",
    "MAX_QUERY_FIELDS",
    "OUTBOX_BYTES",
    "OUTBOX_PACKETS",
    "PENDING_EVENTS",
    "UPGRADE_TIMEOUT",
    "WORKER_THREADS",
    "Limits",
]

MAX_MESSAGE: Final = 1_000_000
"""Bytes of one incoming message or POST body (spec 3.13.1); announced to clients as ``maxPayload``."""

MAX_QUERY_FIELDS: Final = 1_000
"""Fields of one query string. The head of a request is capped in bytes already; this keeps the dictionary small."""

OUTBOX_BYTES: Final = 16_000_000
"""Bytes that may wait for one client. Sixteen of the largest messages: enough for a slow phone, and a thousand stuck
clients still fit in the memory of one machine."""

OUTBOX_PACKETS: Final = 10_000
"""Packets that may wait for one client. Small packets cost some hundred bytes each beyond their text."""

INBOUND_BYTES: Final = 4_000_000
"""Bytes of one client that were read and not yet handled, before its reader pauses (design §8.2)."""

BORDER_ITEMS: Final = 10_000
"""Emits on their way from threads to the loop, before the emitting thread waits (design §8.3)."""

BORDER_BYTES: Final = 32_000_000
"""Bytes of those emits."""

PENDING_EVENTS: Final = 10_000
"""Events that wait in one lane. A client that sends faster than its handlers run is closed there."""

FANOUT_CHUNK: Final = 128
"""Receivers flushed in one go before the loop may do something else (design §8.4); about 0.5 ms."""

INPUT_CHUNK: Final = 128
"""Packets or frames of one client taken in one go before the loop may do something else: about 3 ms of small events. A
body or a read may hold many thousands, and different clients never wait for each other (design §3)."""

WORKER_THREADS: Final = 64
"""Handlers that run at the same time (design §4)."""

CLOSE_HOLD: Final = 30.0
"""Seconds a closed polling session waits for the poll that fetches its last packets (spec 3.5.6)."""

CONNECT_TIMEOUT: Final = 45.0
"""Seconds a session may stay without any accepted namespace (spec 2.5.3)."""

UPGRADE_TIMEOUT: Final = 10.0
"""Seconds from an offered WebSocket to its upgrade packet (spec 3.7.3)."""

CLIENT_ATTACHMENTS: Final = 10
"""Attachments that current JavaScript clients accept in one packet (spec 2.2.2); more deserve a warning at the emit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one incoming Socket.IO packet may be.

    Args:
        max_attachments: attachments of one packet (spec 2.2.2, decision 6.4 #7).
        max_attachment_bytes: bytes of all attachments of the packet in flight (spec 2.2.3).
        max_depth: nested lists and objects of one payload. Far below Python's recursion limit, far above real data.
        max_int_digits: digits of one integer in a payload; parsing is quadratic in it (spec 2.2).
        max_ack_digits: digits of an acknowledgement id (spec 2.2).
        max_namespace: characters of a namespace's name; names end up in logs and dictionaries.
        strict_auth: refuse a CONNECT payload that is not an object (decision 6.4 #11).

    Raises:
        ConfigError: a cap is negative or not an integer.
    """

    max_attachments: int = 10
    max_attachment_bytes: int = 10_000_000
    max_depth: int = 100
    max_int_digits: int = 100
    max_ack_digits: int = 100
    max_namespace: int = 1_000
    strict_auth: bool = True

    def __post_init__(self) -> None:
        for name in (
            "max_attachments",
            "max_attachment_bytes",
            "max_depth",
            "max_int_digits",
            "max_ack_digits",
            "max_namespace",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ConfigError(f"{name} must be an integer of at least 0, not {value!r}")


DEFAULT_LIMITS: Final = Limits()
