"""Runs items against servers in turns and keeps every outcome.

One run is a fresh server process, a fresh load process and one scenario. The servers take turns within an item
(A B C, A B C), so that a slow minute of the machine meets all of them, and the median of the rounds is reported.
"""

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from benchmarks.generator.scenarios import Outcome
from benchmarks.generator.wire import WireError
from benchmarks.items import Item
from benchmarks.load import outcome_from_json
from benchmarks.processes import ServerFailed, ServerProcess, child_setup
from benchmarks.servers import HERE, Server

LOAD_GRACE = 120.0
"""Seconds that connecting, draining and checking may take beyond the measured ones."""
CLIENT_BOUND, NOISY = 0.9, 0.1
"""Shares of a core: above, the load generator was the limit; above, other processes took part of the server's core."""


@dataclass(frozen=True)
class Cores:
    """Where the two processes run; ``server`` None means everywhere, ``busy_wait`` that the load never sleeps."""

    server: int | None
    load: int
    busy_wait: bool = False


@dataclass(frozen=True)
class Run:
    """One scenario against one server process: the outcome, or the error that spoilt it."""

    item: str
    server: str
    round: int
    outcome: Outcome | None
    error: str | None = None
    tracebacks: int = 0
    log: str = ""
    """The end of what a failed server has written."""


@dataclass(frozen=True)
class Summary:
    """The rounds of one item and server in one row. Shares are parts of one core, over the measured window."""

    item: str
    server: str
    rounds: int
    value: float
    lowest: float
    highest: float
    cpu_us: float | None
    server_share: float
    client_share: float
    foreign_share: float
    p50_us: float | None
    p99_us: float | None
    tracebacks: int
    disordered: int
    errors: tuple[str, ...]

    @property
    def client_bound(self) -> bool:
        """The load generator had no time left: the server may be faster than the figure."""
        return self.client_share > CLIENT_BOUND and self.server_share < CLIENT_BOUND

    @property
    def noisy(self) -> bool:
        """Other processes used the server's core: trust the processor time, not the rate."""
        return self.foreign_share > NOISY


def load_command(item: Item, port: int, pid: int, cores: Cores) -> list[str]:
    """The command line of the load process."""
    command = [sys.executable, "-m", "benchmarks.load", "--scenario", item.scenario]
    command += ["--port", str(port), "--server-pid", str(pid), "--core", str(cores.load)]
    if cores.busy_wait:
        command.append("--busy-wait")
    if cores.server is not None:
        command += ["--server-core", str(cores.server)]
    for name, value in dataclasses.asdict(item.load).items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return command


def _measure(item: Item, server: ServerProcess, cores: Cores) -> Outcome:
    timeout = item.load.seconds + item.load.warm_up + LOAD_GRACE
    command = load_command(item, server.port, server.pid, cores)
    load = subprocess.run(
        command,
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        preexec_fn=child_setup(cores.load),
    )
    server.check_alive()
    if not load.stdout:
        raise WireError(f"the load generator ended with status {load.returncode}: {load.stderr[-1500:]}")
    outcome = outcome_from_json(load.stdout)
    if outcome.count and not outcome.window.server_cpu:
        raise WireError("the server used no processor time: the process that was watched is not the one that served")
    return outcome


def run_once(item: Item, server: Server, number: int, cores: Cores) -> Run:
    """One run; a failure is part of the result, not an exception."""
    log = ""
    try:
        with ServerProcess(server.command(), core=cores.server, environment=server.environment()) as process:
            try:
                outcome = _measure(item, process, cores)
            except (WireError, subprocess.TimeoutExpired) as error:
                log = process.errors()
                raise ServerFailed(f"{error} (the server's last word: {log.splitlines()[-1]})") from error
            return Run(item.name, server.name, number, outcome, tracebacks=process.tracebacks())
    except ServerFailed as error:
        return Run(item.name, server.name, number, None, error=str(error), log=log)


def disturbance(run: Run) -> float:
    """The share of the server's core that other processes took; 0 for a failed run, which no repetition mends."""
    return run.outcome.window.foreign_cpu / run.outcome.window.seconds if run.outcome is not None else 0.0


def quietest(attempt: Callable[[], Run], patience: int) -> Run:
    """The first undisturbed run of up to ``1 + patience`` attempts, else the least disturbed one.

    Only the noise decides which one is kept, never the figure.
    """
    best = attempt()
    for _ in range(patience):
        if disturbance(best) <= NOISY:
            break
        best = min(best, attempt(), key=disturbance)
    return best


def run_all(
    items: Sequence[Item],
    servers: Sequence[Server],
    rounds: int,
    cores: Cores,
    done: Callable[[Run], None],
    *,
    patience: int = 0,
) -> None:
    """Every item against every server, in turns; ``done`` gets each run as soon as it is over.

    A disturbed run is repeated up to ``patience`` times.
    """
    for item in items:
        for number in range(rounds):
            for server in servers:
                done(quietest(partial(run_once, item, server, number, cores), patience))


def _middle(outcomes: Sequence[Outcome], read: Callable[[Outcome], float | None]) -> float | None:
    known = [value for value in map(read, outcomes) if value is not None]
    return median(known) if known else None


def _cpu_us(outcome: Outcome) -> float | None:
    return outcome.window.server_cpu / outcome.count * 1e6 if outcome.count else None


def summarise(runs: Sequence[Run]) -> list[Summary]:
    """One row per item and server, in the order of their first run."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.item, run.server), []).append(run)
    return [_summary(item, server, group) for (item, server), group in groups.items()]


def _summary(item: str, server: str, runs: list[Run]) -> Summary:
    outcomes = [run.outcome for run in runs if run.outcome is not None]
    values = [outcome.value for outcome in outcomes] or [0.0]
    return Summary(
        item=item,
        server=server,
        rounds=len(outcomes),
        value=median(values),
        lowest=min(values),
        highest=max(values),
        cpu_us=_middle(outcomes, _cpu_us),
        server_share=_middle(outcomes, lambda o: o.window.server_cpu / o.window.seconds) or 0.0,
        client_share=_middle(outcomes, lambda o: o.window.client_cpu / o.window.seconds) or 0.0,
        foreign_share=_middle(outcomes, lambda o: o.window.foreign_cpu / o.window.seconds) or 0.0,
        p50_us=_middle(outcomes, lambda o: o.latency_p50_us),
        p99_us=_middle(outcomes, lambda o: o.latency_p99_us),
        tracebacks=sum(run.tracebacks for run in runs),
        disordered=sum(outcome.disordered for outcome in outcomes),
        errors=tuple(run.error for run in runs if run.error is not None),
    )
