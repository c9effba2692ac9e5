"""Socket.IO packets as MessagePack: ``serializer="msgpack"``, for clients with ``socket.io-msgpack-parser``.

One packet is one map ``{type, data, nsp, id}`` in one binary message, bytes in their places (spec 2.10.2). This module
is imported only when it is asked for: it needs the package ``msgpack``.

Rules:

* What the application sees is what it sees with JSON: keys are text, an ``undefined`` is None, a ``Date`` is the text
  that ``JSON.stringify`` makes of it. What it may send is the same too, with NaN and the infinities, which MessagePack
  has, and without integers beyond 64 bits, which it has not.
* What has no value is left out, never nil: the JavaScript parser refuses nil. Coming in, nil means left out.
* ``id`` is the last entry, so that it can be put into a packet that was encoded without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import msgpack

from trioflask_sio._types import Json
from trioflask_sio.exceptions import PacketError
from trioflask_sio.protocol.limits import Limits
from trioflask_sio.protocol.sio_codec import Messages
from trioflask_sio.protocol.sio_packet import Packet, make_packet

__all__ = ["MsgpackCodec"]

_CONNECT, _DISCONNECT, _EVENT, _ACK, _CONNECT_ERROR = range(5)
_NOTHING: Final = object()
_TOO_DEEP: Final = "the data is nested too deeply to be sent, or contains itself"
_SCALARS: Final = frozenset((str, int, float, bool, type(None), bytes))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_JAVASCRIPT: Final = 0
"""The extension type under which JavaScript's encoder writes what only JavaScript has: undefined and dates."""


class MsgpackCodec:
    """See the module; a ``PacketCodec``."""

    __slots__ = ()

    def event(self, namespace: str, name: str, args: Sequence[object], id: int | None = None) -> Messages:
        """See ``PacketCodec``."""
        return (_pack(_EVENT, namespace, [name, *args], id),)

    def ack(self, namespace: str, id: int, args: Sequence[object]) -> Messages:
        """See ``PacketCodec``."""
        return (_pack(_ACK, namespace, list(args), id),)

    def connect(self, namespace: str, data: Json = None) -> Messages:
        """See ``PacketCodec``."""
        return (_pack(_CONNECT, namespace, _NOTHING if data is None else data),)

    def connect_error(self, namespace: str, data: Json) -> Messages:
        """See ``PacketCodec``."""
        return (_pack(_CONNECT_ERROR, namespace, data),)

    def disconnect(self, namespace: str) -> Messages:
        """See ``PacketCodec``."""
        return (_pack(_DISCONNECT, namespace, _NOTHING),)

    def numbering(self, namespace: str, event: Messages) -> Callable[[int], Messages]:
        """See ``PacketCodec``: one entry more in the map."""
        [message] = event
        if not isinstance(message, bytes):
            raise TypeError(f"the MessagePack form of a packet is bytes, not {type(message).__name__}")
        head = bytes((message[0] + 1,)) + message[1:] + _pack_value("id")
        return lambda id: (head + _pack_value(id),)

    def start(self, message: str | bytes, limits: Limits) -> Packet:
        """See ``PacketCodec``: every message is a whole packet."""
        if isinstance(message, str):
            raise PacketError("a text message, and this server reads MessagePack (serializer)")
        try:
            packet = msgpack.unpackb(message, ext_hook=_extension)
            if type(packet) is not dict:
                raise ValueError(f"a packet must be a map, not {type(packet).__name__}")  # noqa: TRY301
            _tidy(packet, limits.max_depth + 1)
        except (ValueError, OverflowError, msgpack.UnpackException) as error:
            raise PacketError(f"bad MessagePack in a Socket.IO packet of {len(message)} bytes: {error}") from error
        return _packet(packet, limits)

    def __repr__(self) -> str:
        return "<msgpack codec>"


def _packet(packet: dict[str, Any], limits: Limits) -> Packet:
    kind, namespace, id = packet.get("type"), packet.get("nsp"), packet.get("id")
    if type(kind) is not int or not _CONNECT <= kind <= _CONNECT_ERROR:
        raise PacketError(f"no Socket.IO packet type: {str(kind)[:20]!r}")
    if namespace is not None and (type(namespace) is not str or not namespace.startswith("/")):
        raise PacketError(f"a namespace must be text that begins with a slash, not {str(namespace)[:20]!r}")
    if id is not None and (type(id) is not int or id < 0):
        raise PacketError(f"an acknowledgement id must be a number from 0, not {str(id)[:20]!r}")
    return make_packet(kind, namespace, packet.get("data"), id, limits)


# --- out ------------------------------------------------------------------------------------------------------------


def _pack(kind: int, namespace: str, data: object, id: int | None = None) -> bytes:
    packet: dict[str, object] = {"type": kind}
    try:
        if data is not _NOTHING:
            packet["data"] = _with_text_keys(data) if _has_odd_keys((data,)) else data
        packet["nsp"] = namespace
        if id is not None:
            packet["id"] = id
        return _pack_value(packet)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except OverflowError:
        raise ValueError("an integer beyond 64 bits cannot be sent as MessagePack (send it as text)") from None


def _pack_value(value: object) -> bytes:
    try:
        packed: bytes = msgpack.packb(value)
    except ValueError as error:
        raise (ValueError(_TOO_DEEP) if "recursion" in str(error) else error) from None
    return packed


def _has_odd_keys(values: Iterable[object]) -> bool:
    """Whether a dictionary anywhere below has a key that is not exactly text."""
    if _SCALARS.issuperset(map(type, values)):
        return False
    for value in values:
        if isinstance(value, dict):
            if any(type(key) is not str for key in value) or _has_odd_keys(value.values()):
                return True
        elif isinstance(value, (list, tuple)) and _has_odd_keys(value):
            return True
    return False


def _with_text_keys(value: object) -> object:
    if isinstance(value, dict):
        return {_text_key(key): _with_text_keys(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_text_keys(item) for item in value]
    return value


def _text_key(key: object) -> str:
    """A key as the standard library's JSON writes it."""
    if isinstance(key, str):
        return str.__str__(key)
    if key is True or key is False or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, int):
        return int.__repr__(key)
    if isinstance(key, float):
        return float.__repr__(key)
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")


# --- in -------------------------------------------------------------------------------------------------------------


def _extension(code: int, data: bytes) -> object:
    if code == _JAVASCRIPT and len(data) == 1:
        return None  # undefined
    if code == _JAVASCRIPT and len(data) == 8:
        return _date(int.from_bytes(data, "big", signed=True))
    raise ValueError(f"the extension type {code} of {len(data)} bytes means nothing here")


def _date(milliseconds: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tidy(packet: dict[str, Any], max_depth: int) -> None:
    """Check depth and keys, and write out MessagePack's own dates; level by level, so that no stack is used.

    Raises:
        ValueError: nested too deeply, or a key that is no text.
    """
    level: list[Any] = [packet]
    while level:
        if max_depth == 0:
            raise ValueError("nested too deeply")
        max_depth -= 1
        level = [item for container in level for item in _tidy_one(container)]


def _tidy_one(container: Any) -> list[Any]:
    """What of it is a container too."""
    mapping = type(container) is dict
    if mapping and bytes in map(type, container):
        raise ValueError("a key that is no text")
    if _SCALARS.issuperset(map(type, container.values() if mapping else container)):
        return []
    below = []
    for key, item in container.items() if mapping else enumerate(container):
        if type(item) is msgpack.Timestamp:
            container[key] = _date(item.to_unix_nano() // 1_000_000)
        elif type(item) in (dict, list):
            below.append(item)
    return below
