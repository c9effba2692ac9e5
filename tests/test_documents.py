"""What the pages for users say is so: options and their defaults, links, and the README's program."""

from __future__ import annotations

import ast
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT
from trioflask_sio.bridge.options import MEANINGLESS, NOT_SERVED, OWN_OPTIONS
from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.hub.config import HubConfig
from trioflask_sio.server.config import ServeConfig

OPTIONS = (ROOT / "docs" / "options.md").read_text()
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def documented(heading: str) -> dict[str, Any]:
    """Name and default of each row of the table below a heading; every row says what the option means."""
    section = OPTIONS.partition(f"## `{heading}")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \| ([\w ]*)\| (.+) \|$", section, re.MULTILINE)
    assert len(rows) == section.count("\n| `")
    return {name: ast.literal_eval(default) for name, default, _, _ in rows}


def defaults(config: Any) -> dict[str, Any]:
    return {field.name: field.default for field in fields(config) if field.init and field.default is not MISSING}


def test_every_option_of_the_application_is_documented_with_its_default() -> None:
    assert documented("SocketIO(app") == {**defaults(EngineConfig), **defaults(HubConfig), **OWN_OPTIONS}


def test_every_option_of_serve_is_documented_with_its_default() -> None:
    assert documented("serve(app") == defaults(ServeConfig)


def test_names_from_elsewhere_are_all_there() -> None:
    section = OPTIONS.partition("## Names from elsewhere")[2]
    named = set(re.findall(r"`(\w+)`", section))
    assert {*MEANINGLESS, *NOT_SERVED} == named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_programs_of_the_readme_work() -> None:
    program, aside = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(program, "README.md", "exec"), names)
    exec(compile(aside, "README.md", "exec"), names)
    assert b"socket.io.min.js" in names["app"].test_client().get("/").data
    socketio = names["socketio"]
    client, other = socketio.test_client(names["app"]), socketio.test_client(names["app"])
    assert client.emit("say", "hello", callback=True) == "delivered"
    [received] = other.get_received()
    assert (received["name"], received["args"][0]["text"]) == ("said", "hello")
    assert socketio.handlers.find("/", "ask").is_async


def test_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    measured = (ROOT / "benchmarks" / "README.md").read_text()
    rows = README.partition("## How fast")[2].partition("## More")[0]
    figures = re.findall(r"[\d,]+ \([\d.]+\)|(?<=\| )\d+\.\d(?= \|)", rows)
    assert len(figures) == 9
    assert all(figure in measured for figure in figures)
    for condition in ("AMD EPYC virtual machine", "Python 3.11.7", "Node 20.20.2", "socket.io 4.8.4"):
        assert condition in measured
        assert condition in rows
