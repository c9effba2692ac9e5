"""Socket.IO packets of protocol 5 and their text form (spec 2.1, 2.2).

Rules:

* One frozen class per meaning; whether a packet travelled as binary is no meaning, so there is no BinaryEvent class.
* ``encode_*`` return all Engine.IO messages of one packet, the text first and its attachments behind it: one value that
  must travel together (spec 2.1.6).
* ``decode`` follows the REC column of spec 2.2 with the decisions of 6.4: everything a correct client never sends is a
  PacketError, with the few tolerances named there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from trioflask_sio._types import Json
from trioflask_sio.exceptions import PacketError
from trioflask_sio.protocol.jsonlib import DEFAULT_JSON, JsonCodec
from trioflask_sio.protocol.limits import DEFAULT_LIMITS, Limits
from trioflask_sio.protocol.sio_tree import Slot, deconstruct, find_slots

__all__ = [
    "RESERVED_EVENTS",
    "Ack",
    "Connect",
    "ConnectError",
    "Disconnect",
    "Event",
    "Packet",
    "Pending",
    "decode",
    "encode_ack",
    "encode_connect",
    "encode_connect_error",
    "encode_disconnect",
    "encode_event",
    "make_packet",
]

RESERVED_EVENTS: Final = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
"""Names that no client may send (spec 2.2): they are the application's own happenings."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Join a namespace. From the client with its auth payload or None, from the server with the socket's id."""

    namespace: str = "/"
    data: Json = None


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Leave a namespace."""

    namespace: str = "/"


@dataclass(frozen=True, slots=True)
class Event:
    """An event: ``data`` is its name and its arguments, with the attachments in their places.

    ``id`` asks for an acknowledgement; ``attachments`` counts the binary messages it came with.
    """

    namespace: str
    data: list[Any]
    id: int | None = None
    attachments: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to an event with an id. An answer without id answers nothing and is for the receiver to ignore."""

    namespace: str
    data: list[Any]
    id: int | None = None
    attachments: int = 0


@dataclass(frozen=True, slots=True)
class ConnectError:
    """The server refuses a namespace."""

    namespace: str = "/"
    data: Json = None


Packet: TypeAlias = Connect | Disconnect | Event | Ack | ConnectError


@dataclass(frozen=True, slots=True)
class Pending:
    """The header of a packet whose attachments have not come: ``packet`` still holds placeholders at ``slots``."""

    packet: Event | Ack
    slots: list[Slot]


def encode_event(
    namespace: str, name: str, args: Sequence[object], id: int | None = None, json: JsonCodec = DEFAULT_JSON
) -> tuple[str | bytes, ...]:
    """An event as Engine.IO messages.

    Args:
        namespace: with its leading slash.
        name: the event's name.
        args: its arguments, JSON with bytes at any depth; never changed.
        id: asks the other side for an acknowledgement.
        json: the codec.

    Returns:
        The text, then the attachments.

    Raises:
        TypeError: an argument of a type that JSON does not know.
        ValueError: NaN, Infinity, or nested too deeply.
    """
    return _encode("2", "5", namespace, [name, *args], id, json)


def encode_ack(
    namespace: str, id: int, args: Sequence[object], json: JsonCodec = DEFAULT_JSON
) -> tuple[str | bytes, ...]:
    """An acknowledgement as Engine.IO messages; arguments and errors as ``encode_event``."""
    return _encode("3", "6", namespace, list(args), id, json)


def encode_connect(namespace: str, data: Json = None, json: JsonCodec = DEFAULT_JSON) -> tuple[str, ...]:
    """Accept a namespace (``{"sid": ...}``), or as a client join it (None or the auth object). Errors as below."""
    return _encode_textual("0", namespace, data, json)


def encode_connect_error(namespace: str, data: Json, json: JsonCodec = DEFAULT_JSON) -> tuple[str, ...]:
    """Refuse a namespace.

    Args:
        namespace: with its leading slash.
        data: ``{"message": ...}`` with or without ``data`` (spec 1.5.4).
        json: the codec.

    Raises:
        TypeError: a type that JSON does not know.
        ValueError: bytes, which these packets cannot carry (spec 2.1.5), NaN or Infinity.
    """
    return _encode_textual("4", namespace, data, json)


def encode_disconnect(namespace: str) -> tuple[str, ...]:
    """Leave a namespace."""
    return ("1" if namespace == "/" else f"1{namespace},",)


def _encode(
    text_type: str, binary_type: str, namespace: str, data: list[object], id: int | None, json: JsonCodec
) -> tuple[str | bytes, ...]:
    attachments: tuple[bytes, ...] = ()
    text = json.fast(data)
    if text is None:
        tree, attachments = deconstruct(data)
        text = json.dumps(tree)
    head = f"{binary_type}{len(attachments)}-" if attachments else text_type
    if namespace != "/":
        head = f"{head}{namespace},"
    if id is not None:
        head = f"{head}{id}"
    return (head + text, *attachments)


def _encode_textual(kind: str, namespace: str, data: Json, json: JsonCodec) -> tuple[str, ...]:
    tree, attachments = deconstruct(data)
    if attachments:
        raise ValueError(
            f"bytes cannot be sent when {namespace} is connected or refused; only events and acks carry them"
        )
    head = kind if namespace == "/" else f"{kind}{namespace},"
    return (head if data is None else head + json.dumps(tree),)


_HEADER: Final = re.compile(r"([0-6])(?:([0-9]+)-)?(?:(/[^,]*)(?:,|\Z))?([0-9]*)")
"""Type, attachments, namespace, id (spec 2.1.2). The comma may be missing when nothing follows (spec 2.1.4)."""

_COUNT_DIGITS: Final = 10
"""Digits of an attachment count (spec 2.2)."""

_SHOWN: Final = 40
"""Characters of a client's packet that an error repeats."""


def decode(text: str, limits: Limits = DEFAULT_LIMITS, json: JsonCodec = DEFAULT_JSON) -> Packet | Pending:
    """The packet of one Engine.IO text message.

    Args:
        text: the message.
        limits: caps of what a client may send.
        json: the codec.

    Returns:
        A packet, or ``Pending`` when attachments follow.

    Raises:
        PacketError: every row of spec 2.2 whose REC is "close" and that one packet alone can show.
    """
    if text[:2] == "2[":  # the hot path: an event of the root namespace without id
        return _event("/", _payload(text[1:], limits, json), None, 0)
    header = _HEADER.match(text)
    if header is None:
        raise PacketError(f"no Socket.IO packet: {text[:_SHOWN]!r}" if text else "an empty Socket.IO packet")
    kind, count, namespace, digits = header.groups()
    name = _namespace(namespace, limits)
    rest = text[header.end() :]
    if kind in "256" or kind == "3":
        return _numbered(kind, count, name, digits, rest, limits, json)
    if count is not None:
        raise PacketError(f"attachments announced by a packet that has none: {text[:_SHOWN]!r}")
    # These have no id: digits are the beginning of their payload.
    return _PLAIN[kind](name, _payload(digits + rest, limits, json) if digits or rest else _MISSING, limits)


def make_packet(kind: int, namespace: str | None, data: Any, id: int | None, limits: Limits = DEFAULT_LIMITS) -> Packet:
    """The packet of parts that another codec has read, checked as ``decode`` checks it.

    Args:
        kind: 0 to 4; attachments are in their places already, so there are no binary kinds.
        namespace: None means ``/``.
        data: None where there is none.
        id: of an event or an acknowledgement.
        limits: caps of what a client may send.

    Raises:
        PacketError: as ``decode``.
    """
    name = _namespace(namespace, limits)
    if kind == 2:
        return _event(name, data, id, 0)
    payload = _MISSING if data is None else data
    if kind == 3:
        return _ack(name, payload, id, 0)
    return _PLAIN[str(kind)](name, payload, limits)


def _numbered(
    kind: str, count: str | None, namespace: str, digits: str, rest: str, limits: Limits, json: JsonCodec
) -> Event | Ack | Pending:
    """An event or an acknowledgement, the kinds with id and attachments."""
    attachments = _attachments(kind, count, limits)
    if len(digits) > limits.max_ack_digits:
        raise PacketError(f"an acknowledgement id of {len(digits)} digits; at most {limits.max_ack_digits} are taken")
    id = int(digits) if digits else None
    payload = _payload(rest, limits, json) if rest else _MISSING
    make = _event if kind in "25" else _ack
    packet = make(namespace, payload, id, attachments)
    return Pending(packet, find_slots(packet.data, attachments)) if attachments else packet


def _attachments(kind: str, count: str | None, limits: Limits) -> int:
    if kind in "23":
        if count is not None:
            raise PacketError("attachments announced by a packet of a type without attachments")
        return 0
    if count is None:
        raise PacketError("a binary packet does not say how many attachments follow")
    number = int(count) if len(count) <= _COUNT_DIGITS else None
    if number is None or number > limits.max_attachments:
        raise PacketError(f"{count[:_SHOWN]} attachments; at most {limits.max_attachments} are taken (max_attachments)")
    if number == 0:
        raise PacketError("a binary packet without attachments")
    return number


def _namespace(name: str | None, limits: Limits) -> str:
    if name is None:
        return "/"
    if len(name) > limits.max_namespace:
        raise PacketError(f"a namespace of {len(name)} characters; at most {limits.max_namespace} are taken")
    return name.partition("?")[0]


_MISSING: Final[Any] = object()


def _payload(text: str, limits: Limits, json: JsonCodec) -> Any:
    try:
        return json.loads(text, limits.max_depth, limits.max_int_digits)
    except ValueError as error:
        raise PacketError(f"bad JSON in a Socket.IO packet ({text[:_SHOWN]!r}): {error}") from error


def _event(namespace: str, data: Any, id: int | None, attachments: int) -> Event:
    if type(data) is not list or not data:
        raise PacketError("an event's payload must be a list that begins with its name")
    name = data[0]
    if type(name) is str:
        if name in RESERVED_EVENTS:
            raise PacketError(f"the event name {name!r} is reserved")
    elif type(name) is not int and type(name) is not float:
        raise PacketError(f"an event name must be a string or a number, not {type(name).__name__}")
    return Event(namespace, data, id, attachments)


def _ack(namespace: str, data: Any, id: int | None, attachments: int) -> Ack:
    if data is _MISSING:
        return Ack(namespace, [], id, attachments)
    if type(data) is not list:
        raise PacketError("an acknowledgement's payload must be a list")
    return Ack(namespace, data, id, attachments)


def _connect(namespace: str, data: Any, limits: Limits) -> Packet:
    if data is _MISSING:
        return Connect(namespace, None)
    if limits.strict_auth and not isinstance(data, dict):
        raise PacketError(f"a CONNECT payload must be an object, not {type(data).__name__} (strict_auth)")
    return Connect(namespace, data)


def _disconnect(namespace: str, data: Any, limits: Limits) -> Packet:
    return Disconnect(namespace)


def _connect_error(namespace: str, data: Any, limits: Limits) -> Packet:
    if not isinstance(data, (dict, str)):
        raise PacketError("a CONNECT_ERROR payload must be an object or a string")
    return ConnectError(namespace, data)


_PLAIN: Final[dict[str, Callable[[str, Any, Limits], Packet]]] = {
    "0": _connect,
    "1": _disconnect,
    "4": _connect_error,
}
