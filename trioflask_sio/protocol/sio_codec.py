"""How Socket.IO packets become Engine.IO messages and back: the interface, and the form every client speaks.

A server has one codec (the option ``serializer``, spec 2.10). ``TextCodec`` is the protocol's own form: a text, and a
binary message for each attachment. ``sio_msgpack.MsgpackCodec`` is the other one, for clients that were told so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from trioflask_sio._types import Json
from trioflask_sio.protocol.jsonlib import DEFAULT_JSON, JsonCodec
from trioflask_sio.protocol.limits import Limits
from trioflask_sio.protocol.sio_binary import Assembler
from trioflask_sio.protocol.sio_packet import (
    Packet,
    decode,
    encode_ack,
    encode_connect,
    encode_connect_error,
    encode_disconnect,
    encode_event,
)

__all__ = ["Messages", "PacketCodec", "TextCodec"]

Messages = tuple[str | bytes, ...]
"""All Engine.IO messages of one packet: they travel together."""


class PacketCodec(Protocol):
    """One form of packets. Pure, and used from several threads at once.

    Everything that encodes raises TypeError for data of a type that cannot be sent and ValueError for a value.
    """

    def event(self, namespace: str, name: str, args: Sequence[object], id: int | None = None) -> Messages:
        """An event; with ``id`` it asks for an acknowledgement."""

    def ack(self, namespace: str, id: int, args: Sequence[object]) -> Messages:
        """An acknowledgement."""

    def connect(self, namespace: str, data: Json = None) -> Messages:
        """A namespace is joined (the client's auth payload) or was (the server's answer)."""

    def connect_error(self, namespace: str, data: Json) -> Messages:
        """A namespace is refused."""

    def disconnect(self, namespace: str) -> Messages:
        """A namespace is left."""

    def numbering(self, namespace: str, event: Messages) -> Callable[[int], Messages]:
        """How to put an id into an event that was encoded without one: receivers differ in nothing else."""

    def start(self, message: str | bytes, limits: Limits) -> Packet | Assembler:
        """The packet that a message is, or the assembler that waits for the rest of it.

        Raises:
            PacketError: it can neither be a packet nor begin one.
        """


class TextCodec:
    """The protocol's own form (spec 2.1).

    Args:
        json: how payloads are written and read.
    """

    __slots__ = ("json",)

    def __init__(self, json: JsonCodec = DEFAULT_JSON) -> None:
        self.json = json

    def event(self, namespace: str, name: str, args: Sequence[object], id: int | None = None) -> Messages:
        return encode_event(namespace, name, args, id, self.json)

    def ack(self, namespace: str, id: int, args: Sequence[object]) -> Messages:
        return encode_ack(namespace, id, args, self.json)

    def connect(self, namespace: str, data: Json = None) -> Messages:
        return encode_connect(namespace, data, self.json)

    def connect_error(self, namespace: str, data: Json) -> Messages:
        return encode_connect_error(namespace, data, self.json)

    def disconnect(self, namespace: str) -> Messages:
        return encode_disconnect(namespace)

    def numbering(self, namespace: str, event: Messages) -> Callable[[int], Messages]:
        text, *attachments = event
        if not isinstance(text, str):
            raise TypeError(f"the text form of a packet begins with text, not with {type(text).__name__}")
        at = text.index("-") + 1 if text[0] == "5" else 1
        if namespace != "/":
            at += len(namespace) + 1
        head, tail, rest = text[:at], text[at:], tuple(attachments)
        return lambda id: (f"{head}{id}{tail}", *rest)

    def start(self, message: str | bytes, limits: Limits) -> Packet | Assembler:
        if isinstance(message, str) and message[:1] not in ("5", "6"):
            # Only packets of the types 5 and 6 announce attachments: the usual message is a packet by itself.
            return decode(message, limits, self.json)  # type: ignore[return-value]  # see the line above
        assembler = Assembler(limits, self.json)
        packet = assembler.feed(message)
        return assembler if packet is None else packet

    def __repr__(self) -> str:
        return f"<text codec with {self.json!r}>"
