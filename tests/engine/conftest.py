"""Fixtures of the engine's tests: ``anyio_backend`` runs everything untimed on both loops."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
