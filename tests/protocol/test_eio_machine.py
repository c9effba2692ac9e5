"""The session's table: the whole product of states and inputs, and each sentence of spec 3.4.8 to 3.7."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import eio_packets
from trioflask_sio.protocol.eio_machine import (
    TABLE,
    Effect,
    Input,
    State,
    poll_input,
    probe_input,
    socket_input,
    step,
)
from trioflask_sio.protocol.eio_packet import Close, Message, Noop, Open, Packet, Ping, Pong, Upgrade

CLOSING = {
    Effect.CLOSE_CLIENT,
    Effect.CLOSE_GONE,
    Effect.CLOSE_TIMEOUT,
    Effect.CLOSE_PARSE,
    Effect.CLOSE_TOO_BIG,
    Effect.CLOSE_SERVER,
    Effect.CLOSE_ERROR,
}
POLLED = [State.POLLING, State.OFFERED, State.PROBING]
LIVING = [*POLLED, State.WEBSOCKET]


@given(st.sampled_from(State), st.sampled_from(Input))
def test_every_pair_is_legal_or_closes(state: State, happening: Input) -> None:
    after, effect = step(state, happening)
    assert ((state, happening) in TABLE) or (after, effect) == (State.CLOSED, Effect.CLOSE_ERROR)
    # A closing effect and the closed state go together, and closing happens once.
    assert (effect in CLOSING) == (after is State.CLOSED and state is not State.CLOSED)


@given(st.sampled_from([State.POLLING, State.WEBSOCKET]), st.lists(st.sampled_from(Input)))
def test_lives(state: State, happenings: list[Input]) -> None:
    closings = 0
    for happening in happenings:
        before = state
        state, effect = step(state, happening)
        closings += effect in CLOSING
        if before is State.CLOSED:
            assert state is State.CLOSED
        if before is State.WEBSOCKET:
            assert state in {State.WEBSOCKET, State.CLOSED}  # never downgraded (spec 3.3.3)
        assert (effect is Effect.SWITCH) == (before is State.PROBING and state is State.WEBSOCKET)
    assert closings == (state is State.CLOSED)


def test_the_table_is_whole_where_it_says_so() -> None:
    assert {happening for state, happening in TABLE if state is State.CLOSED} == set(Input)
    assert {after for after, _ in TABLE.values()} == set(State)
    assert {effect for _, effect in TABLE.values()} == set(Effect)


UPGRADE_ROWS = [
    # session already upgraded, or another upgrade in progress: the first and the session go on
    (State.OFFERED, Input.PROBE_OFFERED, State.OFFERED, Effect.REFUSE_PROBE),
    (State.PROBING, Input.PROBE_OFFERED, State.PROBING, Effect.REFUSE_PROBE),
    (State.WEBSOCKET, Input.PROBE_OFFERED, State.WEBSOCKET, Effect.REFUSE_PROBE),
    # first frame not 2probe, also a direct upgrade: closed, polling goes on
    (State.OFFERED, Input.PROBE_OTHER, State.POLLING, Effect.DROP_PROBE),
    (State.OFFERED, Input.PROBE_UPGRADE, State.POLLING, Effect.DROP_PROBE),
    # frame after the probe is no upgrade: another probe is answered, anything else closes the socket
    (State.PROBING, Input.PROBE_PING, State.PROBING, Effect.ANSWER_PROBE),
    (State.PROBING, Input.PROBE_OTHER, State.POLLING, Effect.DROP_PROBE),
    # no upgrade in time, or the socket drops
    (State.OFFERED, Input.PROBE_TIMEOUT, State.POLLING, Effect.DROP_PROBE),
    (State.PROBING, Input.PROBE_TIMEOUT, State.POLLING, Effect.DROP_PROBE),
    (State.OFFERED, Input.PROBE_GONE, State.POLLING, Effect.DROP_PROBE),
    (State.PROBING, Input.PROBE_GONE, State.POLLING, Effect.DROP_PROBE),
    # session closes during the upgrade: the socket is closed too, with what was queued where it had the word
    (State.CLOSED, Input.PROBE_UPGRADE, State.CLOSED, Effect.FAREWELL),
    (State.CLOSED, Input.PROBE_PING, State.CLOSED, Effect.DROP_PROBE),
    (State.CLOSED, Input.PROBE_OTHER, State.CLOSED, Effect.DROP_PROBE),
    # after success: requests are refused, another socket is refused
    (State.WEBSOCKET, Input.POLL_REQUEST, State.WEBSOCKET, Effect.REFUSE_MISMATCH),
    # the way it should go
    (State.POLLING, Input.PROBE_OFFERED, State.OFFERED, Effect.ADMIT_PROBE),
    (State.OFFERED, Input.PROBE_PING, State.PROBING, Effect.ANSWER_PROBE),
    (State.PROBING, Input.PROBE_UPGRADE, State.WEBSOCKET, Effect.SWITCH),
    # a POST in flight when the upgrade comes is processed
    (State.WEBSOCKET, Input.POLL_MESSAGE, State.WEBSOCKET, Effect.DELIVER),
    (State.WEBSOCKET, Input.POLL_BEAT, State.WEBSOCKET, Effect.BEAT),
    # after the end
    (State.CLOSED, Input.POLL_REQUEST, State.CLOSED, Effect.REFUSE_UNKNOWN),
    (State.CLOSED, Input.PROBE_OFFERED, State.CLOSED, Effect.REFUSE_PROBE),
    (State.CLOSED, Input.SOCKET_MESSAGE, State.CLOSED, Effect.IGNORE),
    (State.CLOSED, Input.SERVER_CLOSE, State.CLOSED, Effect.IGNORE),
]


@pytest.mark.parametrize(("state", "happening", "after", "effect"), UPGRADE_ROWS)
def test_upgrade(state: State, happening: Input, after: State, effect: Effect) -> None:
    assert step(state, happening) == (after, effect)


@pytest.mark.parametrize("state", POLLED)
def test_polling_goes_on_while_a_socket_is_tried(state: State) -> None:
    assert step(state, Input.POLL_REQUEST) == (state, Effect.SERVE)
    assert step(state, Input.POLL_MESSAGE) == (state, Effect.DELIVER)
    assert step(state, Input.POLL_IDLE) == (state, Effect.IGNORE)


@pytest.mark.parametrize("state", LIVING)
@pytest.mark.parametrize(
    ("happening", "effect"),
    [
        (Input.POLL_CLOSE, Effect.CLOSE_CLIENT),
        (Input.POLL_INVALID, Effect.CLOSE_PARSE),
        (Input.POLL_MISBEAT, Effect.CLOSE_ERROR),
        (Input.POLL_OVERLAP, Effect.CLOSE_ERROR),
        (Input.POLL_GONE, Effect.CLOSE_ERROR),
        (Input.POLL_TOO_BIG, Effect.CLOSE_TOO_BIG),
        (Input.BEAT_TIMEOUT, Effect.CLOSE_TIMEOUT),
        (Input.SERVER_CLOSE, Effect.CLOSE_SERVER),
    ],
)
def test_endings(state: State, happening: Input, effect: Effect) -> None:
    assert step(state, happening) == (State.CLOSED, effect)


@pytest.mark.parametrize(
    ("happening", "after", "effect"),
    [
        (Input.SOCKET_MESSAGE, State.WEBSOCKET, Effect.DELIVER),
        (Input.SOCKET_BEAT, State.WEBSOCKET, Effect.BEAT),
        (Input.SOCKET_IDLE, State.WEBSOCKET, Effect.IGNORE),
        (Input.SOCKET_MISBEAT, State.CLOSED, Effect.CLOSE_ERROR),
        (Input.SOCKET_CLOSE, State.CLOSED, Effect.CLOSE_CLIENT),
        (Input.SOCKET_INVALID, State.CLOSED, Effect.CLOSE_PARSE),
        (Input.SOCKET_GONE, State.CLOSED, Effect.CLOSE_GONE),
        (Input.SOCKET_TOO_BIG, State.CLOSED, Effect.CLOSE_TOO_BIG),
    ],
)
def test_websocket(happening: Input, after: State, effect: Effect) -> None:
    assert step(State.WEBSOCKET, happening) == (after, effect)


@pytest.mark.parametrize(
    ("packet", "name"),
    [
        (Message("x"), "MESSAGE"),
        (Message(b"x"), "MESSAGE"),
        (Pong(), "BEAT"),
        (Ping(), "MISBEAT"),
        (Ping("probe"), "MISBEAT"),
        (Close(), "CLOSE"),
        (Open(), "IDLE"),
        (Noop(), "IDLE"),
        (Upgrade(), "IDLE"),
    ],
)
def test_what_packets_mean(packet: Packet, name: str) -> None:
    assert poll_input(packet) is Input[f"POLL_{name}"]
    assert socket_input(packet) is Input[f"SOCKET_{name}"]
    other = {"BEAT": "MISBEAT", "MISBEAT": "BEAT"}.get(name, name)
    assert poll_input(packet, server_pings=False) is Input[f"POLL_{other}"]
    assert socket_input(packet, server_pings=False) is Input[f"SOCKET_{other}"]


@given(eio_packets())
def test_what_packets_mean_on_a_probe(packet: Packet) -> None:
    expected = {Ping("probe"): Input.PROBE_PING, Upgrade(): Input.PROBE_UPGRADE}
    assert probe_input(packet) is expected.get(packet, Input.PROBE_OTHER)


def test_probe_examples() -> None:
    assert probe_input(Ping("probe")) is Input.PROBE_PING
    assert probe_input(Upgrade()) is Input.PROBE_UPGRADE
    assert probe_input(Ping()) is Input.PROBE_OTHER
    assert probe_input(Pong("probe")) is Input.PROBE_OTHER
