"""The hub's options: what they let in, and what they refuse to be."""

from __future__ import annotations

from typing import Any

import pytest

from trioflask_sio.exceptions import ConfigError
from trioflask_sio.hub.config import HubConfig


@pytest.mark.parametrize(
    ("namespaces", "inside", "outside"),
    [
        (None, ["/"], ["/x", ""]),
        ("*", ["/", "/x"], []),
        (["/x"], ["/x"], ["/", "/y"]),
        ((), [], ["/"]),
    ],
)
def test_namespaces_option(namespaces: Any, inside: list[str], outside: list[str]) -> None:
    config = HubConfig(namespaces=namespaces)
    assert [name for name in inside + outside if config.admits(name)] == inside


def test_the_callers_list_may_change_later() -> None:
    names = ["/x"]
    config = HubConfig(namespaces=names)
    names.append("/y")
    assert not config.admits("/y")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"namespaces": "/chat"}, r"one name is \['/chat'\]"),
        ({"namespaces": [1]}, "must be a list of names"),
        ({"disconnect_grace": -1}, "disconnect_grace must be a number of seconds, 0 or more, not -1"),
        ({"disconnect_grace": "5"}, "not '5'"),
        ({"overlap_after": float("nan")}, "overlap_after"),
        ({"overlap_after": True}, "overlap_after"),
        ({"max_attachments": -1}, "max_attachments must be an integer of at least 0"),
        ({"max_attachments": 2.5}, "max_attachments"),
        ({"max_pending_events": 0}, "max_pending_events must be an integer of at least 1"),
        ({"max_namespaces": True}, "max_namespaces"),
    ],
)
def test_an_impossible_value_is_one_clear_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HubConfig(**options)
