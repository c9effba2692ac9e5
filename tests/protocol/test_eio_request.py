"""First requests and their refusals (spec 3.1, 3.2, 3.3.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text
from trioflask_sio.exceptions import RequestRefused
from trioflask_sio.protocol.eio_payload import V4, V4_B64
from trioflask_sio.protocol.eio_request import (
    MESSAGES,
    TRANSPORTS,
    Handshake,
    check_opening,
    check_transport,
    negotiate,
    parse_handshake,
    parse_query,
    refusal,
    refusal_body,
)

GOOD = "EIO=4&transport=polling"


def ask(query: str, method: str = "GET", *, is_upgrade: bool = False, transports: Any = TRANSPORTS) -> Handshake:
    return parse_handshake(method, parse_query(query), is_upgrade=is_upgrade, transports=transports)


def refused(query: str, **how: Any) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        ask(query, **how)
    return caught.value


@pytest.mark.parametrize(
    ("query", "is_upgrade", "handshake"),
    [
        (GOOD, False, Handshake("polling", V4)),
        (GOOD + "&t=Pxyz", False, Handshake("polling", V4)),
        ("EIO=4&transport=websocket", True, Handshake("websocket", V4)),
        (GOOD + "&b64=1", False, Handshake("polling", V4_B64, b64=True)),
        (GOOD + "&b64=0", False, Handshake("polling", V4)),
        (GOOD + "&b64=", False, Handshake("polling", V4)),
        (GOOD + "&j=7", False, Handshake("polling", V4, jsonp=7)),
        (GOOD + "&EIO=3&transport=websocket", False, Handshake("polling", V4)),
        ("transport=poll%69ng&EIO=4", False, Handshake("polling", V4)),
    ],
)
def test_what_is_accepted(query: str, is_upgrade: bool, handshake: Handshake) -> None:
    assert ask(query, is_upgrade=is_upgrade) == handshake


@pytest.mark.parametrize(
    ("query", "how", "code"),
    [
        ("EIO=4", {}, 0),
        ("", {}, 0),
        ("EIO=4&transport=", {}, 0),
        ("EIO=4&transport=tcp", {}, 0),
        ("EIO=4&transport=Polling", {}, 0),
        (GOOD, {"transports": ("websocket",)}, 0),
        ("EIO=4&transport=websocket", {"transports": ("polling",), "is_upgrade": True}, 0),
        ("EIO=4&transport=tcp", {"transports": ("tcp",)}, 0),
        (GOOD, {"method": "POST"}, 2),
        (GOOD, {"method": "PUT"}, 2),
        ("EIO=4&transport=websocket", {}, 3),
        (GOOD, {"is_upgrade": True}, 3),
        (GOOD + "&j=x", {}, 3),
        (GOOD + "&j=", {}, 3),
        (GOOD + "&j=-1", {}, 3),
        (GOOD + "&j=\u0661", {}, 3),
        (GOOD + "&j=" + "1" * 11, {}, 3),
        ("transport=polling", {}, 5),
        ("EIO=3&transport=polling", {}, 5),
        ("EIO=5&transport=polling", {}, 5),
        ("EIO=4.0&transport=polling", {}, 5),
        ("EIO=+4&transport=polling", {}, 5),
        ("EIO=&transport=polling", {}, 5),
    ],
)
def test_what_is_refused(query: str, how: dict[str, Any], code: int) -> None:
    error = refused(query, **how)
    assert (error.code, error.message, error.status) == (code, MESSAGES[code], 400)
    assert error.context


def test_the_order_of_the_checks() -> None:
    assert refused("EIO=9&transport=tcp", method="POST").code == 0
    assert refused("EIO=9&transport=websocket", method="POST").code == 2
    assert refused("EIO=9&transport=websocket").code == 3
    assert refused("EIO=9&transport=polling&j=x").code == 5


def test_single_steps_leave_room_for_a_hook() -> None:
    query = parse_query("EIO=9&transport=polling")
    transport = check_transport(query, TRANSPORTS)
    check_opening("GET", transport, is_upgrade=False)
    with pytest.raises(RequestRefused) as caught:
        negotiate(query, transport)
    assert caught.value.code == 5


def test_an_old_client_is_told_to_the_log() -> None:
    assert "socket.io-client 3.x or 4.x" in refused("EIO=3&transport=polling").context
    assert "socket.io-client" not in refused("EIO=2&transport=polling").context


def test_a_long_value_is_cut_in_the_log() -> None:
    assert len(refused("EIO=4&transport=" + "x" * 10_000).context) < 100


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {}),
        ("a=1&a=2&b=", {"a": "1", "b": ""}),
        ("a", {"a": ""}),
        ("a=%C3%A9+x&%3D=%26", {"a": "é x", "=": "&"}),
        ("a=%FF", {"a": "\ufffd"}),
        ("&&a=1&", {"a": "1"}),
        ("a=1;b=2", {"a": "1;b=2"}),
    ],
)
def test_query(query: str, fields: dict[str, str]) -> None:
    assert parse_query(query) == fields


def test_too_many_fields_are_refused() -> None:
    assert parse_query("&".join(["a=1"] * 1_000)) == {"a": "1"}
    assert refused("&".join(["a=1"] * 1_001)).code == 3


@given(
    any_text() | st.lists(st.sampled_from([*"&=%;+", "EIO", "transport", "j", "b64", "4", "polling"])).map("".join),
    st.booleans(),
)
def test_any_query_is_a_handshake_or_a_refusal(query: str, is_upgrade: bool) -> None:
    try:
        handshake = ask(query, is_upgrade=is_upgrade)
    except RequestRefused:
        return
    assert handshake.transport in TRANSPORTS


@pytest.mark.parametrize("code", sorted(MESSAGES))
def test_the_body_of_a_refusal(code: int) -> None:
    error = refusal(code)
    assert json.loads(refusal_body(error)) == {"code": code, "message": MESSAGES[code]}
    assert error.status == (403 if code == 4 else 400)


def test_an_application_has_its_own_words() -> None:
    assert refusal_body(refusal(4, message="not you, é")) == b'{"code":4,"message":"not you, \\u00e9"}'


def test_the_codes_are_those_of_the_wire() -> None:
    assert MESSAGES == {
        0: "Transport unknown",
        1: "Session ID unknown",
        2: "Bad handshake method",
        3: "Bad request",
        4: "Forbidden",
        5: "Unsupported protocol version",
    }
