"""The command line: ``python -m trioflask_sio`` or ``trioflask-sio``."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import click

from trioflask_sio.bridge.serving import serve
from trioflask_sio.exceptions import SocketIOError

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trioflask-sio", prog_name="trioflask-sio")
def main() -> None:
    """Realtime for Flask on structured concurrency."""


_host = click.option("--host", default="127.0.0.1", show_default=True, help="Address or name to bind.")
_port = click.option("--port", default=5000, show_default=True, help="TCP port; 0 lets the system choose.")


@main.command()
@_host
@_port
def demo(host: str, port: int) -> None:
    """Run the example chat: open it in two browser tabs."""
    _serve(_demo_application(), host, port)


@main.command("serve")
@click.argument("target", metavar="MODULE:NAME")
@_host
@_port
@click.option("--unix-socket", default=None, help="Path of a Unix socket to listen on instead of host and port.")
@click.option("--certfile", default=None, help="PEM file with the certificate chain: serve https.")
@click.option("--keyfile", default=None, help="PEM file with the private key.")
@click.option("--access-log/--no-access-log", default=False, show_default=True, help="Log each request.")
def serve_command(target: str, host: str, port: int, **options: Any) -> None:
    """Serve MODULE:NAME, a Flask application or its SocketIO object."""
    _serve(_load(target), host, port, **options)


def _serve(app: Any, host: str, port: int, **options: Any) -> None:
    """Serve; what can go wrong for the user's reasons is one sentence, not a traceback."""
    try:
        serve(app, host=host, port=port, **options)
    except (SocketIOError, OSError) as error:
        raise click.ClickException(_in_options(str(error))) from error


def _in_options(message: str) -> str:
    """A sentence written for ``serve(port=…)``, with the names that the command line has."""
    return re.sub(r"\bport=(\d+)", r"--port \1", message)


def _load(target: str) -> Any:
    """The object that ``module:name`` names, looked for from the current directory first."""
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise click.BadParameter(f"{target!r} is not of the form module:name, like chat:socketio")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name.partition(".")[0]:
            raise
        raise click.BadParameter(f"there is no module {module_name!r} here") from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise click.BadParameter(f"module {module_name!r} has no {name!r}") from error


def _demo_application() -> Any:
    """The chat: inside an installed package, or in the source tree's ``examples``."""
    package = Path(__file__).parent.parent
    for place in (package / "demo" / "chat" / "app.py", package.parent / "examples" / "chat" / "app.py"):
        if place.exists():
            return runpy.run_path(str(place), run_name="trioflask_sio_demo")["socketio"]
    raise click.ClickException("The demo is not part of this installation.")
