"""Public is what the package root exports: each name resolves, is documented, and says that it lives in the root."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import trioflask_sio
from tests.support.paths import ROOT

FLASK_SOCKETIO_NAMES = {
    "ConnectionRefusedError",
    "Namespace",
    "SocketIO",
    "call",
    "close_room",
    "disconnect",
    "emit",
    "join_room",
    "leave_room",
    "rooms",
    "send",
}
MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(trioflask_sio.__path__, "trioflask_sio.")
    if not found.name.endswith("__main__")
)


def test_root_offers_the_names_that_applications_of_flask_socketio_import() -> None:
    assert set(trioflask_sio.__all__) >= FLASK_SOCKETIO_NAMES | {"serve"}


def test_root_exports_nothing_by_accident() -> None:
    public = {
        name
        for name, value in vars(trioflask_sio).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert public == {name for name in trioflask_sio.__all__ if not inspect.ismodule(getattr(trioflask_sio, name))} - {
        "__version__"
    }


@pytest.mark.parametrize("name", sorted(getattr(trioflask_sio, "__all__", ())))
def test_exported_name_and_its_methods_are_documented(name: str) -> None:
    value = getattr(trioflask_sio, name)
    parts = {name: value}
    if inspect.isclass(value):
        parts |= {part: getattr(value, part) for part in vars(value) if not part.startswith("_")}
    assert [part for part, what in parts.items() if callable(what) and not inspect.getdoc(what)] == []


@pytest.mark.parametrize("name", MODULES)
def test_every_name_of_all_exists_and_is_listed_once(name: str) -> None:
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert [entry for entry in listed if not hasattr(module, entry)] == []
    assert len(set(listed)) == len(listed)


def test_every_module_with_public_definitions_says_what_it_exports() -> None:
    silent = []
    for name in MODULES:
        module = importlib.import_module(name)
        tree = ast.parse(Path(str(module.__file__)).read_text())
        defines = any(
            isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")
            for node in tree.body
        )
        if defines and not hasattr(module, "__all__"):
            silent.append(name)
    assert silent == []


@pytest.mark.parametrize(
    "module", ["pytest", "hypercorn", "coredis", "msgpack", "socketio", "gevent", "trio_websocket"]
)
def test_importing_the_package_imports_no_optional_one(module: str) -> None:
    program = f"import sys, trioflask_sio; sys.exit({module!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT)
    assert done.returncode == 0
