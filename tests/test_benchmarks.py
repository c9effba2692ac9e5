"""The load generator judges servers, so it is judged here: right answers count, wrong ones end the run.

The peer is a small server on threads that talks just enough Engine.IO over WebSocket and can be told to misbehave.
"""

import os
import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks import harness, items, load, report
from benchmarks.generator import fan, meter, scenarios, wire
from benchmarks.generator.reactor import Reactor, Stalled
from benchmarks.processes import ServerFailed, ServerProcess

SIZES = (0, 1, 125, 126, 65535, 65536)
SHORT = scenarios.Load(clients=3, in_flight=2, seconds=0.08, warm_up=0.05)
Answers = Callable[[str], list[bytes]]


def unmasked(frame: bytes) -> bytes:
    """The payload of a client's frame, read by its own header."""
    size, start = frame[1] & 0x7F, 2
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(frame[2:start], "big")
    assert frame[1] & 0x80
    assert len(frame) == start + 4 + size
    return wire.mask(frame[start + 4 :], frame[start : start + 4])


class TinyServer(socketserver.ThreadingTCPServer):
    """Upgrades, says hello, accepts CONNECT; ``answers`` maps an event to the frames that go to its sender."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, answers: Answers, *, everybody: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), TinyHandler)
        self.answers, self.everybody = answers, everybody
        self.clients: list[socket.socket] = []
        self.lock = threading.Lock()

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def deliver(self, sender: socket.socket, text: str) -> None:
        with self.lock:
            for frame in self.answers(text):
                for client in self.clients if self.everybody else [sender]:
                    client.sendall(frame)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that vanished in the middle is what some tests are about."""


class TinyHandler(socketserver.BaseRequestHandler):
    """One connection."""

    server: TinyServer

    def handle(self) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self.request.recv(65536)
        head = f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {wire.WEBSOCKET_ACCEPT}\r\n\r\n"
        hello = wire.server_frame('0{"sid":"engine"}')
        self.request.sendall(head.encode() + hello[:5])
        self.request.sendall(hello[5:])
        buffer = b""
        while data := self.request.recv(65536):
            buffer += data
            while len(buffer) > 6 and len(buffer) >= (end := 6 + (buffer[1] & 0x7F)):
                self.take(unmasked(buffer[:end]))
                buffer = buffer[end:]

    def take(self, payload: bytes) -> None:
        text = payload.decode("latin-1")
        if text == "40":
            with self.server.lock:
                self.server.clients.append(self.request)
                self.request.sendall(wire.server_frame(f'40{{"sid":"{len(self.server.clients)}"}}'))
        elif text.startswith("42"):
            self.server.deliver(self.request, text)


@contextmanager
def tiny(answers: Answers, *, everybody: bool = False) -> Iterator[scenarios.Target]:
    """A tiny server on its thread, as a target."""
    with TinyServer(answers, everybody=everybody) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield scenarios.Target(server.port, os.getpid(), None)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    """A reactor whose sockets are closed afterwards, also those of a run that failed."""
    made = Reactor()
    yield made
    for callback in list(made.callbacks.values()):
        callback.__self__.sock.close()  # type: ignore[attr-defined]  # every callback is a client's bound method
    made.close()


def mirror(text: str) -> list[bytes]:
    return [wire.server_frame(text)]


@pytest.mark.parametrize("size", SIZES)
def test_a_client_frame_carries_its_payload_masked(size: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    frame = wire.client_frame(payload)
    assert frame[0] == 0x82
    assert unmasked(frame) == payload
    assert size == 0 or payload not in frame


@pytest.mark.parametrize("size", SIZES)
def test_a_server_frame_is_read_when_its_last_byte_is_there(size: int) -> None:
    payload = "x" * size
    frame = wire.server_frame(payload)
    for cut in {0, 1, 2, 3, 9, len(frame) - 1} - {len(frame)}:
        assert cut >= len(frame) or wire.next_frame(frame[:cut]) is None
    assert wire.next_frame(b"\x81\x012" + frame + b"\x81", 3) == (wire.TEXT, payload.encode(), 3 + len(frame))


@pytest.mark.parametrize("frame", [b"\x81\x85....hello", b"\x01\x02ab", b"\xc1\x02ab"])
def test_frames_that_no_server_may_send_are_refused(frame: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.next_frame(frame)


@pytest.mark.parametrize(
    ("response", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", True),
    ],
)
def test_a_response_is_whole_with_its_last_byte(response: bytes, kept: bool) -> None:
    reader = wire.ResponseReader()
    for _ in range(2):  # the second one on the same connection
        for number in range(len(response) - 1):
            assert reader.feed(response[number : number + 1]) is None
        assert reader.feed(response[-1:]) == (200, b"hello", kept)


def test_a_response_without_a_length_ends_with_its_connection() -> None:
    reader = wire.ResponseReader()
    assert reader.feed(b"HTTP/1.0 404 Not Found\r\n\r\nhel") is None
    assert reader.feed(b"lo") is None
    assert reader.feed(b"") == (404, b"hello", False)


@pytest.mark.parametrize("text", ["", "2", "40{}", "42", "43x[1]", "4[1]", "451-[]"])
def test_only_events_and_acknowledgements_are_answers(text: str) -> None:
    with pytest.raises(wire.WireError):
        wire.parse_answer(text)


def test_answers_are_read_back() -> None:
    assert wire.parse_answer(wire.event("echo", "ä", 1)) == ("42", None, ["echo", "ä", 1])
    assert wire.parse_answer('4312["x"]') == ("43", 12, ["x"])


def test_echo_counts_right_replies(reactor: Reactor) -> None:
    with tiny(mirror) as target:
        outcome = scenarios.echo(reactor, target, SHORT)
    assert outcome.count > SHORT.clients * SHORT.in_flight
    assert outcome.value == pytest.approx(outcome.count / outcome.window.seconds)
    assert outcome.window.seconds >= SHORT.seconds
    assert outcome.window.foreign_cpu == 0


def test_echo_reads_replies_in_pieces_and_beside_pings(reactor: Reactor) -> None:
    def pieces(text: str) -> list[bytes]:
        whole = wire.server_frame("2") + wire.server_frame(text) + wire.server_frame("", wire.PING)
        return [whole[:7], whole[7:]]

    with tiny(pieces) as target:
        assert scenarios.echo(reactor, target, SHORT).count > 0


def test_a_load_that_never_sleeps_still_tells_its_own_time() -> None:
    reactor = Reactor(busy_wait=True)
    reactor.run_for(0.02)
    assert reactor.worked_seconds() == 0
    ours, peer = socket.socketpair()
    peer.close()  # which makes ours readable
    with ours:
        reactor.add(ours.fileno(), lambda: reactor.remove(ours.fileno()))
        reactor.run_until(lambda: not reactor.callbacks, 1, "the callback")
    assert 0 < reactor.worked_seconds() < 0.02
    reactor.close()


def test_acknowledgements_are_told_from_events(reactor: Reactor) -> None:
    def acknowledge(text: str) -> list[bytes]:
        packet, text = text[2:].split("[", 1)
        return [wire.server_frame(f'43{packet}["{text.split(chr(34))[3]}"]')]

    with tiny(acknowledge) as target:
        assert scenarios.SCENARIOS["ack"](reactor, target, SHORT).count > 0
    with tiny(mirror) as target, pytest.raises(wire.WireError, match="a wrong reply"):
        scenarios.SCENARIOS["ack"](reactor, target, SHORT)


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        (lambda text: [wire.server_frame(text.replace("~~", "!!"))], "a wrong reply"),
        (lambda text: [wire.server_frame(text.replace("0.", "1."))], "a wrong reply"),
        (lambda text: [wire.server_frame(text)] * (2 if "1.1 " in text else 1), "more replies than"),
        (lambda text: [wire.server_frame(b"\x03\xe8", wire.CLOSE)], "unexpected frame, opcode 8"),
    ],
    ids=["altered", "misdirected", "twice", "closed"],
)
def test_echo_refuses_a_server_that_answers_wrongly(reactor: Reactor, answers: Answers, complaint: str) -> None:
    with tiny(answers) as target, pytest.raises(wire.WireError, match=complaint):
        scenarios.echo(reactor, target, SHORT)


def test_echo_misses_the_reply_that_never_comes(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "DRAIN_TIMEOUT", 0.05)
    with (
        tiny(lambda text: [] if "2.1 " in text else mirror(text)) as target,
        pytest.raises(Stalled, match="every request answered"),
    ):
        scenarios.echo(reactor, target, SHORT)


def test_fan_counts_every_delivery(reactor: Reactor) -> None:
    with tiny(mirror, everybody=True) as target:
        outcome = scenarios.fan(reactor, target, SHORT)
    assert outcome.count > SHORT.clients
    assert outcome.disordered == 0
    assert outcome.latency_p99_us
    assert outcome.latency_p50_us


def test_fan_reports_rounds_that_overtake_each_other(reactor: Reactor) -> None:
    held: list[bytes] = []

    def swapped(text: str) -> list[bytes]:
        frame = wire.server_frame(text)
        if "0" * fan.DIGITS in text:  # the first round waits for the second
            held.append(frame)
            return []
        return [frame, held.pop()] if held else [frame]

    with tiny(swapped, everybody=True) as target:
        outcome = scenarios.fan(reactor, target, SHORT)
    assert outcome.disordered == SHORT.clients
    assert outcome.count > SHORT.clients


def test_fan_refuses_a_delivery_that_comes_twice(reactor: Reactor) -> None:
    with tiny(lambda text: mirror(text) * 2, everybody=True) as target, pytest.raises(wire.WireError, match="twice"):
        scenarios.fan(reactor, target, SHORT)


def test_connects_and_latency(reactor: Reactor) -> None:
    with tiny(mirror) as target:
        assert scenarios.connects(reactor, target, SHORT).count > 0
        outcome = scenarios.latency(reactor, target, SHORT)
    assert outcome.value == outcome.latency_p50_us
    assert outcome.value > 0


def test_the_harness_and_the_load_process_speak_the_same_command_line(capfd: pytest.CaptureFixture[str]) -> None:
    item = items.ITEMS["ack"].loaded(seconds=0.1, quick=True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    command = harness.load_command(item, port, os.getpid(), harness.Cores(0, max(os.sched_getaffinity(0))))
    cores = os.sched_getaffinity(0)
    try:
        assert load.main(command[3:]) == 1
    finally:
        os.sched_setaffinity(0, cores)
    with pytest.raises(wire.WireError, match="ConnectionRefusedError"):
        load.outcome_from_json(capfd.readouterr().out)


def figures(value: float, server_cpu: float = 1.0) -> scenarios.Outcome:
    return scenarios.Outcome(value, int(value * 2), meter.Window(2.0, server_cpu, 0.5, 0.4))


def test_the_median_of_the_rounds_is_reported_and_compared() -> None:
    runs = [harness.Run("echo", "ours", number, figures(value)) for number, value in enumerate((300.0, 100.0, 200.0))]
    runs += [harness.Run("echo", "gevent", 0, figures(50.0, 2.0)), harness.Run("echo", "gevent", 1, None, "it fell")]
    ours, gevent = harness.summarise(runs)
    assert (ours.value, ours.lowest, ours.highest, ours.rounds) == (200.0, 100.0, 300.0, 3)
    assert ours.cpu_us == pytest.approx(1 / 400 * 1e6)
    assert ours.noisy
    assert report.advantage(items.ITEMS["echo"], ours, gevent) == 4.0
    assert report.advantage(items.ITEMS["idle"], ours, gevent) == 0.25
    shown = report.table(runs)
    assert re.search(r"gevent +50\.0 +50\.0 +50\.0 +20000\.0 +100% +25% +20% +4\.00 +8\.00  N!", shown)
    assert "! gevent: it fell" in shown


def test_a_disturbed_run_is_repeated_and_the_quietest_kept() -> None:
    def run(number: int, foreign: float) -> harness.Run:
        return harness.Run("echo", "ours", number, scenarios.Outcome(1.0, 1, meter.Window(1.0, 1.0, 0.0, foreign)))

    noisy = [run(0, 0.5), run(1, 0.3), run(2, 0.4), run(3, 0.01)]
    assert harness.quietest(lambda: noisy[0], 0).round == 0
    attempts = iter(noisy)
    assert harness.quietest(lambda: next(attempts), 2).round == 1
    assert next(attempts).round == 3
    attempts = iter([run(0, 0.05), run(1, 0.0)])
    assert harness.quietest(lambda: next(attempts), 5).round == 0
    failed = harness.Run("echo", "ours", 7, None, "it fell")
    assert harness.quietest(lambda: failed, 5) is failed


def server_program(text: str) -> ServerProcess:
    return ServerProcess([sys.executable, "-S", "-E", "-c", text], core=None)


def test_a_server_process_is_found_and_ended() -> None:
    with server_program("import os, time; print('PORT 5 PID', os.getpid(), flush=True); time.sleep(60)") as server:
        assert server.port == 5
        assert meter.resident_bytes(server.pid) > 0
        pid = server.pid
    assert not os.path.exists(f"/proc/{pid}")


def test_a_wrapper_and_a_crash_are_named() -> None:
    began = time.monotonic()
    with (
        pytest.raises(ServerFailed, match="is a wrapper"),
        server_program("import time; print('PORT 5 PID 1', flush=True); time.sleep(60)"),
    ):
        pass
    with (
        pytest.raises(ServerFailed, match="status 3 at its start: no port left"),
        server_program("import sys; sys.stderr.write('no port left'); sys.exit(3)"),
    ):
        pass
    assert time.monotonic() - began < 5
