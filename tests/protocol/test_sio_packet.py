"""The text form of Socket.IO packets: every row of spec 2.2 that one packet can show."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text, event_ids, event_names, json_texts, json_values, namespaces, payload_values, same
from trioflask_sio.exceptions import PacketError
from trioflask_sio.protocol.jsonlib import wrap_json
from trioflask_sio.protocol.limits import Limits
from trioflask_sio.protocol.sio_packet import (
    RESERVED_EVENTS,
    Ack,
    Connect,
    ConnectError,
    Disconnect,
    Event,
    Packet,
    Pending,
    decode,
    encode_ack,
    encode_connect,
    encode_connect_error,
    encode_disconnect,
    encode_event,
)

MARK = '{"_placeholder":true,"num":%d}'


@given(namespaces(), event_names(), st.lists(json_values(), max_size=3), event_ids())
def test_events_and_acks_round_trip(namespace: str, name: str, args: list[Any], id: int | None) -> None:
    before = copy.deepcopy(args)
    (text,) = encode_event(namespace, name, args, id)
    assert isinstance(text, str)
    event = decode(text)
    assert isinstance(event, Event)
    assert (event.namespace, event.id, event.attachments) == (namespace, id, 0)
    assert same(event.data, [name, *args])
    (answer,) = encode_ack(namespace, 0 if id is None else id, args)
    assert isinstance(answer, str)
    assert same(decode(answer), Ack(namespace, args, 0 if id is None else id))
    assert same(args, before)


@given(namespaces(), st.dictionaries(any_text(), json_values(), max_size=3))
def test_the_other_packets_round_trip(namespace: str, data: dict[str, Any]) -> None:
    pairs: list[tuple[tuple[str, ...], Packet]] = [
        (encode_connect(namespace, data), Connect(namespace, data)),
        (encode_connect(namespace), Connect(namespace)),
        (encode_connect_error(namespace, data), ConnectError(namespace, data)),
        (encode_connect_error(namespace, "text"), ConnectError(namespace, "text")),
        (encode_disconnect(namespace), Disconnect(namespace)),
    ]
    for messages, packet in pairs:
        assert [decode(message) for message in messages] == [packet]


def nearly_packets() -> st.SearchStrategy[str]:
    parts = st.sampled_from(
        ["0", "1", "2", "3", "4", "5", "6", "51-", "62-", "/", "/a,", "/a?b,", "12", "[", '["x"', "]", ","]
    )
    names = st.sampled_from(['["x"]', '["connect"]', "[]", "{}", MARK % 0, MARK % 1, '["x",' + MARK % 0 + "]", "null"])
    return st.lists(parts | names | json_texts(), max_size=6).map("".join)


@given(nearly_packets() | any_text(), st.booleans())
def test_any_text_is_a_packet_or_our_error(text: str, strict: bool) -> None:
    try:
        packet = decode(text, Limits(strict_auth=strict))
    except PacketError:
        return
    assert type(packet) in {Connect, Disconnect, Event, Ack, ConnectError, Pending}


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0", Connect("/", None)),
        ('0{"sid":"x"}', Connect("/", {"sid": "x"})),
        ('0/adm,{"t":1}', Connect("/adm", {"t": 1})),
        ("0/adm", Connect("/adm", None)),
        ("0/adm,", Connect("/adm", None)),
        ("0/adm?token=1,{}", Connect("/adm", {})),
        ("0/adm?token=1", Connect("/adm", None)),
        ("1", Disconnect("/")),
        ("1/adm", Disconnect("/adm")),
        ("1/adm,", Disconnect("/adm")),
        ('1/adm,{"why":1}', Disconnect("/adm")),
        ('2["foo"]', Event("/", ["foo"])),
        ('212["foo"]', Event("/", ["foo"], 12)),
        ('20["foo"]', Event("/", ["foo"], 0)),
        ('2/adm,7["foo",1]', Event("/adm", ["foo", 1], 7)),
        ('2[""]', Event("/", [""])),
        ('2[1,"a"]', Event("/", [1, "a"])),
        ("2[1.5]", Event("/", [1.5])),
        ('2 ["foo"]', Event("/", ["foo"])),
        ('2["foo",{"_placeholder":true,"num":9}]', Event("/", ["foo", {"_placeholder": True, "num": 9}])),
        ('3/adm,13["bar"]', Ack("/adm", ["bar"], 13)),
        ("313[]", Ack("/", [], 13)),
        ("313", Ack("/", [], 13)),
        ("3/adm,13", Ack("/adm", [], 13)),
        ("3[]", Ack("/", [], None)),
        ('4{"message":"no"}', ConnectError("/", {"message": "no"})),
        ('4/adm,"no"', ConnectError("/adm", "no")),
    ],
)
def test_what_is_read(text: str, packet: Packet) -> None:
    assert same(decode(text), packet)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "an empty Socket.IO packet"),
        ("abc", "no Socket.IO packet: 'abc'"),
        ("9", "no Socket.IO packet"),
        ("7", "no Socket.IO packet"),
        ("\u0662[]", "no Socket.IO packet"),
        ("2", "must be a list that begins with its name"),
        ("212", "must be a list that begins with its name"),
        ("2{}", "must be a list that begins with its name"),
        ("2[]", "must be a list that begins with its name"),
        ('2/foo["x"]', "must be a list that begins with its name"),
        ("2[null]", "must be a string or a number, not NoneType"),
        ("2[true]", "must be a string or a number, not bool"),
        ("2[[]]", "must be a string or a number, not list"),
        ("2[{}]", "must be a string or a number, not dict"),
        ('2["x"', "bad JSON"),
        ('2abc["x"]', "bad JSON"),
        ('2-1["x"]', "bad JSON"),
        ('2\u0661["x"]', "bad JSON"),
        ('2foo,["x"]', "bad JSON"),
        ('2["x",NaN]', "NaN is not JSON"),
        ('2["x",' + "1" * 101 + "]", "an integer of 101 digits; at most 100"),
        ("2" + '["x",' * 101 + "1" + "]" * 101, "nested deeper than 100"),
        ("2" + "1" * 101 + '["x"]', "an acknowledgement id of 101 digits; at most 100"),
        ("3" + "1" * 101, "an acknowledgement id of 101 digits; at most 100"),
        ("0[]", "must be an object, not list"),
        ('0"x"', "must be an object, not str"),
        ("0null", "must be an object, not NoneType"),
        ("012", "must be an object, not int"),
        ("0foo", "bad JSON"),
        ("1foo", "bad JSON"),
        ("313{}", "payload must be a list"),
        ('313"x"', "payload must be a list"),
        ("313null", "payload must be a list"),
        ("4", "must be an object or a string"),
        ("4[]", "must be an object or a string"),
        ('50-["x"]', "a binary packet without attachments"),
        ('511-["x"]', "11 attachments; at most 10 are taken"),
        ("5" + "1" * 1_000 + '-["x"]', "attachments; at most 10 are taken"),
        ('5["x"]', "does not say how many attachments follow"),
        ('51["x"]', "does not say how many attachments follow"),
        ('5-["x"]', "does not say how many attachments follow"),
        ("60-0[]", "a binary packet without attachments"),
        ("51-", "must be a list that begins with its name"),
        ("51-[" + MARK % 0 + "]", "must be a string or a number, not dict"),
        ('21-["x"]', "attachments announced by a packet of a type without attachments"),
        ('31-1["x"]', "attachments announced by a packet of a type without attachments"),
        ("01-{}", "attachments announced by a packet that has none"),
        ("0/" + "x" * 1_000, "a namespace of 1001 characters; at most 1000"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(PacketError) as caught:
        decode(text)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 300  # it goes into a log


@pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
def test_reserved_names_are_refused(name: str) -> None:
    for text in (
        f'2["{name}"]',
        f'2/a,1["{name}",1]',
        f'51-["{name}",{MARK % 0}]',
        f'2["{name[0]}\\u{ord(name[1]):04x}{name[2:]}"]',
    ):
        with pytest.raises(PacketError, match="is reserved"):
            decode(text)


@pytest.mark.parametrize("number", ["1", "-1", "2", "1.0", "true", '"0"', "null", "[0]"])
def test_bad_attachment_numbers_are_refused_with_the_header(number: str) -> None:
    for text in (f'51-["x",{{"_placeholder":true,"num":{number}}}]', f'61-7[{{"_placeholder":true,"num":{number}}}]'):
        with pytest.raises(PacketError, match="bad attachment number"):
            decode(text)


def test_an_attachment_belongs_in_one_place() -> None:
    with pytest.raises(PacketError, match="bad attachment number '0'"):
        decode(f'52-["x",{MARK % 0},{{"a":[{MARK % 0}]}}]')
    with pytest.raises(PacketError, match="bad attachment number 'None'"):
        decode('51-["x",{"_placeholder":true}]')


def test_a_header_waits_for_its_attachments() -> None:
    header = decode(f'52-/adm,7["x",{{"a":[{MARK % 1}]}},{MARK % 0}]')
    assert isinstance(header, Pending)
    assert (header.packet.namespace, header.packet.id, header.packet.attachments) == ("/adm", 7, 2)
    assert [(key, number) for _, key, number in header.slots] == [(0, 1), (2, 0)]


def test_any_auth_where_it_is_allowed() -> None:
    loose = Limits(strict_auth=False)
    assert [decode(text, loose) for text in ("0[1]", '0/a,"x"', "0null", "017", "0")] == [
        Connect("/", [1]),
        Connect("/a", "x"),
        Connect("/", None),
        Connect("/", 17),
        Connect("/", None),
    ]


def test_limits_are_the_callers() -> None:
    small = Limits(max_attachments=1, max_depth=1, max_int_digits=3, max_ack_digits=2, max_namespace=2)
    for text in ('2["x",123]', '299["x"]', "0/a", '51-["x"]'):
        decode(text, small)
    for text in ('2["x",1234]', '2100["x"]', "0/ab", '52-["x"]', '2["x",[]]'):
        with pytest.raises(PacketError):
            decode(text, small)


def test_another_json_module() -> None:
    codec = wrap_json(json)
    assert encode_event("/", "x", ["é"], None, codec) == ('2["x","é"]',)

    class Dates:
        dumps = staticmethod(lambda data, separators: json.dumps(data, separators=separators, default=str))
        loads = staticmethod(json.loads)

    codec = wrap_json(Dates)
    assert encode_event("/", "x", [datetime.date(2026, 1, 1), b"1"], 3, codec) == (
        f'51-3["x","2026-01-01",{MARK % 0}]',
        b"1",
    )
    with pytest.raises(PacketError, match="bad JSON"):
        decode("2[", json=codec)


def test_wire_form_of_spec_examples() -> None:
    assert encode_event("/adm", "x", [b"a", b"b"], 7) == (f'52-/adm,7["x",{MARK % 0},{MARK % 1}]', b"a", b"b")
    assert encode_ack("/", 0, ["a"]) == ('30["a"]',)
    assert encode_ack("/adm", 13, [b"a"]) == (f"61-/adm,13[{MARK % 0}]", b"a")
    assert encode_connect("/", {"sid": "x"}) == ('0{"sid":"x"}',)
    assert encode_connect_error("/adm", {"message": "no"}) == ('4/adm,{"message":"no"}',)
    assert encode_disconnect("/adm") == ("1/adm,",)


def test_bytes_where_no_packet_can_carry_them() -> None:
    for encode in (encode_connect, encode_connect_error):
        with pytest.raises(ValueError, match="bytes cannot be sent when /a is connected or refused"):
            encode("/a", {"x": [b"y"]})  # type: ignore[list-item]  # that it is refused is the test


@given(payload_values())
def test_senders_errors_are_type_or_value_errors(value: Any) -> None:
    for bad, error in (({1, 2}, TypeError), (float("nan"), ValueError), (object(), TypeError)):
        with pytest.raises(error):
            encode_event("/", "x", [value, {"a": (bad,)}])


@pytest.mark.parametrize("packet", [Connect(), Disconnect(), Event("/", ["x"]), Ack("/", []), ConnectError()])
def test_packets_are_frozen(packet: Packet) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        packet.namespace = "/other"  # type: ignore[misc]  # that it is refused is the test
