"""Where things are: the checkout, and the cache folder for what the test set-up downloads.

Everything downloaded goes under ``.cache/`` of the checkout (git ignores it), or under ``$TRIOFLASK_SIO_TEST_CACHE``:
a second run needs no network, and nothing is written outside of the checkout.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["E2E", "ROOT", "cache", "once"]

ROOT = Path(__file__).resolve().parents[2]
E2E = ROOT / "tests" / "e2e"


def cache(name: str) -> Path:
    """The folder `name` of the cache, made when it is not there."""
    folder = Path(os.environ.get("TRIOFLASK_SIO_TEST_CACHE") or ROOT / ".cache") / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def once(folder: Path) -> Iterator[bool]:
    """Lock `folder` against other test runs; says whether it still has to be filled.

    The mark that it is full is set when the block ends without an error: an interrupted download is done again.
    """
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / ".complete"
        yield not done.exists()
        done.touch()
