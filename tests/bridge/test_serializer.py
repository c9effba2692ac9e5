"""``serializer=``: the form of packets (spec 1.2.13, 2.10), with the test client and in memory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from flask import Flask

from tests.bridge.kit import errors, make, serving
from trioflask_sio import ConfigError, ConnectionRefusedError, SocketIO, emit
from trioflask_sio.protocol.limits import DEFAULT_LIMITS
from trioflask_sio.protocol.sio_msgpack import MsgpackCodec
from trioflask_sio.protocol.sio_packet import Ack, Connect, Event

CODEC = MsgpackCodec()


@pytest.mark.parametrize("given", ["default", "msgpack"])
def test_the_test_client_speaks_what_the_server_speaks(given: str) -> None:
    app = Flask("packed")
    socketio = SocketIO(app, serializer=given, max_attachments=2)

    @socketio.on("connect")
    def connect(auth: Any) -> None:
        if auth == {"bad": True}:
            raise ConnectionRefusedError("no", {"code": 1})

    @socketio.on("echo")
    def echo(*args: Any) -> Any:
        emit("echoed", args)
        return args

    client = socketio.test_client(app, auth={"bad": False})
    value = {"raw": [b"\x00", b"\x01"], "text": "ü", "none": None, 3: 1.5}
    said = {"raw": [b"\x00", b"\x01"], "text": "ü", "none": None, "3": 1.5}
    assert client.emit("echo", value, "more", callback=True) == [said, "more"]
    assert client.get_received() == [{"name": "echoed", "args": [said, "more"], "namespace": "/"}]
    refused = socketio.test_client(app, auth={"bad": True})
    assert not refused.is_connected()
    assert refused.connect_error == {"message": "no", "data": {"code": 1}}
    client.disconnect()


@pytest.mark.anyio
async def test_on_the_wire_one_packet_is_one_binary_message(caplog: pytest.LogCaptureFixture) -> None:
    socketio = make(serializer="msgpack")
    answers: list[Any] = []
    socketio.on_event("echo", lambda *args: args)
    async with serving(socketio) as net:
        one, two = await net.open(), await net.open()
        for peer in (one, two):
            peer.wire.send(*CODEC.connect("/"))
            assert isinstance(CODEC.start(await peer.wire.receive(), DEFAULT_LIMITS), Connect)
        one.wire.send(*CODEC.event("/", "echo", (b"\x00", 1), 4))
        assert CODEC.start(await one.wire.receive(), DEFAULT_LIMITS) == Ack("/", [b"\x00", 1], 4)
        # A callback on a broadcast: every receiver gets the packet with an id of its own.
        socketio.emit("question", b"?", callback=answers.append)
        for peer in (one, two):
            packet = CODEC.start(await peer.wire.receive(), DEFAULT_LIMITS)
            assert isinstance(packet, Event)
            assert packet.data == ["question", b"?"]
            assert packet.id is not None
            peer.wire.send(*CODEC.ack("/", packet.id, ("yes",)))
            peer.wire.send(*CODEC.event("/", "echo", (), 5))
            assert CODEC.start(await peer.wire.receive(), DEFAULT_LIMITS) == Ack("/", [], 5)
        with pytest.raises(ValueError, match="64 bits"):
            socketio.emit("unsendable", 2**64)
    assert answers == ["yes", "yes"]
    assert errors(caplog) == []


@pytest.mark.parametrize("given", ["pickle", "cbor", 5, MsgpackCodec])
def test_there_are_no_others(given: object) -> None:
    with pytest.raises(ConfigError, match="there are 'default' and 'msgpack'") as caught:
        make(serializer=given)
    assert isinstance(caught.value, ValueError)


WITHOUT = """
import sys
sys.modules["msgpack"] = None
from flask import Flask
from trioflask_sio import SocketIO
SocketIO(Flask("x"))
try:
    SocketIO(Flask("x"), serializer="msgpack")
except ValueError as error:
    print(error)
"""


def test_the_package_is_needed_by_those_who_ask_for_it_only() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'trioflask-sio[msgpack]'" in done.stdout
