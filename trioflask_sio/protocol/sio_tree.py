"""Bytes out of a tree and back into it: the placeholders of spec 2.1.5.

Rules:

* The caller's data is never changed (spec 2.1.7); what needs no change is not copied.
* Attachments are numbered in the order of the text: dictionaries by insertion, lists by position.
* Placeholders that came in are checked when the header arrives, before any attachment is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias, cast

from trioflask_sio.exceptions import PacketError

__all__ = ["Slot", "deconstruct", "find_slots"]

Slot: TypeAlias = "tuple[Any, Any, int]"
"""Container, key or index in it, number of the attachment that belongs there."""

_MARK: Final = "_placeholder"
_BYTES: Final = (bytes, bytearray, memoryview)
_SCALARS: Final = frozenset((str, int, float, bool, type(None)))


def deconstruct(data: object) -> tuple[object, tuple[bytes, ...]]:
    """Take the bytes out of a tree.

    Args:
        data: anything; bytes, bytearray and memoryview are found in values of dictionaries, lists and tuples at any
            depth.

    Returns:
        The tree with placeholders, and the attachments in order. Without bytes the tree is ``data`` itself.

    Raises:
        ValueError: nested deeper than the interpreter can follow, or within itself.
    """
    attachments: list[bytes] = []
    try:
        tree = _replace(data, attachments) if _has_bytes((data,)) else data
    except RecursionError:
        raise ValueError("the data is nested too deeply to be sent, or contains itself") from None
    return tree, tuple(attachments)


def _has_bytes(values: Iterable[object]) -> bool:
    # Most containers hold scalars only: one look at C speed settles them.
    if _SCALARS.issuperset(map(type, values)):
        return False
    for value in values:
        if isinstance(value, _BYTES):
            return True
        if isinstance(value, dict):
            if _has_bytes(value.values()):
                return True
        elif isinstance(value, (list, tuple)) and _has_bytes(value):
            return True
    return False


def _replace(value: object, attachments: list[bytes]) -> object:
    if isinstance(value, _BYTES):
        attachments.append(bytes(value))
        return {_MARK: True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: _replace(item, attachments) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace(item, attachments) for item in value]
    return value


def find_slots(data: list[Any], count: int) -> list[Slot]:
    """The placeholders of a decoded payload.

    Args:
        data: the payload; its depth has been checked.
        count: attachments that the header announced.

    Returns:
        Where each attachment belongs. An attachment may stay unused, as in the reference implementation.

    Raises:
        PacketError: a number that is no integer, out of range, or used twice (spec 2.2).
    """
    slots: list[Slot] = []
    _find(data, slots)
    seen = set()
    for _, _, number in slots:
        if type(number) is not int or not 0 <= number < count or number in seen:
            raise PacketError(f"bad attachment number {str(number)[:20]!r} in a packet with {count} attachments")
        seen.add(number)
    return slots


def _find(container: Any, slots: list[Slot]) -> None:
    for key, item in container.items() if isinstance(container, dict) else enumerate(container):
        if isinstance(item, dict) and item.get(_MARK) is True:
            slots.append((container, key, cast("int", item.get("num"))))
        elif isinstance(item, (dict, list)):
            _find(item, slots)
