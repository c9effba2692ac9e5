"""Server processes for end-to-end tests: started, their bound address read from their own words, ended by process id.

Everything a server says is kept in a file. `Server.said_since` gives the part since a mark: a test shows it when it
fails, and can assert that it holds no traceback.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

__all__ = ["Server", "running", "start"]

ADDRESS = re.compile(r"https?://127\.0\.0\.1:(\d+)")
START_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass
class Server:
    """A process that serves on 127.0.0.1.

    Args:
        process: the process itself.
        log: the file its output goes to, both streams.
        ports: what it bound, in the order in which it said so.
    """

    process: subprocess.Popen[bytes]
    log: Path
    ports: Sequence[int] = ()

    @property
    def port(self) -> int:
        """The port (the first, where there are more)."""
        return self.ports[0]

    @property
    def url(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://127.0.0.1:{self.port}"

    def mark(self) -> int:
        """A place in the log; give it to `said_since` later."""
        return self.log.stat().st_size

    def said_since(self, mark: int = 0) -> str:
        """What the process has written after `mark`."""
        with open(self.log, "rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit code.

        Raises:
            TimeoutError: it did not end in time; it is killed and the message shows its log.
        """
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end and return the exit code; a process that does not end is killed and that is an error."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise TimeoutError(f"the server did not end within {seconds:g} s:\n{self.said_since()}") from None


def start(command: Sequence[str], folder: Path, *, listeners: int = 1, env: Mapping[str, str] | None = None) -> Server:
    """Start `command` in the checkout and return when it has said where it listens.

    Args:
        command: the words after the Python interpreter.
        folder: where the log goes.
        listeners: how many different ports it must name.
        env: added to this process's environment.

    Raises:
        RuntimeError: it ended, or said nothing in time; the message shows its log.
    """
    server = launch(command, folder, env=env)
    deadline = time.monotonic() + START_SECONDS
    while server.process.poll() is None and time.monotonic() < deadline:
        ports = dict.fromkeys(int(port) for port in ADDRESS.findall(server.said_since()) if port != "0")
        if len(ports) >= listeners:
            server.ports = tuple(ports)
            return server
        time.sleep(0.02)  # another process's start: there is nothing to wait on but what it writes
    server.process.kill()
    code = server.process.wait()
    raise RuntimeError(f"{' '.join(command)} did not start (exit code {code}):\n{server.said_since()}")


def launch(command: Sequence[str], folder: Path, *, env: Mapping[str, str] | None = None) -> Server:
    """Start `command` without waiting for anything: for programs that are expected to end by themselves."""
    number, name = tempfile.mkstemp(suffix=".log", prefix="server-", dir=folder)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **(env or {})}
    with open(number, "wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    return Server(process, Path(name))


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, *, listeners: int = 1, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`start` with the end: SIGTERM, and an error when it has not ended in time."""
    server = start(command, folder, listeners=listeners, env=env)
    try:
        yield server
    finally:
        server.stop()
