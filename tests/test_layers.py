"""Who may import whom: the contracts of pyproject.toml hold, and they would notice if they did not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the package in `root`, which is not the one that is installed."""
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--config", "pyproject.toml"],
        cwd=root,
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_no_import_points_up_or_sideways() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, f"\n{done.stdout}"
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("protocol/limits.py", "import trioflask_sio.engine.reasons"),
        ("engine/reasons.py", "import flask"),
        ("hub/__init__.py", "import trioflask_sio.server.config"),
        ("protocol/limits.py", "import time"),
    ],
)
def test_a_wrong_import_is_noticed(tmp_path: Path, module: str, line: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "trioflask_sio", tmp_path / "trioflask_sio", ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "trioflask_sio" / module, "a") as text:
        text.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1, f"\n{done.stdout}"
    assert "BROKEN" in done.stdout
