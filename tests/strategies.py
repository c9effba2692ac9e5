"""What Hypothesis draws in property tests, for every room: packets, payloads, JSON, frames, cuts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from trioflask_sio.protocol import eio_packet as eio

__all__ = [
    "any_text",
    "cuts",
    "eio_packets",
    "event_ids",
    "event_names",
    "json_texts",
    "json_values",
    "masked_frame",
    "namespaces",
    "payload_packets",
    "payload_values",
    "pieces",
    "same",
    "wire_text",
]


def same(left: Any, right: Any) -> bool:
    """Equal in value and type, all the way down; NaN equals itself, and 0.0 differs from -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float):
        return repr(left) == repr(right)
    return bool(left == right)


def any_text() -> st.SearchStrategy[str]:
    """Any Python string, lone surrogates among them."""
    return st.text(st.characters(exclude_categories=()))


def wire_text() -> st.SearchStrategy[str]:
    """Text that UTF-8 can carry."""
    return st.text(st.characters(codec="utf-8"))


def json_values(*, leaves: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[Any]:
    """Trees of exactly the types that ``json.loads`` gives."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(min_value=-(10**99), max_value=10**99)
        | st.floats(allow_nan=False, allow_infinity=False)
        | any_text()
    )
    return st.recursive(
        scalars if leaves is None else scalars | leaves,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_keys(), inner, max_size=5),
        max_leaves=20,
    )


def _keys() -> st.SearchStrategy[str]:
    return any_text().filter(lambda key: key != "_placeholder")


def payload_values() -> st.SearchStrategy[Any]:
    """What an event may carry: JSON with bytes at any depth."""
    return json_values(leaves=st.binary(max_size=40))


def json_texts() -> st.SearchStrategy[str]:
    """Texts that are JSON, nearly JSON, or made of its characters."""
    tokens = ["[", "]", "{", "}", ",", ":", '"', "\\", "u", "d800", "1", "0", "-", ".", "e", "9" * 18, "null", "true"]
    extra = ["NaN", "Infinity", "1e999", "9" * 19, "9" * 100, "1" * 101, " ", "\n", "\x00", "é", "😀", "\ud800"]
    return st.lists(st.sampled_from([*tokens, *extra]), max_size=12).map("".join)


def eio_packets() -> st.SearchStrategy[eio.Packet]:
    """Any Engine.IO packet."""
    return st.one_of(
        st.builds(eio.Message, any_text() | st.binary(max_size=40)),
        st.builds(eio.Open, any_text()),
        st.builds(eio.Ping, any_text()),
        st.builds(eio.Pong, any_text()),
        st.sampled_from([eio.Close(), eio.Upgrade(), eio.Noop()]),
    )


def payload_packets() -> st.SearchStrategy[eio.Packet]:
    """Packets that a polling body can carry: no separator and no lone surrogate in their text."""
    text = st.text(st.characters(codec="utf-8", exclude_characters="\x1e"))
    return st.one_of(
        st.builds(eio.Message, text | st.binary(max_size=40)),
        st.builds(eio.Ping, text),
        st.sampled_from([eio.Close(), eio.Noop(), eio.Pong()]),
    )


def namespaces() -> st.SearchStrategy[str]:
    """Names that a packet can carry."""
    tail = st.text(st.characters(codec="utf-8", exclude_characters=",?"), max_size=10)
    return st.just("/") | tail.map(lambda name: "/" + name)


def event_names() -> st.SearchStrategy[str]:
    """Names that a client may send."""
    reserved = {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
    return any_text().filter(lambda name: name not in reserved)


def event_ids() -> st.SearchStrategy[int | None]:
    """No acknowledgement asked, or its id."""
    return st.none() | st.integers(min_value=0, max_value=10**100 - 1)


def masked_frame(first: int, payload: bytes, key: bytes = b"\x01\x80\xff\x00", *, head: int = 0) -> bytes:
    """A client's frame.

    Args:
        first: the first byte: FIN, reserved bits, opcode.
        payload: unmasked.
        key: four bytes.
        head: 2, 4 or 10 to write the length in that form although a shorter one would do.
    """
    size = len(payload)
    head = max(head, 2 if size < 126 else 4 if size < 65_536 else 10)
    if head == 2:
        length = bytes((0x80 | size,))
    else:
        length = bytes((0x80 | (126 if head == 4 else 127),)) + size.to_bytes(head - 2, "big")
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes((first,)) + length + key + masked


def cuts() -> st.SearchStrategy[list[float]]:
    """Where a stream is cut, as shares of its length; for ``pieces``."""
    return st.lists(st.floats(min_value=0, max_value=1), max_size=20)


def pieces(stream: bytes, where: Sequence[float]) -> list[bytes]:
    """``stream`` cut at ``where``; no piece is empty, together they are the stream."""
    marks = sorted({0, len(stream), *(math.floor(share * len(stream)) for share in where)})
    return [stream[start:end] for start, end in itertools.pairwise(marks)]
