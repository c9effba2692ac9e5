"""Server processes: started on one core, found by the line they print, always ended by their process id.

Nothing outlives a run: the context manager ends the server on every way out, and the kernel does it when the harness
itself is killed (``PR_SET_PDEATHSIG``).
"""

import ctypes
import io
import os
import re
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO

START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
OPEN_FILES = 16384
"""Both sides of a few thousand connections; the usual soft limit of 1,024 is too small."""
_PR_SET_PDEATHSIG = 1
_ANNOUNCED = re.compile(rb"^PORT (\d+) PID (\d+)$", re.MULTILINE)


class ServerFailed(Exception):
    """A server did not start, or ended by itself."""


def child_setup(core: int | None) -> Callable[[], None]:
    """What a child process does before its program: pin itself, raise its file limit, die with its parent."""
    libc = ctypes.CDLL(None)

    def setup() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        if core is not None:
            os.sched_setaffinity(0, {core})

    return setup


class ServerProcess:
    """A running server: ``with ServerProcess(command, core=0) as server: server.port``."""

    def __init__(
        self, command: Sequence[str], *, core: int | None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command, self.core = list(command), core
        self._environment = {**os.environ, **(environment or {})}
        self._files = ExitStack()
        self._output: IO[bytes] = io.BytesIO()
        self._errors: IO[bytes] = io.BytesIO()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = self.pid = 0

    def __enter__(self) -> "ServerProcess":
        # Files, not pipes: a server that logs a lot must not block on a reader who is busy measuring.
        self._output = self._files.enter_context(tempfile.TemporaryFile())
        self._errors = self._files.enter_context(tempfile.TemporaryFile())
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            env=self._environment,
            preexec_fn=child_setup(self.core),
        )
        try:
            self._wait_announced(self._process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait_announced(self, process: "subprocess.Popen[bytes]") -> None:
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            self._output.seek(0)
            found = _ANNOUNCED.search(self._output.read())
            if found:
                self.port, self.pid = int(found[1]), int(found[2])
                if self.pid != process.pid:
                    raise ServerFailed(
                        f"{self._command[0]} is a wrapper: it runs as {process.pid}, the server as {self.pid}, "
                        "so neither processor time nor its end can be watched; start the program itself"
                    )
                return
            if process.poll() is not None:
                raise ServerFailed(
                    f"{self._shown} ended with status {process.returncode} at its start: {self.errors()}"
                )
            time.sleep(0.02)
        raise ServerFailed(f"{self._shown} did not say its port within {START_TIMEOUT:g} s: {self.errors()}")

    @property
    def _shown(self) -> str:
        return " ".join(self._command[-4:])

    def errors(self) -> str:
        """The end of what the server has written to standard error."""
        return self._read_errors()[-2000:].strip() or "(it wrote nothing to standard error)"

    def tracebacks(self) -> int:
        """How many tracebacks the server has written so far."""
        return self._read_errors().count("Traceback (most recent call last)")

    def _read_errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def check_alive(self) -> None:
        """Raise ServerFailed when the server has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise ServerFailed(f"{self._shown} ended with status {self._process.returncode}: {self.errors()}")

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._files.close()


def program_header(path: Path) -> bytes:
    """The first bytes of a program, by which an executable is told from a script."""
    with path.open("rb") as file:
        return file.read(4)
