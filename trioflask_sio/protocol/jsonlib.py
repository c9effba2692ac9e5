"""JSON with the standard library's contract at orjson's speed (design §8.18).

Rules:

* The standard library decides what is legal and what it means: which types may be sent (no datetime, UUID, Enum or
  dataclass), how keys are written, how large an integer is. orjson does the work where both agree; what it would do
  differently is found at C speed (``fast``, ``loads``) and takes the standard library's way.
* Three deliberate differences: NaN and Infinity are refused in both directions (browsers refuse them), text is written
  as UTF-8 and not as ``\\u`` escapes (spec 2.1.2) except lone surrogates, which UTF-8 cannot carry, and a number beyond
  the range of a float is refused where the standard library reads infinity.
* ``loads`` raises ValueError for every input it does not take, never RecursionError.
* Nothing here is global state: a user's own module is wrapped in a codec and handed to whom it concerns.
"""

from __future__ import annotations

import json
import marshal
import math
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, Protocol, cast

import orjson

from trioflask_sio._types import Json
from trioflask_sio.exceptions import ConfigError

__all__ = ["DEFAULT_JSON", "MAX_DEPTH", "MAX_INT_DIGITS", "JsonCodec", "dumps", "fast", "loads", "wrap_json"]

MAX_DEPTH: Final = 100
MAX_INT_DIGITS: Final = 100


class JsonCodec(Protocol):
    """How payloads become text and back; the option ``json`` replaces it (spec 2.10.4)."""

    def fast(self, data: object) -> str | None:
        """Compact JSON where that is certain without a closer look: None when there may be bytes or odd types.

        Raises:
            ValueError: NaN or Infinity.
        """

    def dumps(self, data: object) -> str:
        """Compact JSON.

        Args:
            data: a tree without bytes.

        Raises:
            TypeError: a type that JSON does not know.
            ValueError: NaN, Infinity, nested too deeply, or within itself.
        """

    def loads(self, text: str, max_depth: int = MAX_DEPTH, max_int_digits: int = MAX_INT_DIGITS) -> Json:
        """The value of a JSON text. Raises ValueError for anything else."""


def fast(data: object) -> str | None:
    """See ``JsonCodec.fast``.

    ``marshal`` is asked first because it looks at a whole tree at C speed and refuses every type that is not exactly a
    builtin one, enumerations and UUIDs among them, which orjson would write without a word. The few types that it takes
    and JSON does not (bytes, sets) are refused by orjson.
    """
    try:
        exact = marshal.dumps(cast("Any", data), _MARSHAL)
        text = orjson.dumps(data)
    except (ValueError, TypeError):
        return None
    # orjson writes NaN and Infinity as null, so only a text that holds null can hide one.
    if b"null" in text and _maybe_infinite(exact) and not _finite((data,)):
        raise ValueError(_NOT_FINITE)
    return text.decode()


def dumps(data: object) -> str:
    """See ``JsonCodec.dumps``."""
    text = fast(data)
    # A subclass, a key that is no string, an integer beyond 64 bits, a lone surrogate, deep nesting: all may be legal.
    return _careful_dumps(data) if text is None else text


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
        if max_int_digits < _LONG or (len(raw) >= _LONG and _LONG_RUN in raw.translate(_DIGITS_TO_ZERO)):
            value = _careful_loads(text, max_int_digits)
        else:
            value = orjson.loads(raw)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        # Wrong, or legal and beyond orjson (a lone surrogate): the standard library knows, and has the better message.
        value = _careful_loads(text, max_int_digits)
    _check_depth(value, text, max_depth)
    return value


class _Default:
    """This module as a codec."""

    __slots__ = ()
    fast = staticmethod(fast)
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

    def fast(self, data: object) -> str | None:
        return None

    def dumps(self, data: object) -> str:
        text = self._dumps(data, separators=(",", ":"))
        return text.decode() if isinstance(text, bytes) else cast("str", text)

    def loads(self, text: str, max_depth: int = MAX_DEPTH, max_int_digits: int = MAX_INT_DIGITS) -> Json:
        try:
            value = cast("Json", self._loads(text))
            _check_depth(value, text, max_depth)
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
_MARSHAL: Final = 4
"""The version of the marshal format that ``_maybe_infinite`` reads."""
_EXPONENT_MARKS: Final = bytes(
    0x61 if byte == 0x7F else 0x62 if byte == 0xFF else 0x63 if byte >= 0xF0 else 0x20 for byte in range(256)
)
_INFINITE_PAIRS: Final = (b"ca", b"cb", b"ba", b"bb")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def _maybe_infinite(exact: bytes) -> bool:
    """Whether a marshalled tree could hold NaN or Infinity: two bytes that end a double whose exponent is all ones.

    Other data may look the same; the answer False is certain.
    """
    marks = exact.translate(_EXPONENT_MARKS)
    return any(pair in marks for pair in _INFINITE_PAIRS)


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


def _check_depth(value: Json, text: str, max_depth: int) -> None:
    """Level by level, so that no stack is used; and only as far as the brackets in the text can still be levels."""
    if len(text) <= 2 * max_depth:  # a level takes two characters
        return
    brackets = text.count("[") + text.count("{")
    level: list[Any] = [value] if isinstance(value, (list, dict)) else []
    depth = 1
    while level and depth + (brackets := brackets - len(level)) > max_depth:
        if depth > max_depth:
            raise ValueError(_TOO_DEEP_IN.format(max_depth))
        depth += 1
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, (list, dict))
        ]
