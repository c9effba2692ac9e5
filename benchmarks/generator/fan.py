"""Fan-out: one sender, many receivers, a fixed number of rounds in flight, every delivery counted and in order.

A round is one event of the sender with a number of fixed width; the server sends it to everybody. All deliveries have
the same length, so a read is checked by its length, its first and last number and the bytes around them.

Each receiver must get each round exactly once. Some servers (a thread per event) do not keep the rounds in order:
that is counted and reported, not refused.
"""

import time
from collections.abc import Callable

from benchmarks.generator import wire
from benchmarks.generator.reactor import Reactor
from benchmarks.generator.websocket import WebSocketClient

DIGITS = 10


class Rounds:
    """Counts the deliveries of all receivers and starts the next round when one is complete."""

    __slots__ = (
        "_sent_at",
        "delivered",
        "disordered",
        "durations",
        "next_end",
        "payload",
        "receivers",
        "sender",
        "sending",
        "sent",
    )

    def __init__(self, receivers: int, payload: str) -> None:
        self.receivers = receivers
        self.payload = payload
        self.sender: FanClient | None = None
        self.sending = True
        self.sent = self.delivered = self.disordered = 0
        self.next_end = receivers
        self._sent_at: list[float] = []
        self.durations: list[float] = []

    def send(self) -> None:
        """Start one round."""
        if self.sender is None:
            raise ValueError("a round needs its sender")
        message = wire.event("fan", f"{self.sent:0{DIGITS}}", self.payload)
        self._sent_at.append(time.perf_counter())
        self.sent += 1
        self.sender.sock.send(wire.client_frame(message))

    def completed(self) -> None:
        """Called when ``delivered`` has reached ``next_end``: that many deliveries are that many whole rounds."""
        while self.delivered >= self.next_end:
            number = self.next_end // self.receivers - 1
            self.durations.append(time.perf_counter() - self._sent_at[number])
            self.next_end += self.receivers
            if self.sending:
                self.send()

    @property
    def owed(self) -> int:
        """Deliveries that are still to come."""
        return self.sent * self.receivers - self.delivered


class FanClient(WebSocketClient):
    """One receiver (the first of them is the sender too)."""

    __slots__ = ("_early", "_prefix", "_rounds", "_size", "_suffix", "expected")

    def __init__(
        self, reactor: Reactor, port: int, on_ready: Callable[[WebSocketClient], None], *, rounds: Rounds
    ) -> None:
        self._rounds = rounds
        self.expected = 0  # every round before it has come
        self._early: set[int] = set()
        self._prefix, self._suffix, self._size = b"", b"", 0
        super().__init__(reactor, port, on_ready)

    def readable(self) -> None:
        """The hot path: a whole number of deliveries, in order."""
        data = self.receive()
        size = self._size
        if not size or self.mid_frame or self._early or len(data) % size:
            self.read_slowly(data)
            return
        count = len(data) // size
        digits = len(self._prefix)
        last = len(data) - size + digits
        if not (
            data.startswith(self._prefix)
            and data.endswith(self._suffix)
            and int(data[digits : digits + DIGITS]) == self.expected
            and int(data[last : last + DIGITS]) == self.expected + count - 1
        ):
            self.read_slowly(data)
            return
        self.expected += count
        self._delivered(count)

    def _delivered(self, count: int) -> None:
        rounds = self._rounds
        rounds.delivered += count
        if rounds.delivered >= rounds.next_end:
            rounds.completed()

    def message(self, text: str, raw: bytes) -> None:
        """A delivery that is parsed: the first one, and those that came in pieces, out of order or beside a ping."""
        answer = wire.parse_answer(text)
        digits = answer.data[1] if len(answer.data) == 3 else None
        if not (isinstance(digits, str) and answer == wire.Answer("42", None, ["fan", digits, self._rounds.payload])):
            raise wire.WireError(f"expected delivery {self.expected}, got {text[:80]!r}")
        if not self._size:
            at = raw.index(digits.encode())
            self._prefix, self._suffix, self._size = raw[:at], raw[at + DIGITS :], len(raw)
        self._take_number(int(digits))
        self._delivered(1)

    def _take_number(self, number: int) -> None:
        if number < self.expected or number in self._early or number >= self._rounds.sent:
            raise wire.WireError(f"delivery {number} came twice or was never sent ({self.expected} was expected)")
        if number != self.expected:
            self._early.add(number)
            self._rounds.disordered += 1
            return
        self.expected += 1
        while self.expected in self._early:
            self._early.remove(self.expected)
            self.expected += 1
