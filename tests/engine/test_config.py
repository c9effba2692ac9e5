"""Options: what is accepted, and that a refusal names option and value."""

from __future__ import annotations

from typing import Any

import pytest

from trioflask_sio.engine.config import EngineConfig, takes_request
from trioflask_sio.engine.transport import HttpRequest
from trioflask_sio.exceptions import ConfigError


def test_the_defaults_are_those_of_the_specification() -> None:
    config = EngineConfig()
    assert (config.ping_interval, config.ping_timeout, config.max_http_buffer_size) == (25.0, 20.0, 1_000_000)
    assert (config.upgrade_timeout, config.connect_timeout, config.close_timeout) == (10.0, 45.0, 30.0)
    assert config.enabled == ("polling", "websocket")
    assert config.upgrades == ("websocket",)
    assert not config.per_message_deflate
    assert config.monitor_clients


@pytest.mark.parametrize(
    ("given", "enabled"),
    [
        ("websocket", ("websocket",)),
        (["polling"], ("polling",)),
        (["websocket", "polling", "websocket"], ("websocket", "polling")),
        ((name for name in ["polling"]), ("polling",)),
    ],
)
def test_transports_in_any_form(given: Any, enabled: tuple[str, ...]) -> None:
    assert EngineConfig(transports=given).enabled == enabled


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ping_interval": 0}, "ping_interval"),
        ({"ping_interval": "25"}, "'25'"),
        ({"ping_interval": (5, 2)}, "not (interval, grace) (5, 2): add the grace to ping_timeout"),
        ({"ping_timeout": float("inf")}, "ping_timeout"),
        ({"ping_timeout": float("nan")}, "ping_timeout"),
        ({"ping_timeout": True}, "ping_timeout"),
        ({"upgrade_timeout": -1}, "upgrade_timeout"),
        ({"connect_timeout": 0.0001}, "connect_timeout"),
        ({"max_http_buffer_size": 1e6}, "max_http_buffer_size"),
        ({"max_http_buffer_size": 0}, "max_http_buffer_size"),
        ({"max_outbox_bytes": None}, "max_outbox_bytes"),
        ({"compression_threshold": -1}, "compression_threshold"),
        ({"transports": []}, "transports"),
        ({"transports": "webtransport"}, "webtransport"),
        ({"transports": ["polling", "flash"]}, "flash"),
        ({"transports": 7}, "transports"),
        ({"cookie": ""}, "cookie"),
        ({"cookie": "a b"}, "cookie"),
        ({"cookie": {"name": "a;b"}}, "cookie"),
        ({"cookie": {"path": "/\r\nX: y"}}, "path"),
        ({"cookie": 7}, "cookie"),
        ({"cors_allowed_origins": 7}, "cors_allowed_origins"),
        ({"cors_allowed_origins": ["http://a", 7]}, "cors_allowed_origins"),
        ({"cors_allowed_origins": lambda: True}, "cors_allowed_origins"),
        ({"cors_allowed_origins": lambda a, b, c: True}, "cors_allowed_origins"),
        ({"allow_request": "yes"}, "allow_request"),
    ],
)
def test_a_bad_value_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EngineConfig(**options)
    assert named in str(caught.value)


def test_an_origin_check_is_read_by_its_signature() -> None:
    def one(origin: str) -> bool:
        return True

    def two(origin: str, request: HttpRequest) -> bool:
        return True

    def maybe(origin: str, request: HttpRequest | None = None) -> bool:
        return True

    assert [takes_request(check) for check in (one, two, maybe, {"a"}.__contains__)] == [False, True, True, False]


def test_it_is_frozen_and_keyword_only() -> None:
    with pytest.raises(AttributeError):
        EngineConfig().ping_interval = 1.0  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError):
        EngineConfig(25.0)  # type: ignore[call-arg]  # that is the point
