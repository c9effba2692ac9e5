"""What stands on the wire, packet by packet: a client that is nothing but HTTP requests (spec 1.4, 1.5, 2.1)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import requests

from tests.parity.kit import Transcript
from tests.parity.wire_kit import SECONDS, Stage, Wire, wire


class Poller:
    """An Engine.IO session over polling."""

    def __init__(self, http: requests.Session, url: str) -> None:
        self._http = http
        self._url = f"{url}/socket.io/?EIO=4&transport=polling"
        self.handshake: dict[str, Any] = json.loads(self._get()[0][1:])
        self._url += f"&sid={self.handshake['sid']}"

    def _get(self) -> list[str]:
        return self._http.get(self._url, timeout=SECONDS).content.decode().split("\x1e")

    def post(self, *packets: str) -> None:
        """Send packets in one body."""
        self._http.post(self._url, data="\x1e".join(packets).encode(), timeout=SECONDS)

    def packets(self, count: int) -> list[list[Any]]:
        """The next packets, each as what stands before its JSON and the JSON as data.

        Servers write JSON with or without escapes; to a client that is the same.
        """
        found: list[str] = []
        while len(found) < count:
            found += self._get()
        return [_parts(packet) for packet in found]


def _parts(packet: str) -> list[Any]:
    start = min((packet.index(mark) for mark in "[{" if mark in packet), default=len(packet))
    if packet.startswith("b") or start == len(packet):
        return [packet]
    data = json.loads(packet[start:])
    if isinstance(data, dict) and "sid" in data:
        data["sid"] = "a sid"
    return [packet[:start], data]


@contextlib.contextmanager
def polling(wire: Wire) -> Iterator[Poller]:
    """A session that has not connected to a namespace yet; it says goodbye at the end."""
    with requests.Session() as http:
        poller = Poller(http, wire.url)
        yield poller
        poller.post("1")


def _speaks(stage: Stage) -> None:
    api = stage.api

    @stage.on("connect")
    def connect(auth: dict[str, Any] | None = None) -> None:
        if auth:
            raise api.ConnectionRefusedError("no", auth)
        api.emit("early", {"a": 1})

    @stage.on("speak")
    def speak(*args: object) -> tuple[object, ...]:
        api.emit("words", ("ü", {"b": [None, True, 1.5]}))
        api.emit("bytes", {"c": b"\x00\x01", "d": [b"\x02"]})
        api.emit("nothing")
        return args

    stage.on("bytes back")(lambda: b"\xff")
    stage.on("leave")(lambda: api.disconnect())


@wire("1.5.6, 2.5.1, 3.3", serve=_speaks)
def packets_of_a_connection(wire: Wire, t: Transcript) -> None:
    with polling(wire) as poller:
        t.note("handshake", sorted(poller.handshake))
        t.note("times and sizes", [poller.handshake[name] for name in ("pingInterval", "pingTimeout", "maxPayload")])
        t.note("upgrades", poller.handshake["upgrades"])
        poller.post(f"40{wire.namespace},")
        t.note("connected", poller.packets(2))
        poller.post(f'42{wire.namespace},7["speak",1,"ü"]')
        t.note("emits, then the answer", poller.packets(6))
        poller.post(f'42{wire.namespace},8["bytes back"]')
        t.note("an answer with bytes", poller.packets(2))
        poller.post(f'42{wire.namespace},["leave"]')
        t.note("put out", poller.packets(1))


@wire("1.5.4, 2.5.1", serve=_speaks)
def packets_of_a_refusal(wire: Wire, t: Transcript) -> None:
    with polling(wire) as poller:
        poller.post(f'40{wire.namespace},{{"why":"ü"}}')
        t.note("refused", poller.packets(1))
        poller.post(f"40{wire.namespace},")
        t.note("it may try again", poller.packets(2))


@wire("2.1, 2.3", serve=_speaks)
def packets_with_attachments(wire: Wire, t: Transcript) -> None:
    with polling(wire) as poller:
        poller.post(f"40{wire.namespace},")
        poller.packets(2)
        placeholder = '{"_placeholder":true,"num":0}'
        poller.post(f'451-{wire.namespace},9["speak",{placeholder}]', "bAAEC")
        t.note("given back", poller.packets(7))
