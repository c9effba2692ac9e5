"""Caps are positive, frozen, and refuse nonsense."""

from __future__ import annotations

import dataclasses

import pytest

from trioflask_sio.exceptions import ConfigError
from trioflask_sio.protocol import limits
from trioflask_sio.protocol.limits import DEFAULT_LIMITS, Limits

NAMES = [field.name for field in dataclasses.fields(Limits) if field.name != "strict_auth"]


def test_every_constant_is_positive_and_exported() -> None:
    constants = [name for name in vars(limits) if name.isupper() and name != "DEFAULT_LIMITS"]
    assert constants
    assert set(constants) <= set(limits.__all__)
    assert all(getattr(limits, name) > 0 for name in constants)


def test_defaults() -> None:
    assert (
        Limits(
            max_attachments=10, max_attachment_bytes=10_000_000, max_depth=100, max_int_digits=100, max_ack_digits=100
        )
        == DEFAULT_LIMITS
    )
    assert DEFAULT_LIMITS.strict_auth


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, 1.5, "10", True, None])
def test_nonsense_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 0"):
        Limits(**{name: value})  # type: ignore[arg-type]  # that it is refused is the test


def test_limits_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT_LIMITS.max_depth = 1  # type: ignore[misc]  # that it is refused is the test
