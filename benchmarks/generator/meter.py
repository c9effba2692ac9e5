"""Processor time, memory and time windows, read from ``/proc`` (Linux)."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


def process_seconds(pid: int) -> float:
    """Processor seconds (user and system, all threads) that the process has used so far."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Resident memory of the process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_SIZE


def busy_seconds(core: int) -> float:
    """Seconds that the core has not been idle since boot, whoever used it."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            ticks = [int(field) for field in fields[:8]]
            return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_SECOND
    raise ValueError(f"/proc/stat has no line for core {core}")


@dataclass(frozen=True)
class Window:
    """What one measured stretch of time cost; all values in seconds."""

    seconds: float
    server_cpu: float
    client_cpu: float
    foreign_cpu: float
    """What neither server nor operating system idle loop used on the server's core: noise of other processes."""


class Meter:
    """Opens and closes one window over a server that runs on ``core`` (None: not pinned, foreign time is not known).

    ``client_seconds`` tells the load generator's own time so far.
    """

    def __init__(self, pid: int, core: int | None, client_seconds: Callable[[], float]) -> None:
        self._pid, self._core, self._client_seconds = pid, core, client_seconds
        self._start = (0.0, 0.0, 0.0, 0.0)

    def _read(self) -> tuple[float, float, float, float]:
        busy = 0.0 if self._core is None else busy_seconds(self._core)
        return time.perf_counter(), process_seconds(self._pid), self._client_seconds(), busy

    def start(self) -> None:
        """Open the window."""
        self._start = self._read()

    def stop(self) -> Window:
        """Close the window and return what happened in it."""
        seconds, server, client, busy = (now - then for now, then in zip(self._read(), self._start, strict=True))
        foreign = 0.0 if self._core is None else max(0.0, busy - server)
        return Window(seconds, server, client, foreign)
