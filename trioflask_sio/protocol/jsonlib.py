"""JSON with the standard library's contract at orjson's speed (design §8.18).

Rules:

* The standard library decides what is legal and what it means: which types may be sent (no datetime, UUID, Enum or
  dataclass), how keys are written, how large an integer is. orjson does the work where both agree, which ``scan`` and a
  few searches at C speed establish; everything else takes the standard library's way.
* Three deliberate differences: NaN and Infinity are refused in both directions (browsers refuse them), text is written
  as UTF-8 and not as ``\\u`` escapes (spec 2.1.2) except lone surrogates, which UTF-8 cannot carry, and a number beyond
  the range of a float is refused where the standard library reads infinity.
* ``loads`` raises ValueError for every input it does not take, never RecursionError.
* Nothing here is global state: a user's own module is wrapped in a codec and handed to whom it concerns.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, Protocol, cast

import orjson

from trioflask_sio._types import Json
from trioflask_sio.exceptions import ConfigError

__all__ = ["BINARY", "DEFAULT_JSON", "FOREIGN", "JsonCodec", "dumps", "loads", "scan", "wrap_json"]

MAX_DEPTH: Final = 100
MAX_INT_DIGITS: Final = 100

BINARY: Final = 1
"""``scan`` found bytes."""
FOREIGN: Final = 2
"""``scan`` found a type that orjson and the standard library may write differently."""


class JsonCodec(Protocol):
    """How payloads become text and back; the option ``json`` replaces it (spec 2.10.4)."""

    def dumps(self, data: object, *, plain: bool = False) -> str:
        """Compact JSON.

        Args:
            data: a tree without bytes.
            plain: the caller has scanned it and found nothing but exact builtin types.

        Raises:
            TypeError: a type that JSON does not know.
            ValueError: NaN, Infinity, or nested too deeply.
        """

    def loads(self, text: str, max_depth: int = MAX_DEPTH, max_int_digits: int = MAX_INT_DIGITS) -> Json:
        """The value of a JSON text. Raises ValueError for anything else."""


def scan(data: object) -> int:
    """What a tree holds: 0 for exact builtin JSON types only, or ``BINARY`` and ``FOREIGN`` added up.

    Keys of dictionaries are not looked at: orjson refuses what it would write differently.

    Raises:
        ValueError: nested deeper than the interpreter can follow, or within itself.
    """
    try:
        return _scan((data,))
    except RecursionError:
        raise ValueError(_TOO_DEEP_OUT) from None


def dumps(data: object, *, plain: bool = False) -> str:
    """See ``JsonCodec.dumps``."""
    if not (plain or scan(data) == 0):
        return _careful_dumps(data)
    try:
        text = orjson.dumps(data)
    except TypeError:
        # A key that is no string, an integer beyond 64 bits, a lone surrogate, deep nesting: all legal.
        return _careful_dumps(data)
    # orjson writes NaN and Infinity as null, so only a text that holds null can hide one.
    if b"null" in text and not _finite((data,)):
        raise ValueError(_NOT_FINITE)
    return text.decode()


def loads(text: str, max_depth: int = MAX_DEPTH, max_int_digits: int = MAX_INT_DIGITS) -> Json:
    """The value of a JSON text.

    Args:
        text: the JSON text.
        max_depth: lists and objects within each other.
        max_int_digits: digits of one integer.

    Raises:
        ValueError: not JSON, nested too deeply, or an integer that is too long.
    """
    value: Json
    try:
        raw = text.encode()
        # Digits in a row that could be an integer beyond 64 bits, which orjson would read as a float.
        if len(raw) >= _LONG and _LONG_RUN in raw.translate(_DIGITS_TO_ZERO):
            value = _careful_loads(text, max_int_digits)
        else:
            value = orjson.loads(raw)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        # Wrong, or legal and beyond orjson (a lone surrogate): the standard library knows, and has the better message.
        value = _careful_loads(text, max_int_digits)
    # A level takes two characters and a bracket, so most texts need no look at the value.
    if len(text) > 2 * max_depth and text.count("[") + text.count("{") > max_depth:
        _check_depth(value, max_depth)
    return value


class _Default:
    """This module as a codec."""

    __slots__ = ()
    dumps = staticmethod(dumps)
    loads = staticmethod(loads)


DEFAULT_JSON: Final[JsonCodec] = _Default()


class _Wrapped:
    """A user's json module as a codec."""

    __slots__ = ("_dumps", "_loads", "_name")

    def __init__(self, name: str, dumps: Callable[..., Any], loads: Callable[..., Any]) -> None:
        self._name = name
        self._dumps = dumps
        self._loads = loads

    def dumps(self, data: object, *, plain: bool = False) -> str:
        text = self._dumps(data, separators=(",", ":"))
        return text.decode() if isinstance(text, bytes) else cast("str", text)

    def loads(self, text: str, max_depth: int = MAX_DEPTH, max_int_digits: int = MAX_INT_DIGITS) -> Json:
        try:
            value = cast("Json", self._loads(text))
            _check_depth(value, max_depth)
        except RecursionError:
            raise ValueError(_TOO_DEEP_IN.format(max_depth)) from None
        return value

    def __repr__(self) -> str:
        return f"<json codec of {self._name}>"


def wrap_json(module: object) -> JsonCodec:
    """A codec from what the option ``json`` was given (spec 2.10.4).

    Args:
        module: anything with ``dumps(obj, separators=...)`` and ``loads(text)``; its ``loads`` must raise ValueError,
            or a subclass, for what is no JSON. The standard library's own module and None mean the built-in codec.

    Raises:
        ConfigError: one of the two functions is missing.
    """
    if module is None or module is json:
        return DEFAULT_JSON
    name = getattr(module, "__name__", type(module).__name__)
    found: dict[str, Callable[..., Any]] = {}
    for function in ("dumps", "loads"):
        value = getattr(module, function, None)
        if not callable(value):
            raise ConfigError(
                f"json={name} has no function {function}(); it needs dumps(obj, separators=) and loads(text)"
            )
        found[function] = value
    return _Wrapped(name, found["dumps"], found["loads"])


_NOT_FINITE: Final = "NaN and Infinity cannot be sent: JSON has no such numbers (send None or a string instead)"
_TOO_DEEP_OUT: Final = "the data is nested too deeply to be sent, or contains itself"
_TOO_DEEP_IN: Final = "nested deeper than {} lists and objects"
_SHOWN: Final = 20

_SCALARS: Final = frozenset((str, int, float, bool, type(None)))
_NUMBERLESS: Final = _SCALARS - {float}
_TREES: Final = frozenset((dict, list, tuple))

_LONG: Final = 19
"""Digits from which an integer may be beyond 64 bits."""
_LONG_RUN: Final = b"0" * _LONG
_DIGITS_TO_ZERO: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _scan(values: Iterable[object]) -> int:
    # Most containers hold scalars only: one look at C speed settles them.
    if _SCALARS.issuperset(map(type, values)):
        return 0
    found = 0
    for value in values:
        kind = type(value)
        if kind in _SCALARS:
            continue
        if kind is list or kind is tuple:
            found |= _scan(cast("list[object]", value))
        elif kind is dict:
            found |= _scan(cast("dict[object, object]", value).values())
        else:
            found |= _scan_other(value)
    return found


def _scan_other(value: object) -> int:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return BINARY
    if isinstance(value, dict):
        return FOREIGN | _scan(value.values())
    if isinstance(value, (list, tuple)):
        return FOREIGN | _scan(value)
    return FOREIGN


def _finite(values: Iterable[object]) -> bool:
    """Whether a plain tree holds neither NaN nor Infinity."""
    if _NUMBERLESS.issuperset(map(type, values)):
        return True
    for value in values:
        kind = type(value)
        if kind is float:
            if not math.isfinite(cast("float", value)):
                return False
        elif kind in _TREES and not _finite(
            cast("dict[str, object]", value).values() if kind is dict else cast("list[object]", value)
        ):
            return False
    return True


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _careful_dumps(data: object) -> str:
    try:
        text = _ENCODER.encode(data)
    except RecursionError:
        raise ValueError(_TOO_DEEP_OUT) from None
    except ValueError as error:
        if "ircular" in str(error):
            raise ValueError(_TOO_DEEP_OUT) from None
        raise ValueError(_NOT_FINITE) from error
    return text if text.isascii() else _SURROGATE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _careful_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits[:_SHOWN]} is out of range")
    return value


@lru_cache(maxsize=8)
def _decoder(max_int_digits: int) -> json.JSONDecoder:
    def careful_int(digits: str) -> int:
        if len(digits) - digits.startswith("-") > max_int_digits:
            raise ValueError(f"an integer of {len(digits)} digits; at most {max_int_digits} are taken")
        return int(digits)

    return json.JSONDecoder(parse_int=careful_int, parse_float=_careful_float, parse_constant=_refuse_constant)


def _careful_loads(text: str, max_int_digits: int) -> Json:
    try:
        return cast("Json", _decoder(max_int_digits).decode(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _check_depth(value: Json, max_depth: int) -> None:
    """Level by level, so that no stack is used and the work is bounded by the size of the value."""
    level: list[Any] = [value] if isinstance(value, (list, dict)) else []
    depth = 0
    while level:
        depth += 1
        if depth > max_depth:
            raise ValueError(_TOO_DEEP_IN.format(max_depth))
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (list, dict))
        ]
