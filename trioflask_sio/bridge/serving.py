"""``serve``, ``serve_async`` and what ``SocketIO.run`` and ``SocketIO.stop`` do with them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
from flask import Flask

from trioflask_sio.bridge.extension import SocketIO
from trioflask_sio.bridge.options import check_serve_options
from trioflask_sio.exceptions import UsageError
from trioflask_sio.server.blocking import refuse_monkey_patched, run_blocking
from trioflask_sio.server.config import ServeConfig
from trioflask_sio.server.listener import Bound, ListenError
from trioflask_sio.server.serve import StopSignal, one_error, serve_service
from trioflask_sio.server.service import Service

if TYPE_CHECKING:
    from trioflask_sio.bridge.runtime import Runtime

__all__ = ["run", "serve", "serve_async", "stop"]

_log = logging.getLogger("trioflask_sio")


def serve(app: Flask | SocketIO, host: str | None = "127.0.0.1", port: int = 5000, **options: Any) -> None:
    """Serve a Flask application and its Socket.IO clients until Ctrl-C, SIGTERM or ``socketio.stop()``.

    Blocks. The first signal stops in order within ``shutdown_timeout`` seconds, a second one at once. In a thread other
    than the main one no signals are handled.

    Args:
        app: the Flask application, or its ``SocketIO`` object.
        host: address or name to bind; ``""`` is every interface.
        port: TCP port; 0 lets the system choose.
        **options: see :class:`trioflask_sio.server.config.ServeConfig` for the table.

    Raises:
        UsageError: the application has no ``SocketIO``, is being served already, or the process is monkey-patched.
        UnknownOption: there is no such option; the message suggests one.
        ConfigError: an impossible value, or an option that belongs to ``SocketIO``.
        OSError: it cannot listen there; the message says what to do.
    """
    socketio = _resolve(app)
    config = _config(host, port, options)

    async def main(signal: StopSignal) -> None:
        await _serve(socketio, config, signal, _announce)

    try:
        run_blocking(main)
    except ListenError as error:
        raise error.with_traceback(None) from None  # the sentence says it all; our frames would bury it


async def serve_async(
    app: Flask | SocketIO,
    host: str | None = "127.0.0.1",
    port: int = 5000,
    *,
    task_status: trio.TaskStatus[list[Bound]] = trio.TASK_STATUS_IGNORED,
    **options: Any,
) -> None:
    """The same as a task of your own Trio nursery; cancel it to stop.

    ::

        async with trio.open_nursery() as nursery:
            [address] = await nursery.start(partial(serve_async, app, port=0))

    Args:
        app: the Flask application, or its ``SocketIO`` object.
        host: address or name to bind.
        port: TCP port; 0 lets the system choose.
        task_status: told the list of bound addresses once the server listens.
        **options: as for :func:`serve`.

    Raises:
        UsageError, UnknownOption, ConfigError, OSError: as :func:`serve`.
    """
    socketio = _resolve(app)
    config = _config(host, port, options)
    refuse_monkey_patched()
    with one_error():
        await _serve(socketio, config, StopSignal(), _quiet, task_status)


async def _serve(
    socketio: SocketIO,
    config: ServeConfig,
    signal: StopSignal,
    announce: Callable[[list[Bound]], None],
    task_status: trio.TaskStatus[list[Bound]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """One serving, from the runtime's birth to its end."""
    runtime = socketio.next_runtime()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_pass_on, signal, runtime)
        async with runtime.running(config.shutdown_timeout) as views:
            runtime.request_stop = signal.request
            service = Service(runtime.engine, socketio.options.path, views)
            await serve_service(service, config, stop=signal, task_status=_Told(announce, task_status))
        nursery.cancel_scope.cancel()


async def _pass_on(signal: StopSignal, runtime: Runtime) -> None:
    """Both parts of a stop, the server's and the runtime's, are over by the one deadline, and at once when asked so."""
    await signal.wait()
    runtime.stop_within(runtime.shutdown_timeout)
    await signal.wait_now()
    runtime.stop_within(0)


class _Told:
    """Passes the bound addresses on to whoever waits for them, and says them once."""

    def __init__(self, announce: Callable[[list[Bound]], None], status: trio.TaskStatus[list[Bound]]) -> None:
        self._announce = announce
        self._status = status

    def started(self, value: Any = None) -> None:
        self._announce(value)
        self._status.started(value)


def _announce(bound: list[Bound]) -> None:
    for address in bound:
        print(f"trioflask_sio serves on {address} (Ctrl-C stops)", flush=True)


def _quiet(bound: list[Bound]) -> None:
    """Whoever serves in a nursery of its own is told by ``task_status``."""


def _config(host: str | None, port: int, options: dict[str, Any]) -> ServeConfig:
    check_serve_options(options)
    return ServeConfig(host=host, port=port, **options)


def _resolve(app: Flask | SocketIO) -> SocketIO:
    """The ``SocketIO`` of what the user wants served."""
    if isinstance(app, SocketIO):
        if app.app is None:
            raise UsageError("This SocketIO has no Flask application: call socketio.init_app(app) before serve().")
        return app
    extensions = getattr(app, "extensions", None)
    found = extensions.get("socketio") if isinstance(extensions, dict) else None
    if isinstance(found, SocketIO):
        return found
    given: object = app  # callers without a type checker give what they like
    if not isinstance(given, Flask):
        raise UsageError(f"expected a Flask application or its SocketIO object, not {given!r}.")
    raise UsageError(
        f"{app!r} has no SocketIO. Add these two lines where the application is made:\n"
        "    from trioflask_sio import SocketIO\n"
        "    socketio = SocketIO(app)"
    )


def run(socketio: SocketIO, app: Flask | None, host: str | None, port: int | None, options: dict[str, Any]) -> None:
    """``SocketIO.run`` (spec 1.9.8)."""
    if app is not None and app is not socketio.app:
        socketio.init_app(app)
    flask_app = socketio.app
    if flask_app is None:
        raise UsageError("run() needs the Flask application: socketio.run(app).")
    if os.environ.get("FLASK_RUN_FROM_CLI"):
        _log.warning("`flask run` serves the views only; start Socket.IO with trioflask_sio.serve(app).")
        return
    debug = bool(options.pop("debug", flask_app.debug))
    flask_app.debug = debug
    log_output = bool(options.pop("log_output", debug))
    reload = bool(options.pop("use_reloader", debug))
    reloader = dict(options.pop("reloader_options", None) or {})
    if extra_files := options.pop("extra_files", None):
        reloader["extra_files"] = [*reloader.get("extra_files", ()), *extra_files]
    options.pop("allow_unsafe_werkzeug", None)
    options.setdefault("access_log", log_output)
    address = "127.0.0.1" if host is None else host
    number = _port(flask_app, port)
    if reload:
        from werkzeug._reloader import run_with_reloader

        run_with_reloader(lambda: serve(socketio, address, number, **options), **reloader)
    else:
        serve(socketio, address, number, **options)


def _port(app: Flask, port: int | None) -> int:
    if port is not None:
        return port
    name = app.config.get("SERVER_NAME") or ""
    tail = str(name).rpartition(":")
    return int(tail[2]) if tail[1] and tail[2].isdigit() else 5000


def stop(socketio: SocketIO) -> None:
    """``SocketIO.stop`` (spec 1.9.7)."""
    runtime = socketio.runtime
    if not runtime.serving:
        return
    if runtime.request_stop is None:
        raise UsageError(
            "stop(): the process belongs to another server (Hypercorn, uvicorn, gunicorn …); stop that one, "
            "by its signal or its own means."
        )
    runtime.border.post(runtime.request_stop)
