"""Engine.IO packets and the text form of one packet (spec 3.4.1 to 3.4.3).

Rules:

* One frozen class per meaning. Text stays text and bytes stay bytes: ``decode(encode(p)) == p`` in value and type.
* What a message carries is never interpreted here (spec 3.4.6).
* Wrong input raises PacketError and nothing else.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from trioflask_sio.exceptions import PacketError

__all__ = ["Close", "Message", "Noop", "Open", "Packet", "Ping", "Pong", "Upgrade", "decode", "encode"]


@dataclass(frozen=True, slots=True)
class Open:
    """The server's greeting. ``data`` is the JSON text of spec 3.3.2."""

    data: str = ""


@dataclass(frozen=True, slots=True)
class Close:
    """The sender ends the session."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A question for a sign of life; with ``data="probe"`` the question that opens an upgrade."""

    data: str = ""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping, with the ping's data."""

    data: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Application data: text or bytes."""

    data: str | bytes


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The client has moved to the probed transport."""


@dataclass(frozen=True, slots=True)
class Noop:
    """Means nothing: it releases a waiting poll."""


Packet: TypeAlias = Open | Close | Ping | Pong | Message | Upgrade | Noop

_SHOWN: Final = 20
"""Characters of a bad packet that an error message repeats: enough to recognise it, too short to flood a log."""


def encode(packet: Packet) -> str:
    """One packet as text; a binary message as ``b`` and base64.

    Args:
        packet: any packet.

    Returns:
        What a text frame or a payload element carries.
    """
    if type(packet) is Message:
        data = packet.data
        return "4" + data if isinstance(data, str) else "b" + b64encode(data).decode("ascii")
    return _DIGITS[type(packet)] + getattr(packet, "data", "")


def decode(text: str) -> Packet:
    """The packet of one text frame or one payload element.

    Text behind a close, upgrade or noop digit means nothing and is dropped, as the reference server does.

    Raises:
        PacketError: empty, unknown type character, or broken base64 (spec 3.4.7).
    """
    if text[:1] == "4":
        return Message(text[1:])
    make = _MAKERS.get(text[:1])
    if make is None:
        if not text:
            raise PacketError("an Engine.IO packet is empty; at least its type digit is needed")
        raise PacketError(f"unknown Engine.IO packet type in {text[:_SHOWN]!r}; expected a digit 0 to 6 or 'b'")
    return make(text[1:])


def _binary(data: str) -> Message:
    # The library's validation differs between Python versions in padding; these two conditions settle it.
    if len(data) % 4 or data.endswith("==="):
        raise PacketError(f"broken base64 in a binary Engine.IO message of {len(data)} characters: wrong padding")
    try:
        return Message(b64decode(data, validate=True))
    except ValueError as error:
        raise PacketError(f"broken base64 in a binary Engine.IO message of {len(data)} characters: {error}") from error


_DIGITS: Final[dict[type[Packet], str]] = {Open: "0", Close: "1", Ping: "2", Pong: "3", Upgrade: "5", Noop: "6"}

_MAKERS: Final[dict[str, Callable[[str], Packet]]] = {
    "0": Open,
    "1": lambda _: Close(),
    "2": Ping,
    "3": Pong,
    "5": lambda _: Upgrade(),
    "6": lambda _: Noop(),
    "b": _binary,
}
