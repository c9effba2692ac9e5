"""The options ``logger=`` and ``engineio_logger=``: where a server speaks, and how much (spec 6.1, 6.2).

Messages go to Python's ``logging``; by default to the loggers ``trioflask_sio`` and ``trioflask_sio.engine``, whose
levels are the application's business, so errors and warnings are seen and single events are not.

Rules:

* ``True`` takes a logger of its own at level DEBUG, so that a second server in the process stays as quiet as it was
  asked to be; where the application has configured no logging at all, it prints to the standard error stream.
* A logger object is used as it is, for everything from errors to single events; its level decides.
"""

from __future__ import annotations

import logging
from typing import cast

from trioflask_sio.exceptions import ConfigError

__all__ = ["engine_logger", "server_logger"]

_METHODS = ("debug", "info", "warning", "error", "exception", "log", "isEnabledFor")


def server_logger(given: object) -> logging.Logger:
    """Where the Socket.IO side speaks: clients that come and go, events, emits, the failures of handlers.

    Args:
        given: the value of ``logger``.

    Raises:
        ConfigError: neither a bool nor a logger.
    """
    return _choose("logger", given, "trioflask_sio", "trioflask_sio.socketio")


def engine_logger(given: object) -> logging.Logger:
    """Where the Engine.IO side speaks: connections, refused requests; arguments as :func:`server_logger`."""
    return _choose("engineio_logger", given, "trioflask_sio.engine", "trioflask_sio.engineio")


def _choose(option: str, given: object, usual: str, talkative: str) -> logging.Logger:
    if given is None or given is False:
        return logging.getLogger(usual)
    if given is True:
        logger = logging.getLogger(talkative)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.DEBUG)
        if not logger.hasHandlers():
            logger.addHandler(logging.StreamHandler())
        return logger
    if all(callable(getattr(given, name, None)) for name in _METHODS):
        return cast("logging.Logger", given)
    raise ConfigError(f"{option} must be True, False or a logger of Python's logging module, not {given!r}.")
