"""Into a namespace and not: spec 1.5, 2.4, 2.5 at the wire."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest

from tests.hub.harness import House, texts
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.exceptions import ConnectionRefusedError
from trioflask_sio.hub.hub import new_sid
from trioflask_sio.hub.socket import SocketState


def test_without_a_connect_handler_a_client_is_in_at_once() -> None:
    house = House()
    session = house.engine.open()
    session.receive("0")
    assert texts(session) == ['0{"sid":"sid-1"}']
    assert session.confirmed == 1
    assert house.hub.rooms("sid-1", "/") == ["sid-1"]
    assert house.hub.sockets["sid-1"].state is SocketState.CONNECTED


def test_each_namespace_has_its_own_sid_and_socket() -> None:
    house = House(namespaces=["/", "/x"])
    session = house.engine.open()
    session.receive("0", "0/x,")
    assert texts(session) == ['0{"sid":"sid-1"}', '0/x,{"sid":"sid-2"}']
    assert house.hub.find("sid-1", "/x") is None
    assert house.hub.find("sid-2", "/x") is not None


@pytest.mark.parametrize("packet", ["0/nope,", "0/nope", '0/nope,{"token":"1"}', "0/nope?a=b,"])
def test_an_unknown_namespace_is_refused_and_the_connection_stays(packet: str) -> None:
    house = House()
    session = house.engine.open()
    session.receive(packet, packet, "0")
    refusal = '4/nope,{"message":"Invalid namespace"}'
    assert texts(session) == [refusal, refusal, '0{"sid":"sid-1"}']
    assert not session.closed
    assert session.confirmed == 1


def test_namespaces_are_admitted_by_option_or_by_a_handler_of_exactly_that_name() -> None:
    house = House(namespaces=["/listed"])
    house.on("e", print, "/function")
    house.on("e", print, "*")
    house.handlers.add_class("/class", lambda event: None)
    session = house.engine.open()
    session.receive("0/listed,", "0/function,", "0/class,", "0/other,", "0")
    refused = [text for text in texts(session) if isinstance(text, str) and text.startswith("4")]
    assert refused == ['4/other,{"message":"Invalid namespace"}', '4{"message":"Invalid namespace"}']


def test_a_handler_registered_while_serving_opens_its_namespace() -> None:
    house = House()
    session = house.engine.open()
    session.receive("0/late,")
    house.on("e", print, "/late")
    session.receive("0/late,")
    assert texts(session) == ['4/late,{"message":"Invalid namespace"}', '0/late,{"sid":"sid-1"}']


@pytest.mark.parametrize(
    ("packet", "auth"),
    [("0", None), ("0{}", None), ('0{"a":1}', {"a": 1}), ('0{"":0}', {"": 0})],
)
def test_auth_reaches_the_handler_and_falsy_payloads_are_none(packet: str, auth: object) -> None:
    house = House()
    seen: list[object] = []
    house.on("connect", seen.append)
    house.engine.open().receive(packet)
    assert seen == [auth]


def test_with_strict_auth_off_any_payload_passes() -> None:
    house = House(strict_auth=False)
    seen: list[object] = []
    house.on("connect", lambda auth: seen.append(auth))
    for packet in ('0"text"', "0[1]", "0[]", "07", "00"):
        house.engine.open().receive(packet)
    assert seen == ["text", [1], None, 7, None]


@pytest.mark.parametrize("result", [None, True, "", 0, {}])
def test_any_other_result_than_false_accepts(result: object) -> None:
    house = House()
    house.on("connect", lambda: result)
    session = house.engine.open()
    session.receive("0")
    assert texts(session) == ['0{"sid":"sid-1"}']


def refuses(*args: object) -> Callable[[], object]:
    def connect() -> object:
        if args == (False,):
            return False
        raise ConnectionRefusedError(*args)

    return connect


@pytest.mark.parametrize(
    ("args", "reply"),
    [
        ((False,), '4{"message":"Connection rejected by server"}'),
        ((), '4{"message":"Connection rejected by server"}'),
        (("no",), '4{"message":"no"}'),
        (("no", {"why": [1]}), '4{"message":"no","data":{"why":[1]}}'),
        (("no", 1, 2), '4{"message":"no","data":[1,2]}'),
    ],
)
def test_a_refusal_says_why_and_leaves_nothing_behind(args: tuple[object, ...], reply: str) -> None:
    house = House()
    left: list[object] = []

    @house.handles("connect")
    def connect() -> object:
        house.hub.enter_room(house.sender(), "/", "room")
        return refuses(*args)()

    house.on("disconnect", left.append)
    session = house.engine.open()
    session.receive("0")
    assert texts(session) == [reply]
    assert left == []
    assert session.confirmed == 0
    house.assert_empty()
    house.emit("e", rooms=["room"])
    assert texts(session) == []
    assert not session.closed


def test_a_refusal_whose_data_cannot_be_sent_keeps_its_message(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.on("connect", refuses("no", b"\x00"))
    session = house.engine.open()
    with caplog.at_level(logging.ERROR):
        session.receive("0")
    assert texts(session) == ['4{"message":"no"}']
    assert "cannot be sent as JSON" in caplog.text


def test_a_connect_handler_that_fails_refuses() -> None:
    house = House()
    house.on("connect", lambda: 1 / 0)
    session = house.engine.open()
    session.receive("0")
    assert texts(session) == ['4{"message":"Connection rejected by server"}']
    assert [type(error) for error in house.executor.errors] == [ZeroDivisionError]
    house.assert_empty()


def test_a_refused_client_may_try_again_and_other_namespaces() -> None:
    house = House(namespaces=["/", "/x"])
    answers = iter([False, True])
    house.on("connect", lambda: next(answers))
    session = house.engine.open()
    session.receive("0", "0/x,", "0")
    assert texts(session) == [
        '4{"message":"Connection rejected by server"}',
        '0/x,{"sid":"sid-2"}',
        '0{"sid":"sid-3"}',
    ]


def test_what_the_connect_handler_emits_leaves_before_the_reply() -> None:
    house = House()

    @house.handles("connect")
    def connect() -> None:
        sid = house.sender()
        house.emit("own", rooms=[sid], sender=sid)
        house.hub.enter_room(sid, "/", "room")
        house.emit("room", rooms=["room"], sender=sid)
        house.emit("all", sender=sid)

    session = house.engine.open()
    session.receive("0")
    assert texts(session) == ['2["own"]', '2["room"]', '2["all"]', '0{"sid":"sid-1"}']


def test_what_others_emit_reaches_a_client_only_once_it_is_accepted() -> None:
    house = House(stepwise=True)
    _, other = house.join()
    house.on("connect", lambda: None)
    session = house.engine.open()
    session.receive("0")
    for sender in (None, other.sid):
        house.emit("early", sender=sender)
        house.emit("early", rooms=["sid-2"], sender=sender)
    assert texts(session) == []
    house.executor.run()
    house.emit("late")
    assert texts(session) == ['0{"sid":"sid-2"}', '2["late"]']


def test_events_that_come_before_the_outcome_wait_for_it_and_keep_their_order() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    house.on("connect", lambda: seen.append("connect"))
    house.on("e", seen.append)
    session = house.engine.open()
    session.receive("0", '2["e",1]', '2["e",2]', '21["nobody"]')
    assert session.held > 0
    house.executor.run()
    assert seen == ["connect", 1, 2]
    assert session.held == 0
    assert texts(session) == ['0{"sid":"sid-1"}']


def test_events_of_a_refused_client_are_dropped_and_counted() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    house.on("connect", lambda: False)
    house.on("e", seen.append)
    session = house.engine.open()
    session.receive("0", '2["e",1]', '2["e",2]')
    house.executor.run()
    assert seen == []
    assert session.held == 0
    assert house.hub.stats["events_dropped"] == 2
    house.assert_empty()


def test_always_connect_replies_first_and_refuses_with_a_bare_disconnect() -> None:
    house = House(stepwise=True, always_connect=True)
    house.on("connect", lambda: False)
    left: list[object] = []
    house.on("disconnect", left.append)
    session = house.engine.open()
    session.receive("0", '2["e"]')
    assert texts(session) == ['0{"sid":"sid-1"}']
    house.emit("early")
    house.executor.run()
    assert texts(session) == ["1"]
    # It had been told that it is inside, so what was on its way is ignored.
    session.receive('2["e"]')
    assert not session.closed
    assert left == []


def test_always_connect_replies_once() -> None:
    house = House(always_connect=True, namespaces=["/x"])
    house.on("connect", lambda: None, "/x")
    session = house.engine.open()
    session.receive("0/x,")
    assert texts(session) == ['0/x,{"sid":"sid-1"}']
    assert session.confirmed == 1


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("result", [None, False])
def test_disconnect_inside_connect_sends_no_connect(nested: bool, result: object) -> None:
    house = House()
    left: list[object] = []
    house.on("disconnect", left.append)

    @house.handles("connect")
    def connect() -> object:
        socket = house.hub.disconnect(house.sender(), "/", run_handler=not nested)
        assert socket is not None
        assert socket.ended
        if nested:
            left.append("nested")
            house.hub.disconnected(socket)
        return result

    session = house.engine.open()
    session.receive("0")
    assert texts(session) == ["1"]
    assert session.confirmed == 0
    assert left == (["nested"] if nested else ["server disconnect"] if result is None else [])
    house.assert_empty()
    session.receive("0")
    assert texts(session) == ["1"]


def test_a_client_put_out_before_its_connect_handler_began_never_meets_it() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    house.on("connect", lambda: seen.append("connect"))
    house.on("disconnect", lambda: seen.append("disconnect"))
    session = house.engine.open()
    session.receive("0", '2["e"]')
    assert house.hub.disconnect("sid-1", "/") is not None
    house.executor.run()
    assert seen == []
    assert texts(session) == ["1"]
    house.assert_empty()


def test_outcomes_count_once() -> None:
    house = House(stepwise=True)
    house.on("connect", lambda: None)
    session = house.engine.open()
    session.receive("0")
    socket = house.hub.sockets["sid-1"]
    house.hub.accept(socket)
    house.hub.accept(socket)
    house.hub.refuse(socket, {})
    assert texts(session) == ['0{"sid":"sid-1"}']
    assert socket.state is SocketState.CONNECTED


def test_a_client_invents_no_more_namespaces_than_allowed(caplog: pytest.LogCaptureFixture) -> None:
    house = House(namespaces="*", max_namespaces=3)
    session = house.engine.open()
    for number in range(10):
        session.receive(f"0/{number},", f"1/{number},")
    session.receive("0/a,", "0/b,", "0/c,")
    assert not session.closed
    session.receive("0/d,")
    assert session.close_reason is CloseReason.PROTOCOL_ERROR
    assert "more than 3 namespaces" in caplog.text
    house.assert_empty()


def test_sids_are_twenty_url_safe_characters_and_new_each_time() -> None:
    made = {new_sid() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{20}", sid) for sid in made)


def test_a_refused_namespace_counts_as_never_joined() -> None:
    house = House()
    house.on("connect", lambda: False)
    session = house.engine.open()
    session.receive("0", '2["e"]')
    assert session.close_reason is CloseReason.PROTOCOL_ERROR


def test_only_so_many_left_namespaces_are_remembered() -> None:
    house = House(namespaces="*", max_namespaces=3)
    session = house.engine.open()
    for number in range(5):
        session.receive(f"0/{number},", f"1/{number},")
    session.receive('2/4,["e"]', '2/2,["e"]')
    assert not session.closed
    session.receive('2/1,["e"]')
    assert session.close_reason is CloseReason.PROTOCOL_ERROR


def test_nothing_is_heard_from_a_closed_connection() -> None:
    house = House()
    session = house.engine.open()
    session.close(CloseReason.TRANSPORT_CLOSE)
    house.hub.message_received(session, "0")
    house.assert_empty()


def test_an_outcome_told_after_its_lane_came_to_rest_still_ends_the_departure() -> None:
    house = House(stepwise=True)
    left: list[object] = []
    house.on("connect", lambda: None)
    house.on("disconnect", left.append)
    session = house.engine.open()
    session.receive("0", "1")
    socket = house.hub.sockets["sid-1"]
    assert socket.lane.take("me") is not None
    socket.lane.ended("me")
    socket.lane.release()
    house.hub.lane_rested(socket.lane, 0)
    assert left == []
    house.hub.accept(socket)
    assert left == ["client disconnect"]
    house.assert_empty()


def test_late_events_of_a_client_that_left_are_not_acknowledged() -> None:
    house = House(stepwise=True)
    house.handlers.add_class("/c", lambda event: None)
    house.on("connect", lambda: None, "/c")
    session = house.engine.open()
    session.receive("0/c,", '2/c,1["nope"]', "1/c,")
    house.executor.run()
    assert texts(session) == []
    assert session.held == 0
    house.assert_empty()
