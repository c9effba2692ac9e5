"""What is measured: one scenario of the load generator with one load each."""

from dataclasses import dataclass, replace

from benchmarks.generator.scenarios import Load

QUICK_SECONDS, QUICK_WARM_UP = 0.8, 0.4
QUICK_IDLE_CLIENTS = 600


@dataclass(frozen=True)
class Item:
    """One row of figures; ``lower_is_better`` for sizes and times."""

    name: str
    title: str
    unit: str
    scenario: str
    load: Load
    lower_is_better: bool = False
    needs_async: bool = False

    def loaded(self, *, seconds: float | None, quick: bool) -> "Item":
        """The same item, measured for other ``seconds``, or in short (a look, not a figure to quote)."""
        load = self.load
        if quick:
            clients = min(load.clients, QUICK_IDLE_CLIENTS) if self.scenario == "idle" else load.clients
            load = replace(load, seconds=QUICK_SECONDS, warm_up=QUICK_WARM_UP, clients=clients)
        if seconds is not None:
            load = replace(load, seconds=seconds)
        return replace(self, load=load)


_ECHO = Load(clients=50, in_flight=2)

ITEMS = {
    item.name: item
    for item in (
        Item("echo", "sync handler emits back, 50 WebSocket clients, 2 in flight each", "replies/s", "echo", _ECHO),
        Item(
            "ack",
            "sync handler's return value acknowledges, 50 WebSocket clients, 2 in flight each",
            "acks/s",
            "ack",
            replace(_ECHO, event="ack"),
        ),
        Item(
            "async_echo",
            "async handler emits back, 50 WebSocket clients, 2 in flight each",
            "replies/s",
            "echo",
            replace(_ECHO, event="async_echo"),
            needs_async=True,
        ),
        Item(
            "fanout200",
            "one event to 200 WebSocket clients, 4 rounds in flight",
            "deliveries/s",
            "fan",
            Load(clients=200, in_flight=4),
        ),
        Item(
            "fanout1000",
            "one event to 1,000 WebSocket clients, 4 rounds in flight",
            "deliveries/s",
            "fan",
            Load(clients=1000, in_flight=4, seconds=3.0, warm_up=1.0),
        ),
        Item(
            "connects",
            "WebSocket to the reply to CONNECT and away, 50 at a time",
            "connects/s",
            "connects",
            Load(clients=50),
        ),
        Item(
            "idle",
            "resident memory per idle WebSocket client, of 3,000",
            "KiB",
            "idle",
            Load(clients=3000),
            lower_is_better=True,
        ),
        Item(
            "polling",
            "sync handler emits back, 50 long-polling clients, 1 in flight each",
            "replies/s",
            "polling",
            Load(clients=50, in_flight=1),
        ),
        Item(
            "latency",
            "sync handler emits back, 1 WebSocket client, 1 in flight, median",
            "µs",
            "latency",
            Load(clients=1, in_flight=1),
            lower_is_better=True,
        ),
        Item("view", "GET / answered by a Flask view, 50 connections", "responses/s", "view", Load(clients=50)),
    )
}
