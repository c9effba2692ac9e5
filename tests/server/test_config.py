"""Options: defaults, refusals in one sentence, and the table that documents them."""

from __future__ import annotations

import inspect
import math
import re
import ssl
from typing import Any

import pytest

from tests.server.helpers import FakeEngine, hello
from trioflask_sio.exceptions import ConfigError
from trioflask_sio.server.config import ServeConfig
from trioflask_sio.server.service import Service

IMPOSSIBLE: list[dict[str, Any]] = [
    {"port": -1},
    {"port": 65_536},
    {"port": "5000"},
    {"port": True},
    {"backlog": 0},
    {"max_header_size": 1.5},
    {"max_connections": 0},
    {"header_timeout": 0},
    {"keep_alive_timeout": -1},
    {"body_timeout": math.nan},
    {"send_timeout": "1"},
    {"tls_timeout": None},
    {"shutdown_timeout": -0.1},
    {"shutdown_timeout": math.inf},
    {"switch_interval": 0},
    {"switch_interval": 1},
    {"keyfile": "k"},
    {"server_header": "a\nb"},
]


@pytest.mark.parametrize("options", IMPOSSIBLE, ids=str)
def test_impossible_values_name_the_option(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(ConfigError, match=name):
        ServeConfig(**options)


def test_two_ways_to_ask_for_tls_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="not both"):
        ServeConfig(certfile="c", ssl_context=ssl.create_default_context())


def test_possible_values() -> None:
    assert ServeConfig(shutdown_timeout=0, switch_interval=None, header_timeout=math.inf, host=None).port == 5000
    context = ssl.create_default_context()
    assert ServeConfig(ssl_context=context).tls() is context
    assert ServeConfig().tls() is None


def test_the_table_in_the_docstring_names_every_option_and_its_default() -> None:
    rows = re.findall(r"^(\w+) +``(\S+)`` ", inspect.getdoc(ServeConfig) or "", re.MULTILINE)
    defaults = ServeConfig()
    told = {name: eval(default, {}) for name, default in rows}
    assert told == {name: getattr(defaults, name) for name in ServeConfig.option_names()}


def test_a_config_is_frozen_and_keyword_only() -> None:
    with pytest.raises(AttributeError):
        ServeConfig().port = 1  # type: ignore[misc]  # that it is frozen is the point
    with pytest.raises(TypeError):
        ServeConfig("127.0.0.1")  # type: ignore[call-arg]  # that it is keyword only is the point


@pytest.mark.parametrize("path", ["socket.io", "/socket.io", "socket.io/", ""])
def test_a_service_path_has_both_slashes(path: str) -> None:
    with pytest.raises(ConfigError, match="begin and end with a slash"):
        Service(FakeEngine(), path, hello)
