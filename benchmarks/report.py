"""The outcome as a table for people and as JSON for machines."""

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Cores, Run, Summary, summarise
from benchmarks.items import ITEMS, Item
from benchmarks.servers import HERE, SERVERS, Server

LEGEND = """\
µs each: server processor time per counted thing.  server, client, other: share of a core in the window (other: other
processes on the server's core).  ratio: how many times better the first server is; cpu ratio: by processor time.
C load generator was the limit   N other processes disturbed   S has no async handlers, measured with its ordinary one
O rounds overtook each other   B a bare view, no Flask behind it   T the server logged a traceback   ! a run failed"""

_HEADER = ("server", "median", "lowest", "highest", "µs each", "server", "client", "other", "ratio", "cpu ratio", "")


def describe_machine(servers: Sequence[Server], cores: Cores) -> dict[str, object]:
    """What the figures depend on."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "server_core": cores.server,
        "load_core": cores.load,
        "busy_wait": cores.busy_wait,
        "load_average": os.getloadavg()[0],
        "revision": revision.stdout.strip(),
        "servers": {server.name: server.versions() for server in servers},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def write_json(path: Path, machine: dict[str, object], items: Sequence[Item], runs: Sequence[Run]) -> None:
    """Everything: machine, loads, each run and the summary."""
    document = {
        "machine": machine,
        "items": {item.name: dataclasses.asdict(item) for item in items},
        "summary": [dataclasses.asdict(row) for row in summarise(runs)],
        "runs": [dataclasses.asdict(run) for run in runs],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def advantage(item: Item, first: Summary, other: Summary) -> float | None:
    """How many times better ``first`` is than ``other``; None without two good figures."""
    if not first.rounds or not other.rounds or not first.value or not other.value:
        return None
    return other.value / first.value if item.lower_is_better else first.value / other.value


def _marks(item: Item, row: Summary) -> str:
    marks = {
        "C": row.client_bound,
        "N": row.noisy,
        "S": item.needs_async and not SERVERS[row.server].async_handlers,
        "O": row.disordered,
        "B": item.scenario == "view" and not SERVERS[row.server].flask,
        "T": row.tracebacks,
        "!": row.errors,
    }
    return "".join(mark for mark, holds in marks.items() if holds)


def _cells(item: Item, first: Summary, row: Summary) -> tuple[str, ...]:
    if not row.rounds:
        return (row.server, "failed", *[""] * 8, _marks(item, row))
    ratio = advantage(item, first, row)
    cpu_ratio = row.cpu_us / first.cpu_us if row.cpu_us and first.cpu_us else None
    return (
        row.server,
        _number(row.value),
        _number(row.lowest),
        _number(row.highest),
        f"{row.cpu_us:.1f}" if row.cpu_us else "–",
        f"{row.server_share:.0%}",
        f"{row.client_share:.0%}",
        f"{row.foreign_share:.0%}",
        f"{ratio:.2f}" if ratio else "–",
        f"{cpu_ratio:.2f}" if cpu_ratio else "–",
        _marks(item, row),
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines


def _times(row: Summary) -> str:
    return f"{row.server} {_number(row.p50_us or 0)}/{_number(row.p99_us or 0)}"


def _block(item: Item, rows: Sequence[Summary]) -> str:
    lines = [f"{item.name}, {item.unit}: {item.title}"]
    lines += [f"  {line}" for line in _aligned([_HEADER, *(_cells(item, rows[0], row) for row in rows)])]
    lines += [f"  ! {row.server}: {error}" for row in rows for error in row.errors]
    if rows[0].p50_us is not None:
        lines.append(f"  time p50/p99 in µs: {', '.join(_times(row) for row in rows if row.rounds)}")
    return "\n".join(lines)


def table(runs: Sequence[Run]) -> str:
    """All items, one block each; the first server of an item is what the others are compared with."""
    by_item: dict[str, list[Summary]] = {}
    for row in summarise(runs):
        by_item.setdefault(row.item, []).append(row)
    return "\n\n".join([*(_block(ITEMS[name], rows) for name, rows in by_item.items()), LEGEND])
