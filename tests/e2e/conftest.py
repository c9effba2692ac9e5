"""Servers for the end-to-end tests: each kind is started once per session, and its log may hold no traceback."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.kinds import COMMANDS
from tests.support.servers import Server, running

Launcher = Callable[[str], Server]
# What uvicorn itself prints, with its traceback, before the application has seen anything of the message.
FOREIGN = re.compile(r"Invalid UTF-8 sequence received from client\.\nTraceback")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Gives the running server of a kind, started when it is first asked for."""
    folder = tmp_path_factory.mktemp("servers")
    started: dict[str, Server | RuntimeError] = {}
    with contextlib.ExitStack() as stack:

        def of_kind(kind: str) -> Server:
            if kind not in started:
                try:
                    started[kind] = stack.enter_context(running(COMMANDS[kind], folder))
                except RuntimeError as error:  # it will not start at the second attempt either
                    started[kind] = error
            server = started[kind]
            if isinstance(server, RuntimeError):
                raise server
            return server

        yield of_kind


@contextlib.contextmanager
def clean_log(server: Server) -> Iterator[Server]:
    """Nothing that happens inside the block may make the server print a traceback."""
    mark = server.mark()
    yield server
    said = server.said_since(mark)
    assert "Traceback" not in FOREIGN.sub("", said), f"the server printed a traceback:\n{said}"


@pytest.fixture
def server(request: pytest.FixtureRequest, servers: Launcher) -> Iterator[Server]:
    """The server of the kind that the test's parameter names (see `on`); what it says is shown when the test fails."""
    with clean_log(servers(request.param)) as chosen:
        mark = chosen.mark()
        yield chosen
        print(chosen.said_since(mark))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test's own server keeps its log."""
    return tmp_path
