"""The measured situations: set up clients, warm up, measure one window, wait for the rest, check that all is there.

Each scenario takes a ``Target`` and its ``Load`` and returns an ``Outcome``. A wrong reply, a closed connection or a
reply that does not come ends the run with an exception: a figure of a server that answers wrongly is never reported.
"""

import functools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.generator import meter
from benchmarks.generator.echo import EchoClient
from benchmarks.generator.fan import DIGITS, FanClient, Rounds
from benchmarks.generator.http import PollingClient, ViewClient
from benchmarks.generator.reactor import Reactor
from benchmarks.generator.websocket import CONNECTING_AT_ONCE, WebSocketClient, connect_all
from benchmarks.generator.wire import WireError

CONNECT_ALL_TIMEOUT = 60.0
DRAIN_TIMEOUT = 20.0
IDLE_WARM_UP = 200
"""Clients connected before memory is read for the first time: what a server allocates once is not a client's share."""
IDLE_SETTLE = 3.0
"""Seconds after the last connect in which the smallest resident size counts: collectors get their chance."""


@dataclass(frozen=True)
class Target:
    """The server under load; ``core`` is None when it is not pinned."""

    port: int
    pid: int
    core: int | None


@dataclass(frozen=True)
class Load:
    """How much of it; times in seconds, ``payload`` in characters."""

    clients: int = 50
    in_flight: int = 2
    event: str = "echo"
    seconds: float = 2.0
    warm_up: float = 0.7
    payload: int = 32


@dataclass(frozen=True)
class Outcome:
    """What came out: ``value`` in the item's unit, ``count`` the things counted in the window (0: not a rate)."""

    value: float
    count: int
    window: meter.Window
    latency_p50_us: float | None = None
    latency_p99_us: float | None = None
    disordered: int = 0
    """Deliveries that overtook an earlier round (in the whole run)."""


class Counted(Protocol):
    """A client of a rate scenario."""

    received: int
    sending: bool

    @property
    def owed(self) -> int:
        """Replies that are still to come."""
        ...


def _rate(reactor: Reactor, target: Target, load: Load, clients: Sequence[Counted]) -> Outcome:
    reactor.run_for(load.warm_up)
    gauge = meter.Meter(target.pid, target.core, reactor.worked_seconds)
    gauge.start()
    before = sum(client.received for client in clients)
    reactor.run_for(load.seconds)
    count = sum(client.received for client in clients) - before
    window = gauge.stop()
    for client in clients:
        client.sending = False
    reactor.run_until(lambda: all(client.owed <= 0 for client in clients), DRAIN_TIMEOUT, "every request answered")
    wrong = [client.owed for client in clients if client.owed]
    if wrong:
        raise WireError(f"{len(wrong)} clients got more replies than they sent requests ({wrong[:5]})")
    silent = sum(not client.received for client in clients)
    if silent:
        raise WireError(f"{silent} of {len(clients)} clients never got a reply")
    return Outcome(count / window.seconds, count, window)


def _text(load: Load, client: int, slot: int) -> str:
    return f"{client}.{slot} ".ljust(load.payload, "~")


def echo(reactor: Reactor, target: Target, load: Load, *, acknowledged: bool = False) -> Outcome:
    """Requests and replies over WebSocket; the value is replies per second."""
    clients: list[EchoClient] = []

    def make(on_ready: Callable[[WebSocketClient], None]) -> WebSocketClient:
        texts = tuple(_text(load, len(clients), slot) for slot in range(load.in_flight))
        client = EchoClient(reactor, target.port, on_ready, event=load.event, acknowledged=acknowledged, texts=texts)
        clients.append(client)
        return client

    connect_all(reactor, load.clients, make, CONNECT_ALL_TIMEOUT)
    for client in clients:
        client.start()
    return _rate(reactor, target, load, clients)


def fan(reactor: Reactor, target: Target, load: Load) -> Outcome:
    """One event to all, ``in_flight`` rounds at a time. The value is deliveries per second, the latency a round's."""
    rounds = Rounds(load.clients, "~" * max(1, load.payload - DIGITS))
    clients: list[FanClient] = []

    def make(on_ready: Callable[[WebSocketClient], None]) -> WebSocketClient:
        clients.append(FanClient(reactor, target.port, on_ready, rounds=rounds))
        return clients[-1]

    connect_all(reactor, load.clients, make, CONNECT_ALL_TIMEOUT)
    rounds.sender = clients[0]
    for _ in range(load.in_flight):
        rounds.send()
    reactor.run_for(load.warm_up)
    gauge = meter.Meter(target.pid, target.core, reactor.worked_seconds)
    gauge.start()
    delivered, first_round = rounds.delivered, len(rounds.durations)
    reactor.run_for(load.seconds)
    count = rounds.delivered - delivered
    window = gauge.stop()
    rounds.sending = False
    reactor.run_until(lambda: rounds.owed <= 0, DRAIN_TIMEOUT, "every delivery made")
    if any(client.expected != rounds.sent for client in clients):
        raise WireError(f"a receiver has more or fewer than {rounds.sent} deliveries")
    p50, p99 = _percentiles(rounds.durations[first_round:])
    return Outcome(count / window.seconds, count, window, p50, p99, rounds.disordered)


def connects(reactor: Reactor, target: Target, load: Load) -> Outcome:
    """Connect, wait for the reply to CONNECT, leave; ``clients`` at a time. The value is connects per second."""
    ready = started = 0
    stopping = False

    def begin() -> None:
        nonlocal started
        if not stopping:
            started += 1
            WebSocketClient(reactor, target.port, done)

    def done(client: WebSocketClient) -> None:
        nonlocal ready
        ready += 1
        client.close()
        begin()

    for _ in range(min(load.clients, CONNECTING_AT_ONCE)):
        begin()
    reactor.run_for(load.warm_up)
    gauge = meter.Meter(target.pid, target.core, reactor.worked_seconds)
    gauge.start()
    before = ready
    reactor.run_for(load.seconds)
    count = ready - before
    window = gauge.stop()
    stopping = True
    reactor.run_until(lambda: ready == started, DRAIN_TIMEOUT, "every started connect finished")
    return Outcome(count / window.seconds, count, window)


def idle(reactor: Reactor, target: Target, load: Load) -> Outcome:
    """Connected clients that do nothing. The value is KiB of the server's resident memory per client."""
    sids: list[WebSocketClient] = []

    def make(on_ready: Callable[[WebSocketClient], None]) -> WebSocketClient:
        sids.append(WebSocketClient(reactor, target.port, on_ready))
        return sids[-1]

    connect_all(reactor, IDLE_WARM_UP, make, CONNECT_ALL_TIMEOUT)
    before = _settled(reactor, target.pid)
    gauge = meter.Meter(target.pid, target.core, reactor.worked_seconds)
    gauge.start()
    connect_all(reactor, load.clients, make, CONNECT_ALL_TIMEOUT)
    after = _settled(reactor, target.pid)
    if len({client.sid for client in sids}) != load.clients + IDLE_WARM_UP:
        raise WireError("two clients were given the same sid")
    return Outcome((after - before) / load.clients / 1024, 0, gauge.stop())


def _settled(reactor: Reactor, pid: int) -> int:
    sizes = []
    for _ in range(10):
        reactor.run_for(IDLE_SETTLE / 10)
        sizes.append(meter.resident_bytes(pid))
    return min(sizes)


def polling(reactor: Reactor, target: Target, load: Load) -> Outcome:
    """Echo over long-polling, one request in flight per client. The value is replies per second."""
    ready = 0

    def on_ready() -> None:
        nonlocal ready
        ready += 1

    clients = [PollingClient(reactor, target.port, on_ready, _text(load, n, 0)) for n in range(load.clients)]
    # The reply to CONNECT may overtake the answer to the POST that carried it; then the client starts by itself.
    reactor.run_until(lambda: ready == len(clients), CONNECT_ALL_TIMEOUT, f"{len(clients)} clients connected")
    return _rate(reactor, target, load, clients)


def view(reactor: Reactor, target: Target, load: Load) -> Outcome:
    """Requests to an ordinary view, one in flight per client. The value is responses per second."""
    clients = [ViewClient(reactor, target.port, "/", b"ok") for _ in range(load.clients)]
    for client in clients:
        client.start()
    return _rate(reactor, target, load, clients)


def latency(reactor: Reactor, target: Target, load: Load) -> Outcome:
    """One client, one request in flight. The value is the median time to its reply in µs."""
    client: list[EchoClient] = []

    def make(on_ready: Callable[[WebSocketClient], None]) -> WebSocketClient:
        texts = (_text(load, 0, 0),)
        client.append(EchoClient(reactor, target.port, on_ready, event=load.event, acknowledged=False, texts=texts))
        return client[0]

    connect_all(reactor, 1, make, CONNECT_ALL_TIMEOUT)
    client[0].start()
    reactor.run_for(load.warm_up)
    client[0].sending = False
    reactor.run_until(lambda: not client[0].owed, DRAIN_TIMEOUT, "the reply")
    client[0].sending = True
    gauge = meter.Meter(target.pid, target.core, reactor.worked_seconds)
    gauge.start()
    samples = _round_trips(reactor, client[0], load.seconds)
    window = gauge.stop()
    p50, p99 = _percentiles(samples)
    return Outcome(p50 or 0.0, len(samples), window, p50, p99)


def _round_trips(reactor: Reactor, client: EchoClient, seconds: float) -> list[float]:
    client.sending = False
    samples = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        client.start()
        reactor.run_until(lambda: not client.owed, DRAIN_TIMEOUT, "the reply")
        samples.append(time.perf_counter() - began)
    return samples


def _percentiles(seconds: list[float]) -> tuple[float | None, float | None]:
    """Median and 99th percentile in µs."""
    if len(seconds) < 2:
        return None, None
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1e6, cuts[98] * 1e6


SCENARIOS: dict[str, Callable[[Reactor, Target, Load], Outcome]] = {
    "echo": echo,
    "ack": functools.partial(echo, acknowledged=True),
    "fan": fan,
    "connects": connects,
    "idle": idle,
    "polling": polling,
    "view": view,
    "latency": latency,
}
