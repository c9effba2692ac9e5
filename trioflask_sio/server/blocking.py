"""The blocking form: a loop of its own, signals where they can be had, and a refusal of monkey-patched processes.

Rules:

* Signal handlers are installed in the main thread only; elsewhere the server is stopped through its ``StopSignal``.
* First SIGINT or SIGTERM: drain. Second: cancel now. Third: Python's own handling again.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Final

import trio

from trioflask_sio.exceptions import UsageError
from trioflask_sio.server.serve import StopSignal, one_error
from trioflask_sio.server.site import logger

__all__ = ["refuse_monkey_patched", "run_blocking"]

_NEEDED: Final = ("socket", "threading", "thread", "_thread", "time", "select")
"""Modules that must be the real ones, under every name the two libraries know them by."""


def run_blocking(main: Callable[[StopSignal], Awaitable[None]]) -> None:
    """Run ``main(stop)`` in a trio loop of its own until it returns.

    Args:
        main: usually calls ``serve_service(..., stop=stop)``.

    Raises:
        UsageError: the process is monkey-patched.
        Exception: whatever ``main`` raises.
    """
    refuse_monkey_patched()
    with one_error():
        trio.run(_run, main, threading.current_thread() is threading.main_thread())


async def _run(main: Callable[[StopSignal], Awaitable[None]], with_signals: bool) -> None:
    stop = StopSignal()
    async with trio.open_nursery() as nursery:
        if with_signals:
            await nursery.start(_listen_for_signals, stop)
        await main(stop)
        nursery.cancel_scope.cancel()


async def _listen_for_signals(stop: StopSignal, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            name = signal.Signals(number).name
            if stop.requested:
                logger.warning("%s again: stopping now", name)
                stop.request()
                return
            logger.info("%s: stopping in order; once more stops at once", name)
            stop.request()


def refuse_monkey_patched() -> None:
    """Refuse to run where gevent or eventlet have replaced what threads and sockets are.

    Raises:
        UsageError: says which library, what it replaced, and which call to delete.
    """
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None:
        _refuse("gevent", "gevent.monkey.patch_all()", _patched(gevent, "is_module_patched"))
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None:
        _refuse("eventlet", "eventlet.monkey_patch()", _patched(eventlet, "is_monkey_patched"))


def _patched(module: ModuleType, question: str) -> list[str]:
    """The needed modules that ``module`` says it has replaced."""
    ask = getattr(module, question, None)
    return [] if ask is None else [name for name in _NEEDED if ask(name)]


def _refuse(library: str, call: str, patched: list[str]) -> None:
    if patched:
        raise UsageError(
            f"{library} has monkey-patched {', '.join(patched)} in this process, and trioflask_sio needs the real "
            f"ones: delete the call {call} (it is not needed any more), and any worker class or command-line option "
            f"that makes it"
        )
