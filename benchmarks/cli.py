"""The command line of ``python -m benchmarks``."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from benchmarks.generator.scenarios import Load
from benchmarks.harness import Cores, Run, run_all
from benchmarks.items import ITEMS, Item
from benchmarks.plot import draw
from benchmarks.report import describe_machine, table, write_json
from benchmarks.servers import CACHE, SERVERS, NotInstalled, Server

DEFAULT_SERVERS = "ours,gevent,threading,python-socketio,node"


class TimeLimitReached(BaseException):
    """The harness's own deadline; derives from BaseException so that no run takes it for its failure."""


def _chosen(known: dict[str, object], text: str, what: str) -> list[str]:
    names = list(known) if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise click.BadParameter(f"no such {what}: {', '.join(unknown) or text!r}; there are {', '.join(known)}")
    return names


def _cores(*, unpinned: bool, busy_wait: bool) -> Cores:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise click.ClickException("two cores are needed: the load generator must not take the server's time")
    return Cores(None if unpinned else allowed[0], allowed[-1], busy_wait)


def _watch_end(time_limit: float) -> None:
    def on_alarm(_signal: int, _frame: FrameType | None) -> None:
        raise TimeLimitReached

    def on_terminate(_signal: int, _frame: FrameType | None) -> None:
        sys.exit(143)

    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, on_terminate)
    signal.setitimer(signal.ITIMER_REAL, time_limit)


def _progress(runs: list[Run], run: Run) -> None:
    runs.append(run)
    shown = f"failed: {run.error}" if run.outcome is None else f"{run.outcome.value:,.1f} {ITEMS[run.item].unit}"
    click.echo(f"  {run.item} round {run.round + 1} {run.server}: {shown}", err=True)


def _collect(
    items: list[Item], servers: list[Server], rounds: int, cores: Cores, patience: int
) -> tuple[list[Run], bool]:
    """Every run that got done, and whether these are all."""
    runs: list[Run] = []
    try:
        run_all(items, servers, rounds, cores, lambda run: _progress(runs, run), patience=patience)
    except TimeLimitReached:
        return runs, False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return runs, True


def _list(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    lines = ["Items:", *(f"  {item.name:12} {item.unit:13} {item.title}" for item in ITEMS.values())]
    lines += ["Servers:", *(f"  {server.name:16} {server.title}" for server in SERVERS.values())]
    click.echo("\n".join(lines))
    context.exit()


def _publish(
    runs: list[Run], items: list[Item], machine: dict[str, object], json_path: Path, plot: Path | None
) -> None:
    write_json(json_path, machine, items, runs)
    click.echo(f"\n{table(runs)}\n\nEverything as JSON: {json_path}")
    if plot is not None:
        draw(plot, runs)


@click.command(help="Measure trioflask_sio and its peers with the same load, in turns.")
@click.option("--items", default="all", show_default=True, help="Comma-separated items, or all.")
@click.option("--servers", default=DEFAULT_SERVERS, show_default=True, help="Comma-separated servers, or all.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Runs per item and server.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=None, help=f"Window length [{Load.seconds:g}].")
@click.option("--quick", is_flag=True, help="One short round: a look, not a figure to quote.")
@click.option("--unpinned", is_flag=True, help="Let the server use every core (the load keeps its own).")
@click.option("--busy-wait", is_flag=True, help="The load never sleeps: no server pays for waking it (quiet machines).")
@click.option(
    "--patience", type=click.IntRange(0), default=0, show_default=True, help="Repeat a disturbed run so often."
)
@click.option("--time-limit", type=click.FloatRange(1), default=3600, show_default=True, help="Seconds for everything.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), default=CACHE / "latest.json", show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), default=None, help="Write bars to this file (matplotlib).")
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="Show items and servers and stop."
)
def main(
    items: str,
    servers: str,
    rounds: int,
    seconds: float | None,
    quick: bool,
    unpinned: bool,
    busy_wait: bool,
    patience: int,
    time_limit: float,
    json_path: Path,
    plot: Path | None,
) -> None:
    """Run what was asked for; the exit status is 1 when a run failed or the time was over."""
    chosen = [ITEMS[name].loaded(seconds=seconds, quick=quick) for name in _chosen({**ITEMS}, items, "item")]
    peers = [SERVERS[name] for name in _chosen({**SERVERS}, servers, "server")]
    cores = _cores(unpinned=unpinned, busy_wait=busy_wait)
    _watch_end(time_limit)
    try:
        for peer in peers:
            peer.prepare()
        machine = describe_machine(peers, cores)
        runs, complete = _collect(chosen, peers, 1 if quick else rounds, cores, patience)
        if runs:
            _publish(runs, chosen, machine, json_path, plot)
    except NotInstalled as error:
        raise click.ClickException(str(error)) from error
    if not complete:
        raise click.ClickException(f"the time limit of {time_limit:g} s was reached; the table holds what was done")
    if any(run.error for run in runs):
        sys.exit(1)
