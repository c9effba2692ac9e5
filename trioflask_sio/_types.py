"""Names of types that all layers share."""

from __future__ import annotations

from typing import TypeAlias, Union

__all__ = ["Data", "EventName", "Json", "Room", "Sid"]

Sid: TypeAlias = str
"""A Socket.IO id: one per client and namespace, what applications see as ``request.sid``."""

EventName: TypeAlias = str

Room: TypeAlias = "str | int"
"""A room's name. Applications may use any hashable; strings and integers are what the wire formats can carry."""

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "tuple[Json, ...]", "dict[str, Json]", None]

Data: TypeAlias = Union[
    bool, int, float, str, bytes, bytearray, memoryview, "list[Data]", "tuple[Data, ...]", "dict[str, Data]", None
]
"""What an event or an acknowledgement may carry: JSON with bytes at any depth."""
