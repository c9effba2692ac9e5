"""The echo server in memory, and once as a program over real sockets."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import anyio
import trio
from websockets.sync.client import connect

from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.testing.wires import EngineClient

APP = Path(__file__).with_name("app.py")
QUERY = {"EIO": "4", "transport": "websocket"}


def test_everything_comes_back_as_it_went() -> None:
    async def main() -> None:
        engine: Any = run_path(str(APP))["make_service"](EngineConfig()).engine
        async with anyio.create_task_group() as nursery:
            await nursery.start(engine.run)
            socket = EngineClient(engine, nursery).socket(QUERY)
            assert str(await socket.receive()).startswith("0{")
            socket.send("4héllo", b"\x00\x01", "4")
            assert [await socket.receive() for _ in range(3)] == ["4héllo", b"\x00\x01", "4"]
            nursery.cancel_scope.cancel()
        assert socket.closed == (1001, "server shutting down")

    trio.run(main)


def test_the_program_serves_real_clients_and_stops_on_a_signal() -> None:
    options = ["--port", "0", "--ping-interval", "0.3", "--ping-timeout", "0.2", "--max-payload", "1000000"]
    with subprocess.Popen([sys.executable, str(APP), *options], stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            host, port = program.stdout.readline().rsplit("//")[1].partition("/")[0].split(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=10)
            connection.request("GET", "/engine.io/?EIO=4&transport=polling")
            opened = json.loads(connection.getresponse().read()[1:])
            assert (opened["pingInterval"], opened["pingTimeout"], opened["maxPayload"]) == (300, 200, 1_000_000)
            where = f"/engine.io/?EIO=4&transport=polling&sid={opened['sid']}"
            connection.request("POST", where, "4a\x1ebAQI=")
            assert connection.getresponse().read() == b"ok"
            connection.request("GET", where)
            assert connection.getresponse().read() == b"4a\x1ebAQI="
            with connect(f"ws://{host}:{port}/engine.io/?EIO=4&transport=websocket") as socket:
                assert str(socket.recv(timeout=10)).startswith("0{")
                socket.send("4text")
                socket.send(b"\x01\x02")
                assert [socket.recv(timeout=10) for _ in range(2)] == ["4text", b"\x01\x02"]
                assert socket.recv(timeout=10) == "2"
            connection.request("GET", "/elsewhere")
            assert connection.getresponse().status == 404
            connection.close()
            program.send_signal(signal.SIGINT)
            assert program.wait(timeout=10) == 0
        finally:
            program.kill()
