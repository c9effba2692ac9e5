"""The load generator's process: ``python -m benchmarks.load --scenario echo --port P --server-pid N``.

Runs one scenario against one server and prints one line of JSON: the outcome, or ``{"error": ...}`` with exit status 1.
It pins itself to ``--core``, so that it takes no time from the server it measures.
"""

import argparse
import dataclasses
import gc
import json
import os
import sys

from benchmarks.generator.meter import Window
from benchmarks.generator.reactor import Reactor, Stalled
from benchmarks.generator.scenarios import SCENARIOS, Load, Outcome, Target
from benchmarks.generator.wire import WireError


def outcome_from_json(text: str) -> Outcome:
    """The outcome that a load process has printed; raises WireError with what went wrong there."""
    fields = json.loads(text)
    if "error" in fields:
        raise WireError(fields["error"])
    return Outcome(**{**fields, "window": Window(**fields["window"])})


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server-pid", type=int, required=True)
    parser.add_argument("--server-core", type=int, default=None)
    parser.add_argument("--core", type=int, default=None)
    parser.add_argument("--busy-wait", action="store_true", help="never sleep, so that nobody pays for waking us")
    for field in dataclasses.fields(Load):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run one scenario; returns the exit status."""
    options = _arguments(argv)
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    target = Target(options.port, options.server_pid, options.server_core)
    load = Load(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Load)})
    reactor = Reactor(busy_wait=options.busy_wait)
    try:
        outcome = SCENARIOS[options.scenario](reactor, target, load)
    except (WireError, Stalled, OSError, ValueError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    print(json.dumps(dataclasses.asdict(outcome)))
    return 0


if __name__ == "__main__":
    gc.disable()  # a run is short and makes no cycles worth a pause in the middle of it
    sys.exit(main())
