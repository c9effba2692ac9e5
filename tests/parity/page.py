"""Reads the tables of ``docs/coming-from-flask-socketio.md``: the page is the list, the suite has none of its own."""

from __future__ import annotations

import ast
import re
from typing import Any

from tests.support.paths import ROOT

__all__ = ["PAGE", "differences", "guide_rows", "restoring_options"]

PAGE = ROOT / "docs" / "coming-from-flask-socketio.md"
_OPTION = re.compile(r"`SocketIO\(app, (\w+)=([^`]+)\)`")


def _table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    text = PAGE.read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def differences() -> list[str]:
    """The ids of the deliberate differences, in the page's order."""
    return [row[0].strip("`") for row in _table("What differs, and why")]


def guide_rows() -> list[list[str]]:
    """The rows of the second table: what the classic guide states, what holds here, how to have it as it was."""
    return _table("What the classic guide states otherwise")


def restoring_options() -> dict[str, Any]:
    """The options that the second table names, as keyword arguments of ``SocketIO``."""
    return {name: ast.literal_eval(value) for row in guide_rows() for name, value in _OPTION.findall(row[-1])}
