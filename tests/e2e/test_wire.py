"""What clients do wrong, through real sockets: a clear refusal, nothing stuck, no traceback in the server's log.

The sections are those of the behaviour specification. The last part is asserted by the fixture `server`.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable

import pytest

from tests.e2e.kinds import LONG, REFERENCE
from tests.e2e.wire import BINARY, PING, TEXT, Polling, Reply, connected, joined, request, websocket
from tests.support.servers import Server

pytestmark = [
    pytest.mark.skipif(REFERENCE, reason="Flask-SocketIO answers about half of these otherwise"),
    pytest.mark.parametrize("server", LONG, indirect=True),
]

PATIENCE = 15.0  # seconds until something that the server does by itself must be visible
POLLING = "EIO=4&transport=polling"
CLOSED = {1000, 1002, 1005, 1006, 1011}  # any way to end a WebSocket except 1009, which means something else


def departure(server: Server, sid: str) -> list[str]:
    """The departure of a client, as its disconnect handler noted it."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{server.url}/state", timeout=20) as reply:
            found = [entry for entry in json.load(reply)["departures"] if entry[0] == sid]
        if found:
            assert len(found) == 1
            return [str(word) for word in found[0][1:]]
        time.sleep(0.02)  # the disconnect handler runs in another process
    raise AssertionError(f"{sid} has not left")


def assert_gone(session: Polling) -> None:
    """The session is not in the server's table any more (spec 3.9.1)."""
    reply = session.get()
    assert (reply.status, reply.code) == (400, 1)


def assert_refused(reply: Reply, status: int, code: int, message: str) -> None:
    """A refusal in the form of spec 3.2.1."""
    assert reply.status == status, reply
    assert reply.headers["content-type"].partition(";")[0] == "application/json"
    assert json.loads(reply.body) == {"code": code, "message": message}


# ------------------------------------------------------------------------------------------------ handshakes (3.1, 3.2)


@pytest.mark.parametrize(
    ("method", "query", "code", "message"),
    [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=pigeon", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=Polling", 0, "Transport unknown"),
        ("GET", "", 0, "Transport unknown"),
        ("GET", f"{POLLING}&sid=nobody", 1, "Session ID unknown"),
        ("GET", f"{POLLING}&sid=%00%ff", 1, "Session ID unknown"),
        ("POST", f"{POLLING}&sid=nobody", 1, "Session ID unknown"),
        ("POST", POLLING, 2, "Bad handshake method"),
        ("PUT", POLLING, 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=5&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=4x&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
    ],
)
def test_handshake_is_refused(server: Server, method: str, query: str, code: int, message: str) -> None:
    assert_refused(request(server.port, method, query), 400, code, message)


def test_foreign_origin_is_refused(server: Server) -> None:
    reply = request(server.port, "GET", POLLING, headers={"Origin": "http://evil.example"})
    assert reply.status == 403
    assert reply.code == 4
    with websocket(server.port, headers="Origin: http://evil.example\r\n") as refused:
        assert refused.status == 403


def test_own_origin_is_accepted(server: Server) -> None:
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    reply = request(server.port, "GET", POLLING, headers=own)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == own["Origin"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("EIO=4&transport=websocket&sid=nobody", "Session ID unknown"),
        ("EIO=3&transport=websocket", "Unsupported protocol version"),
        ("EIO=4&transport=pigeon", "Transport unknown"),
    ],
)
def test_websocket_is_refused_before_the_upgrade(server: Server, query: str, words: str) -> None:
    with websocket(server.port, query) as refused:
        assert refused.status == 400
        assert words in refused.refusal()


def test_first_value_of_a_repeated_key_counts(server: Server) -> None:
    assert request(server.port, "GET", "EIO=4&EIO=3&transport=polling&transport=pigeon").status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_on_a_session(server: Server, method: str) -> None:
    session, _ = connected(server.port)
    assert request(server.port, method, session.query).status == 405
    assert session.post('420["ask",1]').status == 200
    assert session.collect(1) == ["30[1]"]


# --------------------------------------------------------------------------------------------------- polling (3.4, 3.5)


def test_headers_of_polls_and_posts(server: Server) -> None:
    session = Polling(server.port)
    reply = session.post("40")
    assert (reply.status, reply.body) == (200, b"ok")
    assert reply.headers["content-type"] == "text/html"
    reply = session.get()
    assert reply.headers["content-type"] == "text/plain; charset=UTF-8"
    assert reply.headers["cache-control"] == "no-store"
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_five_hundred_packets_in_one_post_are_delivered_in_order(server: Server) -> None:
    session, _ = connected(server.port)
    body = "\x1e".join(f'42["echo",{number}]' for number in range(500))
    assert session.post(body).body == b"ok"
    assert session.collect(500) == [f'2["echoed",{number}]' for number in range(500)]


def test_second_get_is_an_overlap(server: Server) -> None:
    session, sid = connected(server.port)
    with session.parked() as parked:
        reply = overlap(session.get)
        assert reply.status == 400
        first = parked.getresponse()
        assert (first.status, first.read()) == (200, b"1")
    assert_gone(session)
    assert departure(server, sid) == ["/", "transport error"]


def overlap(second: Callable[[], Reply]) -> Reply:
    """The server may read the second request before the first: then the first is the one that is refused."""
    time.sleep(0.3)  # two connections race to the server; nothing tells from outside that the first has been read
    return second()


def test_aborted_get_ends_the_session(server: Server) -> None:
    session, sid = connected(server.port)
    with session.parked():
        time.sleep(0.3)  # see `overlap`
    assert departure(server, sid) == ["/", "transport error"]
    assert_gone(session)


def test_close_packet_releases_the_parked_get(server: Server) -> None:
    session, sid = connected(server.port)
    with session.parked() as parked:
        time.sleep(0.3)  # see `overlap`
        assert session.post("1").body == b"ok"
        first = parked.getresponse()
        assert (first.status, first.read()) == (200, b"6")
    assert departure(server, sid) == ["/", "client disconnect"]
    assert_gone(session)


def test_packets_after_a_close_are_dropped(server: Server) -> None:
    session, sid = connected(server.port)
    assert session.post('1\x1e42["kick",1]').body == b"ok"
    assert departure(server, sid) == ["/", "client disconnect"]


@pytest.mark.parametrize(
    "body",
    ["", "\x1e", '42["echo"]\x1e', "7", "9x", "x", "b!!!", "bAB", "2", "2probe", '42["echo"]\x1e\x1e42["echo"]', "é"],
)
def test_broken_payload_is_refused_and_ends_the_session(server: Server, body: str) -> None:
    session, sid = connected(server.port)
    assert session.post(body).status == 400
    assert departure(server, sid) == ["/", "transport error"]
    assert_gone(session)


def test_packets_before_the_broken_one_are_processed(server: Server) -> None:
    session, sid = connected(server.port)
    with joined(server.port) as (other, other_sid):
        assert session.post(f'42["kick","{other_sid}"]\x1e9').status == 400
        assert other.receive() == "41"
    assert departure(server, sid) == ["/", "transport error"]


@pytest.mark.parametrize("body", [b"\xff\xfe", b"4\xc3"])
def test_body_that_is_not_utf8(server: Server, body: bytes) -> None:
    session, sid = connected(server.port)
    assert session.post(body).status == 400
    assert departure(server, sid) == ["/", "transport error"]


def test_octet_stream_is_refused(server: Server) -> None:
    session, sid = connected(server.port)
    assert session.post('42["echo"]', {"Content-Type": "application/octet-stream"}).status == 400
    assert departure(server, sid) == ["/", "transport error"]


@pytest.mark.parametrize("packet", ["0", "6", "5"])
def test_stray_packets_are_ignored(server: Server, packet: str) -> None:
    session, _ = connected(server.port)
    assert session.post(packet).body == b"ok"
    assert session.post('420["ask",1]').body == b"ok"
    assert session.collect(1) == ["30[1]"]


def test_oversized_body_is_refused_and_ends_the_session(server: Server) -> None:
    session, sid = connected(server.port)
    size = session.opened["maxPayload"]
    assert session.post("4" + "x" * size).status == 413
    assert departure(server, sid) == ["/", "transport error"]
    assert_gone(session)


def test_oversized_chunked_body_is_refused(server: Server) -> None:
    session, sid = connected(server.port)
    with WebSocketless(server.port) as raw:
        raw.head(f"POST /socket.io/?{session.query} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert raw.feed_chunks(40, 65_536) == 413
    assert departure(server, sid) == ["/", "transport error"]


class WebSocketless:
    """A plain connection that sends a body in chunks for as long as the server lets it."""

    def __init__(self, port: int) -> None:
        import socket

        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def __enter__(self) -> WebSocketless:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def head(self, text: str) -> None:
        self.socket.sendall(text.encode())

    def feed_chunks(self, count: int, size: int) -> int:
        """Send up to `count` chunks of `size` bytes; the status of the answer."""
        try:
            for _ in range(count):
                self.socket.sendall(b"%x\r\n%s\r\n" % (size, b"x" * size))
            self.socket.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # the server has stopped reading; its answer is there all the same
        with self.socket.makefile("rb") as stream:
            return int(stream.readline().split()[1])


# ---------------------------------------------------------------------------------------------- Socket.IO packets (2.2)

BAD_PACKETS = {
    "unknown type": "abc",
    "type 9": "9",
    "event without payload": "2",
    "event with an object": "2{}",
    "event with an empty list": "2[]",
    "event name null": "2[null]",
    "event name bool": "2[true]",
    "event name list": "2[[]]",
    "event name object": "2[{}]",
    "reserved connect": '2["connect"]',
    "reserved disconnect": '2["disconnect","x"]',
    "reserved connect_error": '2["connect_error"]',
    "reserved disconnecting": '2["disconnecting"]',
    "reserved newListener": '2["newListener"]',
    "reserved removeListener": '2["removeListener"]',
    "broken JSON": '2["a"',
    "JSON with a tail": '2["a"]x',
    "ack id is no number": '242abc["a"]',
    "ack id too long": "2" + "1" * 101 + '["ask"]',
    "integer too long": '2["ask",' + "1" * 101 + "]",
    "CONNECT again": "0",
    "CONNECT payload a list": "0/other,[]",
    "CONNECT payload a string": '0/other,"x"',
    "event for a namespace never joined": '2/other,["ask"]',
    "ack for a namespace never joined": "3/other,1[]",
    "disconnect for a namespace never joined": "1/other,",
    "CONNECT_ERROR from a client": '4{"message":"x"}',
    "namespace without slash": "0foo",
    "no attachments": '50-["a",{"_placeholder":true,"num":0}]',
    "attachments without dash": '51["a",{"_placeholder":true,"num":0}]',
    "more attachments than allowed": '511-["a"]',
    "placeholder out of range": '51-["a",{"_placeholder":true,"num":1}]',
    "placeholder is no integer": '51-["a",{"_placeholder":true,"num":"0"}]',
    "too deep": '2["ask",' + "[" * 5000 + "]" * 5000 + "]",
}


@pytest.mark.parametrize("name", BAD_PACKETS)
def test_bad_packet_closes_the_websocket(server: Server, name: str) -> None:
    with joined(server.port) as (opened, sid):
        opened.send(f"4{BAD_PACKETS[name]}")
        if "placeholder" in name:
            opened.send(b"attachment")
        assert opened.closed() in CLOSED
    assert departure(server, sid) == ["/", "transport error"]


@pytest.mark.parametrize("name", [name for name in BAD_PACKETS if "placeholder" not in name])
def test_bad_packet_closes_the_polling_session(server: Server, name: str) -> None:
    session, sid = connected(server.port)
    session.post(f"4{BAD_PACKETS[name]}")
    assert departure(server, sid) == ["/", "transport error"]
    farewell = session.get()
    assert farewell.status == 400 or farewell.packets[-1] == "1"
    assert_gone(session)


def test_first_packet_that_is_no_connect_closes(server: Server) -> None:
    with websocket(server.port) as opened:
        opened.receive()
        opened.send('42["echo"]')
        assert opened.closed() in CLOSED


def test_empty_message_closes(server: Server) -> None:
    with joined(server.port) as (opened, sid):
        opened.send("4")
        assert opened.closed() in CLOSED
    assert departure(server, sid) == ["/", "transport error"]


def test_text_while_an_attachment_is_due_closes(server: Server) -> None:
    with joined(server.port) as (opened, sid):
        opened.send('451-["echo",{"_placeholder":true,"num":0}]')
        opened.send('42["echo"]')
        assert opened.closed() in CLOSED
    assert departure(server, sid) == ["/", "transport error"]


def test_binary_that_nobody_announced_closes(server: Server) -> None:
    with joined(server.port) as (opened, sid):
        opened.send(b"surprise")
        assert opened.closed() in CLOSED
    assert departure(server, sid) == ["/", "transport error"]


@pytest.mark.parametrize("packet", ['2["no such event",1]', '2["",1]', "2[7]", "399[1]", "1"])
def test_odd_packets_that_are_legal_end_nothing(server: Server, packet: str) -> None:
    with joined(server.port) as (opened, _):
        opened.send("40/other,")
        assert str(opened.receive()).startswith("40/other,")
        opened.send(f"4{packet}")
        opened.send('42/other,1["ask","still here"]')
        assert opened.receive() == '43/other,1["still here"]'


def test_event_for_a_namespace_left_earlier_is_ignored(server: Server) -> None:
    with joined(server.port) as (opened, _):
        opened.send("40/other,")
        assert str(opened.receive()).startswith("40/other,")
        opened.send("41/other,")
        opened.send('42/other,["echo"]')
        opened.send('421["ask",1]')
        assert opened.receive() == "431[1]"


def test_packet_without_the_comma_after_its_namespace(server: Server) -> None:
    with joined(server.port) as (opened, _):
        opened.send("40/other")
        assert str(opened.receive()).startswith("40/other,")


# ----------------------------------------------------------------------------------------------------- WebSocket (3.6)


def test_ten_attachments_are_fine(server: Server) -> None:
    places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10))
    with joined(server.port) as (opened, _):
        opened.send(f'4510-7["ask",{places}]')
        for number in range(10):
            opened.send(bytes([number]))
        assert str(opened.receive()).startswith("4610-7[")
        assert [opened.receive() for _ in range(10)] == [bytes([number]) for number in range(10)]


@pytest.mark.parametrize("packet", ["", "7", "x", "2", "2probe", "b!!!"])
def test_bad_engine_packet_closes_the_websocket(server: Server, packet: str) -> None:
    with joined(server.port) as (opened, sid):
        opened.send(packet)
        assert opened.closed() in CLOSED
    assert departure(server, sid) == ["/", "transport error"]


def test_close_packet_closes_the_websocket_promptly(server: Server) -> None:
    with joined(server.port) as (opened, sid):
        opened.send("1")
        assert opened.closed() in {1000, 1005}
    assert departure(server, sid) == ["/", "client disconnect"]


def test_dropped_connection(server: Server) -> None:
    with joined(server.port) as (_, sid):
        pass
    assert departure(server, sid) == ["/", "transport close"]


def test_message_over_the_limit_closes_1009(server: Server) -> None:
    with joined(server.port) as (opened, sid):
        opened.send("4" + "x" * 1_000_001)
        assert opened.closed() == 1009
    assert departure(server, sid)[1] in {"transport error", "transport close"}


def test_fragments_are_one_message(server: Server) -> None:
    with joined(server.port) as (opened, _):
        opened.send_frame(TEXT, b'421["ask",', final=False)
        opened.send_frame(PING, b"between")
        opened.send_frame(0, '"é"]'.encode())
        assert opened.receive() == '431["é"]'


def test_text_frame_that_is_not_utf8_closes(server: Server) -> None:
    with joined(server.port) as (opened, sid):
        opened.send_frame(TEXT, b"4\xff\xfe")
        assert opened.closed() in {1000, 1002, 1005, 1006, 1007}
    assert departure(server, sid)[1] in {"transport error", "transport close"}


def test_frame_of_an_unknown_kind_closes(server: Server) -> None:
    with joined(server.port) as (opened, sid):
        opened.send_frame(0x3, b"?")
        assert opened.closed() in {1002, 1005, 1006}
    assert departure(server, sid)[1] in {"transport error", "transport close"}


def test_half_a_frame_and_gone(server: Server) -> None:
    with joined(server.port) as (opened, sid):
        opened.send_frame(BINARY, b"half", length=100)
    assert departure(server, sid) == ["/", "transport close"]


# ------------------------------------------------------------------------------------------------------- upgrade (3.7)


def test_upgrade_by_hand(server: Server) -> None:
    session, _ = connected(server.port)
    with websocket(server.port, f"EIO=4&transport=websocket&sid={session.opened['sid']}") as opened:
        opened.send("2probe")
        assert opened.receive() == "3probe"
        opened.send("5")
        opened.send('421["ask",1]')
        assert opened.receive() == "431[1]"
        for reply in (session.get(), session.post('42["echo"]')):
            assert (reply.status, reply.code) == (400, 3)
        with websocket(server.port, f"EIO=4&transport=websocket&sid={session.opened['sid']}") as second:
            assert second.closed() in CLOSED
        opened.send('422["ask",2]')
        assert opened.receive() == "432[2]"


@pytest.mark.parametrize("frames", [["hello"], ["5"], ["2prob"], ["2probe", "42[]"], ["2probe", "6"], [b"2probe"]])
def test_failed_upgrade_leaves_the_polling_session_alone(server: Server, frames: list[str | bytes]) -> None:
    session, _ = connected(server.port)
    with websocket(server.port, f"EIO=4&transport=websocket&sid={session.opened['sid']}") as opened:
        for frame in frames:
            opened.send(frame)
        assert opened.closed() in CLOSED
    assert session.post('420["ask",1]').body == b"ok"
    assert session.collect(1) == ["30[1]"]


def test_upgrade_that_drops_leaves_the_polling_session_alone(server: Server) -> None:
    session, _ = connected(server.port)
    with websocket(server.port, f"EIO=4&transport=websocket&sid={session.opened['sid']}") as opened:
        opened.send("2probe")
        assert opened.receive() == "3probe"
    assert session.post('420["ask",1]').body == b"ok"
    assert session.collect(1) == ["30[1]"]


def test_second_upgrade_at_the_same_time_is_closed(server: Server) -> None:
    session, _ = connected(server.port)
    query = f"EIO=4&transport=websocket&sid={session.opened['sid']}"
    with websocket(server.port, query) as first:
        first.send("2probe")
        assert first.receive() == "3probe"
        with websocket(server.port, query) as second:
            assert second.closed() in CLOSED
        first.send("5")
        first.send('421["ask",1]')
        assert first.receive() == "431[1]"


# ------------------------------------------------------------------------------------------- what is not for us at all


def test_flask_answers_everything_else(server: Server) -> None:
    with urllib.request.urlopen(f"{server.url}/", timeout=20) as reply:
        assert reply.read() == b"hello from Flask"
    body = bytes(range(256)) * 8192
    with urllib.request.urlopen(f"{server.url}/echo", data=body, timeout=20) as reply:
        assert reply.read() == body
    with urllib.request.urlopen(f"{server.url}/stream/1000", timeout=20) as reply:
        assert reply.read() == b"".join(b"%d\n" % number for number in range(1000))
