"""Clients that keep a fixed number of requests in flight and check every reply.

Each of a client's slots has a text of its own, so a reply names the request it answers. The first reply to a slot is
parsed and its JSON compared; the frame it came in is then the only byte string accepted for that slot, and the next
ones are recognised by one dictionary lookup, several replies in one read included.
"""

from collections.abc import Callable

from benchmarks.generator import wire
from benchmarks.generator.reactor import Reactor
from benchmarks.generator.websocket import WebSocketClient


class EchoClient(WebSocketClient):
    """One client with ``in_flight`` requests under way.

    ``acknowledged`` picks the kind of reply: the acknowledgement of the event, or an event of the same name.
    """

    __slots__ = ("_acknowledged", "_event", "_known", "_requests", "_slots", "received", "sending", "sent")

    def __init__(
        self,
        reactor: Reactor,
        port: int,
        on_ready: Callable[[WebSocketClient], None],
        *,
        event: str,
        acknowledged: bool,
        texts: tuple[str, ...],
    ) -> None:
        self._event, self._acknowledged = event, acknowledged
        self._slots = {text: slot for slot, text in enumerate(texts)}
        self._requests = [
            wire.client_frame(wire.event(event, text, ack_id=slot if acknowledged else None))
            for text, slot in self._slots.items()
        ]
        self._known: dict[bytes, tuple[bytes, int]] = {}  # bytes read → the requests they free, and how many
        self.received = self.sent = 0
        self.sending = True
        super().__init__(reactor, port, on_ready)

    def start(self) -> None:
        """Put every slot in flight."""
        for request in self._requests:
            self.sock.send(request)
            self.sent += 1

    @property
    def owed(self) -> int:
        """Replies that are still to come."""
        return self.sent - self.received

    def readable(self) -> None:
        """The hot path: whole known replies, nothing else pending."""
        data = self.receive()
        known = self._known.get(data)
        if known is None or self.mid_frame:
            self._read_unknown(data)
            return
        requests, count = known
        self.received += count
        if self.sending:
            self.sock.send(requests)
            self.sent += count

    def _read_unknown(self, data: bytes) -> None:
        whole, before = not self.mid_frame, self.received
        self.read_slowly(data)
        count = self.received - before
        if whole and count > 1 and not self.mid_frame:
            self._learn_group(data, count)

    def _learn_group(self, data: bytes, count: int) -> None:
        # Several replies in one read, each known by itself: remember the group too. A read that also held a ping is
        # no sum of known replies and stays unknown.
        start, requests, replies = 0, [], 0
        while (frame := wire.next_frame(data, start)) is not None:
            request, _ = self._known.get(data[start : frame.end], (b"", 0))
            requests.append(request)
            replies += bool(request)
            start = frame.end
        if replies == len(requests) == count:
            self._known[data] = (b"".join(requests), count)

    def message(self, text: str, raw: bytes) -> None:
        """A reply whose bytes are not known yet, or that came in pieces or beside something else."""
        known = self._known.get(raw)
        if known is None:
            request = self._requests[self._check(wire.parse_answer(text))]
            self._known[raw] = (request, 1)
        else:
            request = known[0]
        self.received += 1
        if self.sending:
            self.sock.send(request)
            self.sent += 1

    def _check(self, answer: wire.Answer) -> int:
        text = answer.data[-1] if answer.data else None
        slot = self._slots.get(text) if isinstance(text, str) else None
        expected = (
            wire.Answer("43", slot, [text]) if self._acknowledged else wire.Answer("42", None, [self._event, text])
        )
        if slot is None or answer != expected:
            raise wire.WireError(f"a wrong reply: {answer}, expected one for {sorted(self._slots)}")
        return slot
