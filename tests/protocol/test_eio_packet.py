"""The text form of one Engine.IO packet (spec 3.4.1 to 3.4.7)."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given

from tests.strategies import any_text, eio_packets, same
from trioflask_sio.exceptions import PacketError
from trioflask_sio.protocol.eio_packet import Close, Message, Noop, Open, Packet, Ping, Pong, Upgrade, decode, encode


@given(eio_packets())
def test_round_trip_in_value_and_type(packet: Packet) -> None:
    back = decode(encode(packet))
    assert type(back) is type(packet)
    assert back == packet
    if isinstance(packet, Message):
        assert isinstance(back, Message)
        assert same(back.data, packet.data)


@given(any_text() | any_text().map(lambda text: "b" + text) | any_text().map(lambda text: "4" + text))
def test_any_text_is_a_packet_or_our_error(text: str) -> None:
    try:
        packet = decode(text)
    except PacketError:
        return
    assert decode(encode(packet)) == packet


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ('0{"sid":"x"}', Open('{"sid":"x"}')),
        ("1", Close()),
        ("2", Ping()),
        ("2probe", Ping("probe")),
        ("3", Pong()),
        ("3probe", Pong("probe")),
        ("4", Message("")),
        ("4hello", Message("hello")),
        ("5", Upgrade()),
        ("6", Noop()),
        ("b", Message(b"")),
        ("bAQIDBA==", Message(b"\x01\x02\x03\x04")),
    ],
)
def test_wire_form(text: str, packet: Packet) -> None:
    assert decode(text) == packet
    assert encode(packet) == text


@pytest.mark.parametrize("text", ["true", "null", "-1", '{"a":1}', "12", "\ud800", "\x1e"])
def test_a_message_is_never_interpreted(text: str) -> None:
    assert same(decode("4" + text), Message(text))


@pytest.mark.parametrize(("text", "packet"), [("1x", Close()), ("5x", Upgrade()), ("6x", Noop())])
def test_text_behind_a_bare_packet_is_dropped(text: str, packet: Packet) -> None:
    assert decode(text) == packet


@pytest.mark.parametrize("text", ["", "7", "9abc", "x", " 4", "\u0664x", "B", "-1", "é"])
def test_unknown_types_are_refused(text: str) -> None:
    with pytest.raises(PacketError, match=r"Engine\.IO packet"):
        decode(text)


@pytest.mark.parametrize(
    "data",
    [
        "A",
        "AB",
        "ABC",
        "ABC==",
        "A===",
        "====",
        "AB==CD==",
        "ABCD=",
        "ABCD====",
        "AB C",
        "ABC\n",
        "AB-_",
        "ÀBCD",
        "=ABC",
    ],
)
def test_broken_base64_is_refused(data: str) -> None:
    with pytest.raises(PacketError, match="broken base64"):
        decode("b" + data)


@pytest.mark.parametrize("packet", [Open("x"), Ping(), Pong(), Message("x")])
def test_packets_are_frozen_and_hashable(packet: Open | Ping | Pong | Message) -> None:
    assert packet in {packet}
    with pytest.raises(dataclasses.FrozenInstanceError):
        packet.data = "y"  # type: ignore[misc]  # that it is refused is the test


def test_kinds_with_equal_data_differ() -> None:
    ping: Packet = Ping("x")
    assert ping != Pong("x")
    assert Message("x") != Message(b"x")
