"""Options: whose they are, what is said about wrong ones (spec 1.2, 6.4 #16)."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from flask import Flask

from trioflask_sio import ConfigError, Namespace, SocketIO, UnknownOption
from trioflask_sio.bridge.options import check_serve_options


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("ping_intervall", "ping_interval"),
        ("worker_thread", "worker_threads"),
        ("monitor_client", "monitor_clients"),
        ("cors_allowed_origin", "cors_allowed"),
    ],
)
def test_an_unknown_name_suggests_the_right_one(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownOption, match=f"{name}.*{suggestion}"):
        SocketIO(Flask("x"), **{name: 1})


def test_a_name_like_no_other_suggests_nothing() -> None:
    with pytest.raises(UnknownOption) as caught:
        SocketIO(zzzzzzzz=1)
    assert "Did you mean" not in str(caught.value)


def test_an_option_of_serve_given_to_socketio_and_the_reverse() -> None:
    with pytest.raises(ConfigError, match=r"certfile is an option of serve\(\).*serve\(app, certfile"):
        SocketIO(certfile="x")
    with pytest.raises(ConfigError, match=r"ping_interval is an option of SocketIO.*SocketIO\(app, ping_interval"):
        check_serve_options({"ping_interval": 1})
    with pytest.raises(UnknownOption, match="certfile"):
        check_serve_options({"certfil": "x"})


@pytest.mark.parametrize(
    "options",
    [
        {"worker_threads": 0},
        {"worker_threads": "4"},
        {"worker_threads": True},
        {"max_threads": 2, "worker_threads": 3},
        {"view_threads": 0},
        {"emit_grace": -1},
        {"emit_grace": "1"},
        {"thread_idle_timeout": None},
        {"shutdown_timeout": -0.1},
        {"overlap_after": -1},
        {"disconnect_grace": "x"},
        {"max_attachments": -1},
        {"namespaces": "/one"},
        {"ping_interval": 0},
        {"transports": []},
        {"async_mode": "twisted"},
        {"serializer": "pickle"},
        {"message_queue": "redis://"},
        {"client_manager": object()},
    ],
)
def test_an_impossible_value_names_its_option(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        SocketIO(Flask("x"), **options)


@pytest.mark.parametrize("options", [{"message_queue": None}, {"serializer": "default"}, {"async_mode": "trio"}])
def test_what_asks_for_nothing_special_is_taken_silently(options: dict[str, Any]) -> None:
    SocketIO(Flask("x"), **options)


@pytest.mark.parametrize("options", [{"async_mode": "threading"}, {"binary": True}, {"allow_unsafe_werkzeug": True}])
def test_a_name_without_a_meaning_warns_once_at_the_applications_line(options: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        socketio = SocketIO(**options)
        socketio.init_app(Flask("x"), ping_interval=3)
    [warning] = caught
    assert warning.filename == __file__
    assert next(iter(options)) in str(warning.message)


def test_switching_the_ping_deadline_off_warns_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SocketIO(monitor_clients=True)
        socketio = SocketIO(monitor_clients=False)
        socketio.init_app(Flask("x"), ping_interval=3)
        assert not socketio.options.engine.monitor_clients
        SocketIO().init_app(Flask("y"), monitor_clients=False)
    assert ["monitor_clients=False" in str(warning.message) for warning in caught] == [True, True]
    assert {warning.filename for warning in caught} == {__file__}


def test_it_warns_at_the_line_of_init_app_too() -> None:
    with pytest.warns(UserWarning, match="async_mode") as caught:
        SocketIO().init_app(Flask("x"), async_mode="gevent")
    assert [warning.filename for warning in caught] == [__file__]


def test_a_namespace_without_its_slash_warns_where_it_is_written() -> None:
    socketio = SocketIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        socketio.on("x", namespace="chat")(lambda: None)
        socketio.on_event("x", lambda: None, namespace="chat")
        socketio.on_error("chat")(lambda _: None)
        socketio.on_namespace(Namespace("chat"))
    assert all("'/chat'" in str(warning.message) for warning in caught)
    assert [warning.filename for warning in caught] == [__file__] * 4
    assert socketio.handlers.find("/chat", "x") is not None
    assert socketio.namespace_handlers[0].namespace == "/chat"


@pytest.mark.parametrize("given", ["socket", "/socket", "/socket/", "socket/"])
@pytest.mark.parametrize("name", ["path", "resource"])
def test_the_path_has_both_slashes_whatever_was_given(name: str, given: str) -> None:
    options: dict[str, Any] = {name: given}
    assert SocketIO(**options).options.path == "/socket/"


def test_path_wins_over_resource_and_has_a_default() -> None:
    assert SocketIO(path="a", resource="b").options.path == "/a/"
    assert SocketIO().options.path == "/socket.io/"


def test_options_of_init_app_win_over_the_constructors() -> None:
    socketio = SocketIO(ping_interval=1, ping_timeout=2, manage_session=False, emit_grace=3)
    assert not socketio.manage_session
    socketio.manage_session = True
    socketio.init_app(Flask("x"), ping_timeout=4)
    assert (socketio.options.engine.ping_interval, socketio.options.engine.ping_timeout) == (1, 4)
    assert socketio.manage_session, "changed by hand, and not named again"
    assert socketio.operations.emit_grace == 3
    assert dict(socketio.server_options)["ping_timeout"] == 4
