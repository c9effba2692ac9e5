"""The options of ``SocketIO``: where each belongs, and what to say about a name that does not.

Three kinds of names (spec 6.4 #16): ours (the tables of ``EngineConfig``, ``HubConfig``, ``PoolConfig`` and the ones
below), those that Flask-SocketIO or python-* document and that mean nothing here (accepted, one warning that says what
to do instead), and all others (an error that suggests the nearest name). An option of ``serve()`` given to
``SocketIO``, or the other way round, is refused with a sentence that says where it belongs.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from trioflask_sio.bridge.json_option import json_codec, packet_codec
from trioflask_sio.bridge.loggers import engine_logger, server_logger
from trioflask_sio.engine.config import EngineConfig
from trioflask_sio.exceptions import ConfigError, UnknownOption
from trioflask_sio.hub.config import HubConfig
from trioflask_sio.protocol.limits import WORKER_THREADS
from trioflask_sio.server.config import ServeConfig

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["OWN_OPTIONS", "Options", "check_serve_options", "warn_user"]

ENGINE_OPTIONS = tuple(field.name for field in fields(EngineConfig) if field.init)
HUB_OPTIONS = tuple(field.name for field in fields(HubConfig) if field.init)
SERVE_OPTIONS = ServeConfig.option_names()

OWN_OPTIONS: Mapping[str, object] = {
    "path": "socket.io",
    "resource": None,
    "manage_session": True,
    "emit_grace": 1.0,
    "worker_threads": WORKER_THREADS,
    "max_threads": 1024,
    "view_threads": 40,
    "thread_idle_timeout": 10.0,
    "shutdown_timeout": 10.0,
    "logger": False,
    "engineio_logger": False,
}
"""Options of the bridge itself, with their defaults. Times in seconds."""

MEANINGLESS: Mapping[str, str] = {
    "async_mode": "there is one engine here and nothing is monkey-patched; delete the option",
    "binary": "binary data is found by itself; delete the option",
    "allow_unsafe_werkzeug": "Werkzeug's server is not used; delete the option",
    "engineio_options": "give the options to SocketIO itself",
}
"""Names that other servers document and that have no meaning here."""

ASYNC_MODES = ("threading", "eventlet", "gevent", "gevent_uwsgi", "trio", "asyncio")

NOT_SERVED: Mapping[str, str] = {
    "message_queue": "clusters over a message queue are not part of this version",
    "client_manager": "custom managers are not part of this version",
    "channel": "it names the channel of a message queue, which is not part of this version",
    "write_only": "it belongs to a message queue, which is not part of this version",
    "redis_options": "it belongs to a message queue, which is not part of this version",
}
"""Names with a meaning that this version cannot give: refusing is kinder than pretending."""


class Options:
    """The checked options of one ``SocketIO``, merged over all its ``init_app`` calls.

    Args:
        given: names and values.
        said: what was given before; nothing of it is warned of again.
        app: called for the application when an option works with it.

    Raises:
        UnknownOption: a name that nobody knows; the message suggests one.
        ConfigError: a value that cannot be, or an option that belongs to ``serve()``.
    """

    def __init__(
        self,
        given: Mapping[str, Any],
        said: Mapping[str, Any] | None = None,
        app: Callable[[], Flask | None] = lambda: None,
    ) -> None:
        values = {name: value for name, value in given.items() if _is_ours(name, value, said or {})}
        values["json"] = json_codec(values.get("json"), app)
        values["serializer"] = packet_codec(values.get("serializer"))
        self.own: dict[str, Any] = {name: values.get(name, default) for name, default in OWN_OPTIONS.items()}
        self.engine = EngineConfig(**{name: values[name] for name in ENGINE_OPTIONS if name in values})
        self.hub = HubConfig(**{name: values[name] for name in HUB_OPTIONS if name in values})
        _check_own(self.own)
        if not self.engine.monitor_clients and (said or {}).get("monitor_clients", True):
            warn_user(
                "SocketIO option monitor_clients=False: a client whose network is gone stays connected until something "
                "is sent to it; delete the option, or give a longer ping_timeout."
            )
        self.logger = server_logger(self.own["logger"])
        self.engine_logger = engine_logger(self.own["engineio_logger"])
        self.given = dict(given)

    @property
    def path(self) -> str:
        """The URL prefix with both slashes (spec 1.2.4)."""
        given = self.given.get("path") or self.given.get("resource") or OWN_OPTIONS["path"]
        return f"/{str(given).strip('/')}/"


def check_serve_options(options: Mapping[str, Any]) -> None:
    """Refuse what ``serve()`` does not know.

    Raises:
        ConfigError: an option of ``SocketIO``.
        UnknownOption: any other unknown name.
    """
    for name in options:
        if name in SERVE_OPTIONS:
            continue
        if name in ENGINE_OPTIONS or name in HUB_OPTIONS or name in OWN_OPTIONS:
            raise ConfigError(f"{name} is an option of SocketIO, not of serve(): write SocketIO(app, {name}=…).")
        raise UnknownOption(f"serve() has no option {name!r}.{_suggestion(name, SERVE_OPTIONS)}")


def _is_ours(name: str, value: object, said: Mapping[str, Any]) -> bool:
    if name in ENGINE_OPTIONS or name in HUB_OPTIONS or name in OWN_OPTIONS:
        return True
    if name in MEANINGLESS:
        _check_meaningless(name, value, warn=name not in said)
        return False
    if name in NOT_SERVED:
        if value is None:
            return False
        raise ConfigError(f"{name}={value!r} cannot be served: {NOT_SERVED[name]}.")
    if name in SERVE_OPTIONS:
        raise ConfigError(f"{name} is an option of serve(), not of SocketIO: write trioflask_sio.serve(app, {name}=…).")
    known = (*ENGINE_OPTIONS, *HUB_OPTIONS, *OWN_OPTIONS)
    raise UnknownOption(f"SocketIO has no option {name!r}.{_suggestion(name, known)}")


def warn_user(message: str) -> None:
    """Warn of a line of the application: the nearest caller outside of this package."""
    frame = sys._getframe(1)
    level = 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("trioflask_sio."):
        frame = frame.f_back
        level += 1
    warnings.warn(message, stacklevel=level)


def _check_meaningless(name: str, value: object, *, warn: bool) -> None:
    if name == "async_mode":
        if value is None:
            return
        if value not in ASYNC_MODES:
            raise ConfigError(f"Invalid async_mode specified: {value!r} (one of {', '.join(ASYNC_MODES)}, or none).")
        if value in ("trio", "asyncio"):
            return
    if warn:
        warn_user(f"SocketIO option {name}={value!r} means nothing here: {MEANINGLESS[name]}.")


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def _check_own(own: Mapping[str, Any]) -> None:
    for name in ("worker_threads", "max_threads", "view_threads"):
        value = own[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}.")
    if own["max_threads"] < own["worker_threads"]:
        raise ConfigError(
            f"max_threads ({own['max_threads']}) counts waiting handlers too: it must be at least worker_threads "
            f"({own['worker_threads']})."
        )
    for name in ("emit_grace", "thread_idle_timeout", "shutdown_timeout"):
        value = own[name]
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
            raise ConfigError(f"{name} must be a number of seconds of at least 0, not {value!r}.")
