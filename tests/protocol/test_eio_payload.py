"""Revision 4 on the wire: polling bodies and WebSocket messages (spec 3.4.2 to 3.4.7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text, eio_packets, payload_packets
from trioflask_sio.exceptions import PacketError, PayloadError
from trioflask_sio.protocol.eio_packet import Message, Noop, Packet, Ping
from trioflask_sio.protocol.eio_payload import V4, V4_B64, Revision4
from trioflask_sio.protocol.revision import Revision

REVISIONS = [V4, V4_B64]


def read(body: bytes) -> tuple[list[Packet], str | None]:
    packets: list[Packet] = []
    try:
        packets.extend(V4.from_payload(body))
    except PayloadError as error:
        return packets, str(error)
    return packets, None


@given(st.lists(payload_packets(), min_size=1), st.sampled_from(REVISIONS))
def test_round_trip_of_a_body(packets: list[Packet], revision: Revision4) -> None:
    body, content_type = revision.payload([revision.element(packet) for packet in packets])
    assert content_type == "text/plain; charset=UTF-8"
    assert list(revision.from_payload(body, content_type)) == packets


@given(st.binary() | any_text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_body_is_packets_or_our_error(body: bytes) -> None:
    packets, error = read(body)
    assert packets or error


@given(st.lists(payload_packets()), st.sampled_from(["", "7x", "b*", "bA"]), st.lists(payload_packets()))
def test_packets_before_a_bad_one_come_first(before: list[Packet], bad: str, after: list[Packet]) -> None:
    body, _ = V4.payload([*(V4.element(packet) for packet in before), bad, *(V4.element(packet) for packet in after)])
    packets, error = read(body)
    assert packets == before
    assert error is not None


@pytest.mark.parametrize("body", [b"", b"\x1e", b"4a\x1e", b"\x1e4a", b"4a\x1e\x1e4b"])
def test_empty_elements_are_refused(body: bytes) -> None:
    packets, error = read(body)
    assert error is not None
    assert packets == [Message("a")] * body.startswith(b"4a")


def test_wrong_encoding_yields_nothing() -> None:
    packets, error = read(b"4a\x1e4\xff")
    assert packets == []
    assert error == "a polling body of 5 bytes is not UTF-8: invalid start byte"


@pytest.mark.parametrize("content_type", ["application/octet-stream", "Application/Octet-Stream; x=y"])
def test_binary_bodies_are_refused(content_type: str) -> None:
    with pytest.raises(PayloadError, match="must be text"):
        list(V4.from_payload(b"4a", content_type))


@pytest.mark.parametrize("content_type", ["", "text/plain", "text/plain;charset=UTF-8", "text/html"])
def test_other_content_types_are_read(content_type: str) -> None:
    assert list(V4.from_payload(b"4a", content_type)) == [Message("a")]


def test_count_is_not_capped() -> None:
    packets, error = read(b"\x1e".join([b"4x"] * 20_000))
    assert len(packets) == 20_000
    assert error is None


def test_body_of_spec_example() -> None:
    assert V4.payload(["4hello", b"\x01\x02\x03\x04", "2"])[0] == b"4hello\x1ebAQIDBA==\x1e2"


def test_lone_surrogates_never_break_a_body() -> None:
    assert V4.payload(["4\ud800x"])[0] == "4\ufffdx".encode()


@given(eio_packets(), st.sampled_from(REVISIONS))
def test_round_trip_of_a_websocket_message(packet: Packet, revision: Revision4) -> None:
    assert revision.from_ws(revision.to_ws(packet)) == packet


def test_binary_on_websocket() -> None:
    assert V4.to_ws(Message(b"AB")) == b"AB"
    assert V4_B64.to_ws(Message(b"AB")) == "bQUI="
    assert V4.from_ws(b"4x") == Message(b"4x")
    assert V4.from_ws("bQUI=") == Message(b"AB")
    with pytest.raises(PacketError):
        V4.from_ws("")


def test_what_a_revision_tells() -> None:
    checked: list[Revision] = [V4, V4_B64]
    assert [revision.key for revision in checked] == ["4", "4b64"]
    assert all(revision.number == 4 and revision.server_pings for revision in checked)
    assert V4.element(Noop()) == "6"
    assert V4.element(Ping("probe")) == "2probe"
