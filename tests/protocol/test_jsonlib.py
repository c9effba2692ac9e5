"""JSON: the standard library is the oracle, both ways (design §8.18)."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import any_text, json_texts, json_values, same
from trioflask_sio.exceptions import ConfigError
from trioflask_sio.protocol.jsonlib import DEFAULT_JSON, dumps, fast, loads, wrap_json


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Fraction(float):
    pass


class Row(list[Any]):
    pass


class Mapping(dict[str, Any]):
    pass


class Plain(enum.Enum):
    A = 1


class Level(enum.IntEnum):
    HIGH = 3


class Colour(str, enum.Enum):
    RED = "red"


Point = collections.namedtuple("Point", "x y")  # the untyped form is what applications send


@dataclasses.dataclass
class Record:
    x: int = 1


ODD: list[Any] = [
    Text("text"),
    Number(5),
    Fraction(0.5),
    Row([1, [2.5]]),
    Mapping(a=1, b=[None]),
    Plain.A,
    Level.HIGH,
    Colour.RED,
    Point(1, "y"),
    Record(),
    Record,
    collections.OrderedDict(a=1),
    collections.defaultdict(list, a=[1]),
    uuid.UUID(int=7),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    datetime.date(2026, 1, 1),
    datetime.time(1),
    decimal.Decimal("1.5"),
    math.nan,
    math.inf,
    -math.inf,
    {1, 2},
    frozenset((1,)),
    2j,
    ...,
    b"bytes",
    bytearray(b"bytes"),
    memoryview(b"bytes"),
    object(),
    StopIteration,
    len,
    range(3),
    {1: "a", 2.5: "b", None: "d"},
    {True: "c", False: None},
    {1: "a", "1": "b"},
    {Colour.RED: 1, Level.HIGH: 2},
    {Text("key"): 1},
    {(1, 2): 3},
    {b"key": 1},
    {math.nan: 1},
    (1, (2, [3, ()])),
    2**63,
    2**64,
    -(2**63) - 1,
    10**400,
    "\ud800",
    {"\udfff": "\ud83d\ude00"},
]


def outcome(function: Any, *args: Any, **options: Any) -> tuple[type[Exception] | None, Any]:
    try:
        return None, function(*args, **options)
    except (TypeError, ValueError) as error:
        return (TypeError if isinstance(error, TypeError) else ValueError), None


def agree_on_writing(data: object) -> None:
    expected_error, expected = outcome(json.dumps, data, allow_nan=False)
    error, text = outcome(dumps, data)
    assert error is expected_error
    if text is not None:
        assert same(json.loads(text), json.loads(expected))
        text.encode()  # whatever the data held, the text can travel


@given(st.recursive(json_values() | st.sampled_from(ODD), lambda inner: st.lists(inner) | st.tuples(inner, inner)))
def test_writing_agrees_with_the_standard_library(data: object) -> None:
    agree_on_writing(data)


@pytest.mark.parametrize("value", ODD, ids=lambda value: ascii(value)[:40])
@pytest.mark.parametrize(
    "shape", [lambda v: v, lambda v: [v], lambda v: {"a": v, "n": None}, lambda v: [{"x": (None, v)}]]
)
def test_odd_values_in_every_place(value: Any, shape: Any) -> None:
    agree_on_writing(shape(value))


@given(json_values())
def test_round_trip_in_value_and_type(data: object) -> None:
    text = dumps(data)
    assert same(loads(text), data)
    assert dumps(loads(text)) == text


def reference(text: str, max_depth: int) -> Any:
    """The standard library with our three differences."""

    def integer(digits: str) -> int:
        if len(digits.lstrip("-")) > 100:
            raise ValueError("too long")
        return int(digits)

    def real(digits: str) -> float:
        if math.isinf(float(digits)):
            raise ValueError("out of range")
        return float(digits)

    def constant(name: str) -> float:
        raise ValueError(name)

    def depth(value: Any) -> int:
        if not isinstance(value, (list, dict)):
            return 0
        return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)

    value = json.loads(text, parse_int=integer, parse_float=real, parse_constant=constant)
    if depth(value) > max_depth:
        raise ValueError("too deep")
    return value


@given(json_texts() | any_text() | json_values().map(json.dumps), st.integers(min_value=0, max_value=4))
@example("-0", 0)
@example("[[[]],[]]", 2)
@example('{"a":[{}],"b":"[[[["}', 3)
@example("9" * 18 + ".5", 1)
def test_reading_agrees_with_the_standard_library(text: str, max_depth: int) -> None:
    expected_error, expected = outcome(reference, text, max_depth)
    error, value = outcome(loads, text, max_depth)
    assert error is expected_error
    assert same(value, expected)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -math.nan])
def test_nan_names_the_trouble(number: float) -> None:
    for data in (number, [number], {"a": [None, (1, number)]}, [-1, None, number], Row([number])):
        with pytest.raises(ValueError, match="NaN and Infinity cannot be sent"):
            dumps(data)


@pytest.mark.parametrize("data", [[-1, None, -1.5], ["null", 127, -129, 1.7e308], {"null": 0.1, "ÿ": None}])
def test_what_only_looks_like_infinity_is_sent(data: object) -> None:
    assert same(json.loads(dumps(data)), data)


def test_text_is_utf8_and_compact() -> None:
    assert dumps({"é": ["😀", 1]}) == '{"é":["😀",1]}'
    assert dumps(Mapping(é=["😀", 1])) == '{"é":["😀",1]}'
    assert dumps(["é\ud800"]) == '["é\\ud800"]'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("-9223372036854775809", -9223372036854775809),
        ("18446744073709551616", 18446744073709551616),
        ('"\\ud800"', "\ud800"),
        ('["1234567890123456789",1.5]', ["1234567890123456789", 1.5]),
        ("9" * 100, int("9" * 100)),
    ],
)
def test_values_beyond_orjson_are_read_exactly(text: str, value: object) -> None:
    assert same(loads(text), value)


@pytest.mark.parametrize(
    "text", ["NaN", "-Infinity", "[1e999]", "9" * 101, "-" + "9" * 101, "", "[1,]", "{'a':1}", "\ufeff1"]
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


@pytest.mark.parametrize("bracket", ["[]", '{"a":}'])
def test_depth_is_capped_without_recursion(bracket: str) -> None:
    opening, closing = bracket[:-1], bracket[-1]
    for depth, wrong in ((100, False), (101, True), (1_500, True), (100_000, True)):
        text = opening * depth + "1" + closing * depth
        error, _ = outcome(loads, text)
        assert (error is ValueError) == wrong


def test_data_that_contains_itself_is_refused() -> None:
    data: list[Any] = [1]
    data.append(data)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for bad in (data, deep, Row(data)):
        with pytest.raises(ValueError, match="nested too deeply to be sent, or contains itself"):
            dumps(bad)


def test_fast_is_for_exact_types_only() -> None:
    assert fast(["a", {"b": (1, None)}]) == '["a",{"b":[1,null]}]'
    assert all(fast([value]) is None for value in (b"x", Text("x"), Level.HIGH, {1: 2}, 2**64, {1}, "\ud800"))


class TestWrapping:
    class Module:
        """A stand-in for another json library."""

        calls: list[str]

        def __init__(self, *, binary: bool = False) -> None:
            self.calls = []
            self.binary = binary

        def dumps(self, data: object, *, separators: tuple[str, str]) -> str | bytes:
            self.calls.append("dumps")
            text = json.dumps(data, separators=separators, default=str)
            return text.encode() if self.binary else text

        def loads(self, text: str) -> object:
            self.calls.append("loads")
            return json.loads(text)

    @pytest.mark.parametrize("binary", [False, True])
    def test_its_functions_do_the_work(self, binary: bool) -> None:
        module = self.Module(binary=binary)
        codec = wrap_json(module)
        assert codec.fast([1]) is None
        assert codec.dumps({"at": datetime.date(2026, 1, 1)}) == '{"at":"2026-01-01"}'
        assert codec.loads("[1,NaN]")[0] == 1  # type: ignore[index]  # a list, as the text shows
        assert module.calls == ["dumps", "loads"]
        assert repr(codec) == "<json codec of Module>"

    def test_depth_is_capped_for_it_too(self) -> None:
        codec = wrap_json(self.Module())
        assert codec.loads("[[1]]", 2) == [[1]]
        for text in ("[[[1]]]", "[" * 100_000):
            with pytest.raises(ValueError, match="nested deeper than 2"):
                codec.loads(text, 2)

    @pytest.mark.parametrize("module", [None, json])
    def test_the_standard_library_means_the_default(self, module: object) -> None:
        assert wrap_json(module) is DEFAULT_JSON

    def test_a_module_without_functions_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"json=math has no function dumps\(\)"):
            wrap_json(math)
