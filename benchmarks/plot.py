"""The outcome as a picture: one group of bars per item, each server relative to the first. Needs matplotlib."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Run, Summary, summarise
from benchmarks.items import ITEMS
from benchmarks.report import advantage
from benchmarks.servers import SERVERS, NotInstalled


def draw(path: Path, runs: Sequence[Run]) -> None:
    """Write the picture to ``path`` (the format follows its suffix)."""
    try:
        # By name, so that the types check with and without matplotlib.
        canvas = importlib.import_module("matplotlib.backends.backend_agg")
        figures = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise NotInstalled("--plot needs matplotlib: python -m pip install matplotlib") from error
    rows = {(row.item, row.server): row for row in summarise(runs)}
    items = list(dict.fromkeys(item for item, _ in rows))
    servers = list(dict.fromkeys(server for _, server in rows))
    figure = figures.Figure(figsize=(2 + 1.4 * len(items), 4.5), layout="constrained")
    canvas.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / len(servers)
    for number, server in enumerate(servers):
        heights = [_relative(rows, item, servers[0], server) for item in items]
        places = [position + number * width for position in range(len(items))]
        bars = axes.bar(places, heights, width, label=SERVERS[server].title)
        axes.bar_label(bars, fmt="%.2g", fontsize=7)
    axes.set_xticks([position + 0.4 - width / 2 for position in range(len(items))], items)
    axes.set_ylabel(f"relative to {SERVERS[servers[0]].title} (higher is better)")
    figure.legend(fontsize=8, loc="outside upper center", ncols=len(servers))
    figure.savefig(path, dpi=150)


def _relative(rows: dict[tuple[str, str], Summary], item: str, first: str, server: str) -> float:
    one, other = rows.get((item, first)), rows.get((item, server))
    if one is None or other is None:
        return 0.0
    ratio = advantage(ITEMS[item], one, other)
    return 1 / ratio if ratio else 0.0
