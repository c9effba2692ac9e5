"""What the other tests stand on does what it says: the skip rule, the cache lock, node, Redis, the README's line."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import skip_is_failure
from tests.support.node import node
from tests.support.paths import ROOT, once
from tests.support.redis import RedisServer


def skipped(reason: tuple[str, int, str] | None) -> pytest.TestReport:
    place = ("t.py", 1, "t")
    return pytest.TestReport(nodeid="t", location=place, keywords={}, outcome="skipped", longrepr=reason, when="call")


def test_a_skip_becomes_a_failure_that_keeps_its_reason() -> None:
    report = skip_is_failure(skipped(("t.py", 1, "no chromium")))
    assert report.outcome == "failed"
    assert "no chromium" in str(report.longrepr)


def test_an_expected_failure_is_not_a_skip() -> None:
    report = skipped(None)
    report.wasxfail = "known"
    assert skip_is_failure(report).outcome == "skipped"


def test_a_download_that_failed_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cut"), once(tmp_path):
        raise OSError("cut")
    with once(tmp_path) as missing:
        assert missing
    with once(tmp_path) as missing:
        assert not missing


def test_redis_answers(redis_server: RedisServer) -> None:
    assert redis_server.command("PING") == "+PONG"
    assert redis_server.command("SET", "a", "b") == "+OK"
    assert redis_server.url == f"redis://127.0.0.1:{redis_server.port}/0"


def test_node_sees_the_official_client() -> None:
    found = node()
    program = "console.log(require('socket.io-client/package.json').version)"
    said = subprocess.run(
        [found.executable, "-e", program], env=found.environment(), capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("4.")


def test_ci_runs_exactly_the_command_of_the_readme() -> None:
    last = (ROOT / ".ci" / "run").read_text().rstrip().splitlines()[-1]
    assert last in (ROOT / "README.md").read_text().splitlines()
