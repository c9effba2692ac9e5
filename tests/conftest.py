"""Rules for the whole suite.

* Under CI (``CI=true``) a skipped test is a failed one: there everything that tests need is to be installed.
* Property tests run with the Hypothesis profile ``dev``, under CI with ``ci``; ``HYPOTHESIS_PROFILE`` overrides both.
* A warning is an error (pyproject.toml), and so is a thread that dies with an exception.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.support.redis import RedisServer, running_redis

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("deep", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if IN_CI else "dev"))


def skip_is_failure(report: Report) -> Report:
    """Turn a skip into a failure that says why; an expected failure (xfail) is no skip."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"under CI nothing may be skipped. {reason}"
    return report


if IN_CI:

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A test that skips fails under CI."""
        return skip_is_failure((yield))

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """A module that skips itself fails under CI."""
        return skip_is_failure((yield))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A real, empty Redis server on a free port of 127.0.0.1, for the whole session."""
    with running_redis() as server:
        yield server
