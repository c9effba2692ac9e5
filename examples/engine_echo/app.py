"""An Engine.IO echo server: every message goes back as it came, text as text and bytes as bytes.

It stands on the engine and the server alone, without Flask and without Socket.IO::

    python examples/engine_echo/app.py --port 3000 --ping-interval 0.3 --ping-timeout 0.2

The path is ``/engine.io/``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import trio

from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.engine.engine import Engine
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.session import Session
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.server.blocking import run_blocking
from trioflask_sio.server.config import ServeConfig
from trioflask_sio.server.listener import Bound
from trioflask_sio.server.serve import StopSignal, serve_service
from trioflask_sio.server.service import Receive, Scope, Send, Service

PATH = "/engine.io/"


class Echo:
    """The layer above the engine, as small as it can be."""

    def session_opened(self, session: Session) -> None:
        session.confirm()  # nobody has to connect to a namespace here, so no connect timeout

    def message_received(self, session: Session, data: str | bytes) -> None:
        session.send(Outgoing((data,)))

    def session_closed(self, session: Session, reason: CloseReason) -> None:
        pass


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """What answers every other path."""
    text = {"content-type": "text/plain; charset=utf-8"}
    headers = [(name.encode(), value.encode()) for name, value in text.items()]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": f"Engine.IO is at {PATH}\n".encode()})


def make_service(config: EngineConfig) -> Service:
    """The echo engine at its path."""
    return Service(Engine(config, Echo()), PATH, nothing_here)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=3000, help="TCP port; 0 lets the system choose")
    parser.add_argument("--ping-interval", type=float, default=25.0, metavar="SECONDS")
    parser.add_argument("--ping-timeout", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--max-payload", type=int, default=1_000_000, metavar="BYTES")
    return parser.parse_args(arguments)


async def serve(options: Any, *, stop: StopSignal | None = None, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    """Serve until stopped or cancelled; prints the address it listens on."""
    config = EngineConfig(
        ping_interval=options.ping_interval,
        ping_timeout=options.ping_timeout,
        max_http_buffer_size=options.max_payload,
    )
    async with trio.open_nursery() as nursery:

        async def listen(*, task_status: trio.TaskStatus[list[Bound]]) -> None:
            where = ServeConfig(host=options.host, port=options.port)
            await serve_service(make_service(config), where, stop=stop, task_status=task_status)
            nursery.cancel_scope.cancel()

        bound = await nursery.start(listen)
        print("Engine.IO echo at", *(f"{address}{PATH}" for address in bound), flush=True)
        task_status.started(bound)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    run_blocking(lambda stop: serve(options, stop=stop))


if __name__ == "__main__":
    main()
