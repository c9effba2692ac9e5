"""What clients send: every row of spec 2.2 through the hub, acknowledgements of events, bytes held."""

from __future__ import annotations

import logging

import pytest

from tests.hub.harness import House, texts
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.hub.client import Client
from trioflask_sio.hub.handlers import Handler

DEEP = "[" * 200 + "]" * 200

UNREADABLE: dict[str, list[str | bytes]] = {
    "an unknown type": ["abc"],
    "the type 9": ["9"],
    "an event without payload": ["2"],
    "an event whose payload is an object": ["2{}"],
    "an event without a name": ["2[]"],
    "the name null": ["2[null]"],
    "the name true": ["2[true]"],
    "a list as name": ["2[[]]"],
    "an object as name": ["2[{}]"],
    "the reserved name connect": ['2["connect"]'],
    "the reserved name disconnect": ['2["disconnect","x"]'],
    "the reserved name connect_error": ['2["connect_error"]'],
    "the reserved name disconnecting": ['2["disconnecting"]'],
    "the reserved name newListener": ['2["newListener"]'],
    "the reserved name removeListener": ['2["removeListener"]'],
    "broken JSON": ['2["e"'],
    "an ack id that is no number": ['2abc["e"]'],
    "an auth that is a list": ["0[]"],
    "an auth that is text": ['0"x"'],
    "an empty message": [""],
    "no attachments in a binary event": ['50-["e"]'],
    "text while attachments are pending": ['51-["e",{"_placeholder":true,"num":0}]', '2["e"]'],
    "binary that nothing announced": [b"\x00"],
    "a namespace without its slash": ["0foo"],
    "a placeholder out of range": ['51-["e",{"_placeholder":true,"num":1}]', b"\x00"],
    "a placeholder that is no integer": ['51-["e",{"_placeholder":true,"num":"0"}]', b"\x00"],
    "a negative placeholder": ['51-["e",{"_placeholder":true,"num":-1}]', b"\x00"],
    "too many attachments": ['511-["e"]'],
    "an endless ack id": ["2" + "1" * 101 + '["e"]'],
    "an endless integer": ['2["e",' + "1" * 101 + "]"],
    "an endless nesting": [f'2["e",{DEEP}]'],
    "an ack whose payload is an object": ["31{}"],
}
ILLEGAL: dict[str, list[str | bytes]] = {
    "CONNECT for a namespace already joined": ["0"],
    "an event for a namespace never joined": ['2/x,["e"]'],
    "an ack for a namespace never joined": ["3/x,1[]"],
    "a disconnect for a namespace never joined": ["1/x,"],
    "CONNECT_ERROR from a client": ['4{"message":"no"}'],
}


@pytest.mark.parametrize("what", sorted(UNREADABLE))
def test_unreadable_packets_close_with_one_line_and_no_traceback(what: str, caplog: pytest.LogCaptureFixture) -> None:
    expect_close(UNREADABLE[what], CloseReason.PARSE_ERROR, caplog)


@pytest.mark.parametrize("what", sorted(ILLEGAL))
def test_packets_at_the_wrong_time_close(what: str, caplog: pytest.LogCaptureFixture) -> None:
    expect_close(ILLEGAL[what], CloseReason.PROTOCOL_ERROR, caplog)


def expect_close(messages: list[str | bytes], reason: CloseReason, caplog: pytest.LogCaptureFixture) -> None:
    house = House(namespaces=["/", "/x"])
    seen: list[object] = []
    left: list[object] = []
    house.on("*", lambda *args: seen.append(args))
    house.on("disconnect", left.append)
    session, socket = house.join()
    bystander, _ = house.join()
    with caplog.at_level(logging.INFO):
        session.receive(*messages)
    assert session.close_reason is reason
    assert left == ["transport error"]
    assert socket.reason_detail == reason.detail
    assert seen == []
    assert session.held == 0
    (line,) = caplog.records
    assert line.exc_info is None
    assert session.eio_sid[:6] in line.getMessage()
    assert socket.sid in line.getMessage()
    assert "'/'" in line.getMessage()
    assert "\n" not in line.getMessage()
    # Nobody else is touched, and nothing more is read.
    house.emit("e")
    assert texts(bystander) == ['2["e"]']
    house.hub.message_received(session, '2["e"]')
    assert seen == []


@pytest.mark.parametrize("packet", ['2["e"]', '21["e"]', "31[]", "1", '2/x,["e"]'])
def test_the_first_packet_must_be_connect(packet: str) -> None:
    house = House(namespaces="*")
    session = house.engine.open()
    session.receive(packet)
    assert session.close_reason is CloseReason.PROTOCOL_ERROR


def test_connect_while_connecting_closes() -> None:
    house = House(stepwise=True)
    house.on("connect", lambda: None)
    session = house.engine.open()
    session.receive("0", "0")
    assert session.close_reason is CloseReason.PROTOCOL_ERROR


@pytest.mark.parametrize("packet", ['2["e"]', '21["e"]', "31[]", "1", '51-["e",{"_placeholder":true,"num":0}]'])
def test_packets_for_a_namespace_that_was_left_are_ignored(packet: str) -> None:
    house = House()
    seen: list[object] = []
    house.on("e", lambda *args: seen.append(args))
    session, socket = house.join()
    house.hub.disconnect(socket.sid, "/")
    session.take()
    session.receive(packet, *([b"\x01"] if packet.startswith("5") else []))
    assert not session.closed
    assert seen == []
    assert session.held == 0
    assert texts(session) == []


@pytest.mark.parametrize("packet", ["1", '1{"why":1}', "1x"])
def test_disconnect_is_taken_with_and_without_payload(packet: str) -> None:
    house = House()
    left: list[object] = []
    house.on("disconnect", left.append)
    session, _ = house.join()
    session.receive(packet)
    if packet == "1x":
        assert session.close_reason is CloseReason.PARSE_ERROR
    else:
        assert left == ["client disconnect"]
        assert not session.closed
        assert texts(session) == []


@pytest.mark.parametrize(("name", "event"), [('""', ""), ("7", 7), ("2.5", 2.5), ('"*"', "*"), ('"ünï"', "ünï")])
def test_odd_names_reach_function_catch_alls(name: str, event: object) -> None:
    house = House()
    seen: list[object] = []
    house.on("*", lambda *args: seen.append(args))
    session, _ = house.join()
    session.receive(f"2[{name},1]")
    assert seen == [(event, 1)]


@pytest.mark.parametrize(
    ("result", "ack"),
    [
        (None, "31[]"),
        ((), "31[]"),
        ((5,), "31[5]"),
        ((1, 2), "31[1,2]"),
        ([1, 2], "31[[1,2]]"),
        (False, "31[false]"),
        (0, "31[0]"),
    ],
)
def test_a_result_is_the_acknowledgement(result: object, ack: str) -> None:
    house = House()
    house.on("e", lambda *args: result)
    session, _ = house.join()
    session.receive('21["e"]', '2["e"]')
    assert texts(session) == [ack]


def test_an_acknowledgement_with_bytes_and_in_a_namespace() -> None:
    house = House()
    house.on("e", lambda data: {"back": data}, "/x")
    session, _ = house.join("/x")
    session.receive('51-/x,7["e",{"_placeholder":true,"num":0}]', b"\x01\x02")
    assert session.take() == [('61-/x,7[{"back":{"_placeholder":true,"num":0}}]', b"\x01\x02")]


def test_what_a_handler_emits_leaves_before_its_acknowledgement() -> None:
    house = House()
    house.on("e", lambda: house.emit("news", rooms=[house.sender()]))
    session, _ = house.join()
    session.receive('21["e"]')
    assert texts(session) == ['2["news"]', "31[]"]


def test_a_handler_that_fails_acknowledges_nothing() -> None:
    house = House()
    house.on("e", lambda: 1 / 0)
    session, _ = house.join()
    session.receive('21["e"]')
    assert texts(session) == []
    assert not session.closed


def test_unhandled_events_are_acknowledged_in_class_based_namespaces_only() -> None:
    house = House()
    house.handlers.add_class("/c", lambda event: None)
    session, _ = house.join()
    house.join("/c", session)
    session.receive('21["nope"]', '2/c,2["nope"]', '2/c,["nope"]', "2/c,3[7]")
    assert texts(session) == ["3/c,2[]"]
    assert house.hub.stats["events_unhandled"] == 4
    assert session.held == 0


def test_bytes_of_an_event_are_held_until_its_job_has_ended() -> None:
    house = House(stepwise=True)
    held: list[int] = []
    house.on("e", lambda *args: held.append(session.held))
    session, _ = house.join()
    text, header, blob = '2["e"]', '51-["e",{"_placeholder":true,"num":0}]', b"x" * 100
    session.receive(text, header, blob)
    total = len(text) + len(header) + len(blob)
    assert session.held == total
    house.executor.run()
    assert held == [total, len(header) + len(blob)]
    assert session.held == 0


def test_too_many_waiting_events_close_their_client() -> None:
    house = House(stepwise=True, max_pending_events=5)
    seen: list[object] = []
    left: list[object] = []
    house.on("e", seen.append)
    house.on("disconnect", left.append)
    session, _ = house.join()
    session.receive(*(f'2["e",{number}]' for number in range(6)))
    assert session.close_reason is CloseReason.INBOUND_OVERFLOW
    house.executor.run()
    # What had been taken is handled all the same (design §8.9).
    assert seen == [0, 1, 2, 3, 4]
    assert left == ["transport error"]
    assert session.held == 0
    house.assert_empty()


def test_events_before_the_outcome_count_too() -> None:
    house = House(stepwise=True, max_pending_events=2)
    house.on("connect", lambda: None)
    house.on("e", lambda: None)
    session = house.engine.open()
    session.receive("0", '2["e"]', '2["e"]', '2["e"]')
    assert session.close_reason is CloseReason.INBOUND_OVERFLOW


def test_half_a_packet_dies_with_its_connection() -> None:
    house = House()
    session, _ = house.join()
    session.receive('51-["e",{"_placeholder":true,"num":0}]')
    session.close(CloseReason.TRANSPORT_CLOSE)
    house.assert_empty()
    client = session.upper
    assert isinstance(client, Client)
    assert client._assembler is None


def test_a_server_disconnect_in_the_middle_of_a_packet_breaks_nothing() -> None:
    house = House(namespaces=["/", "/x"])
    session, socket = house.join()
    house.join("/x", session)
    session.receive('51-["e",{"_placeholder":true,"num":0}]')
    house.hub.disconnect(socket.sid, "/")
    session.receive(b"\x00", '2/x,["e"]')
    assert not session.closed


def test_our_own_failure_closes_and_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    house = House()

    def resolve(event: str) -> Handler | None:
        if event == "e":
            raise RuntimeError("a resolver failed")
        return None

    house.handlers.add_class("/c", resolve)
    session, _ = house.join("/c")
    session.receive('2/c,["e"]')
    assert session.close_reason is CloseReason.SERVER_ERROR
    (line,) = caplog.records
    assert line.exc_info is not None


def test_a_session_of_somebody_else_is_left_alone() -> None:
    house = House()
    session = house.engine.open()
    session.upper = None
    house.hub.message_received(session, "0")
    house.hub.session_closed(session, CloseReason.TRANSPORT_CLOSE)
    assert house.hub.sockets == {}


def test_attachment_limit_is_an_option() -> None:
    house = House(max_attachments=1)
    session, _ = house.join()
    session.receive('52-["e"]')
    assert session.close_reason is CloseReason.PARSE_ERROR


def test_an_assembler_lives_only_while_attachments_come() -> None:
    house = House()
    session, _ = house.join()
    client = session.upper
    assert isinstance(client, Client)
    seen = [client._assembler is None]
    session.receive('51-["e",{"_placeholder":true,"num":0}]')
    seen.append(client._assembler is None)
    session.receive(b"\x00")
    seen.append(client._assembler is None)
    assert seen == [True, False, True]


def test_an_overflow_noticed_at_the_event_itself_holds_nothing_back() -> None:
    house = House()
    left: list[object] = []
    house.on("e", lambda: None)
    house.on("disconnect", left.append)
    session, _ = house.join()
    house.emit("ask", callback=print)
    session.inbound_limit = 5
    session.receive('2["e"]')
    assert session.close_reason is CloseReason.INBOUND_OVERFLOW
    assert session.held == 0
    assert left == ["transport error"]
    assert house.hub.stats["events_dropped"] == 1
    house.assert_empty()
