"""What a client may send to a namespace and when: the whole table against the sentences of spec 2.2."""

from __future__ import annotations

import itertools

import pytest

from trioflask_sio.protocol.sio_machine import TABLE, NamespaceState, Verdict, judge
from trioflask_sio.protocol.sio_packet import Ack, Connect, ConnectError, Disconnect, Event, Packet

CONNECT = Connect("/")
DISCONNECT = Disconnect("/")
EVENT = Event("/", ["x"])
ACK = Ack("/", [], 1)
ERROR = ConnectError("/", {})
NEVER, CONNECTING, CONNECTED, LEFT = NamespaceState
DISPATCH, IGNORE, CLOSE = Verdict


@pytest.mark.parametrize(
    ("state", "packet", "verdict"),
    [
        (NEVER, CONNECT, DISPATCH),
        (NEVER, EVENT, CLOSE),  # first packet not CONNECT
        (NEVER, ACK, CLOSE),
        (NEVER, DISCONNECT, CLOSE),
        (CONNECTING, CONNECT, CLOSE),  # duplicate CONNECT (6.4 #6)
        (CONNECTING, EVENT, DISPATCH),
        (CONNECTING, ACK, DISPATCH),
        (CONNECTING, DISCONNECT, DISPATCH),
        (CONNECTED, CONNECT, CLOSE),
        (CONNECTED, EVENT, DISPATCH),
        (CONNECTED, ACK, DISPATCH),
        (CONNECTED, DISCONNECT, DISPATCH),
        (LEFT, CONNECT, DISPATCH),  # a client may come back
        (LEFT, EVENT, IGNORE),  # crossed the server's goodbye
        (LEFT, ACK, IGNORE),
        (LEFT, DISCONNECT, IGNORE),
        *((state, ERROR, CLOSE) for state in NamespaceState),
    ],
)
def test_verdict(state: NamespaceState, packet: Packet, verdict: Verdict) -> None:
    assert judge(state, packet) is verdict


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(itertools.product(NamespaceState, (Connect, Disconnect, Event, Ack, ConnectError)))
