"""Sessions for developers. CI runs one pytest command, which contains them all; these are its parts, and more.

``nox`` alone runs what is quick. Sessions install into their own environments; ``nox -R`` uses those again.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.sessions = ["lint", "types", "layers", "quick"]
nox.options.default_venv_backend = "uv|virtualenv"

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
ROOT = Path(__file__).parent
OLDEST = ["anyio==4.5.*", "trio==0.27.*", "flask==3.0.*", "werkzeug==3.0.*", "h11==0.14.*", "wsproto==1.2.*"]
SLOW = ["tests/e2e", "tests/test_tools.py", "examples"]


def install(session: nox.Session, *more: str, extra: str = "test") -> None:
    """Install the checkout, editable, with one of its extras and `more` requirements."""
    session.install("-e", f".[{extra}]", *more)


def run_pytest(session: nox.Session, *arguments: str, **environment: str) -> None:
    """Run pytest with what was given after ``--``."""
    session.run("python", "-m", "pytest", *arguments, *session.posargs, env=environment)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Everything, in random order."""
    install(session, "pytest-randomly>=3.15")
    run_pytest(session)


@nox.session
def quick(session: nox.Session) -> None:
    """Everything that needs no other process."""
    install(session)
    run_pytest(session, "-q", *(f"--ignore={path}" for path in SLOW))


@nox.session(python="3.10")
def tests_min(session: nox.Session) -> None:
    """The rooms' own tests with the oldest dependencies that pyproject.toml allows."""
    install(session, *OLDEST)
    run_pytest(session, "-q", *(f"--ignore={path}" for path in SLOW))


@nox.session
def properties(session: nox.Session) -> None:
    """The property tests with many examples."""
    install(session)
    run_pytest(session, "-q", "-k", "propert", HYPOTHESIS_PROFILE="deep")


@nox.session
def e2e(session: nox.Session) -> None:
    """Real servers and the official clients. ``nox -s e2e -- -k hypercorn`` for one server."""
    install(session)
    run_pytest(session, "tests/e2e", "examples")


@nox.session
def e2e_reference(session: nox.Session) -> None:
    """The conversations of the official client against Flask-SocketIO: what it answers differently is in the output."""
    install(session, extra="dev")
    run_pytest(session, "tests/e2e/test_js_client.py", "tests/e2e/test_python_client.py", E2E_PACKAGE="flask_socketio")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict on the package, its tests, the examples and this file."""
    install(session)
    session.run("mypy")


@nox.session
def layers(session: nox.Session) -> None:
    """Who may import whom."""
    install(session)
    run_pytest(session, "-q", "tests/test_layers.py")


@nox.session
def changelog(session: nox.Session) -> None:
    """A change of the package brings a fragment. What follows ``--`` is the commit to compare with."""
    base = session.posargs[0] if session.posargs else "origin/main"
    said = subprocess.run(
        ["git", "diff", "--name-only", f"{base}...HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    changed = said.stdout.split()
    fragments = [name for name in changed if name.startswith("changelog.d/") and name.endswith(".md")]
    if any(name.startswith("trioflask_sio/") for name in changed) and not fragments:
        session.error("the package changed and changelog.d has no new fragment (see changelog.d/README.md)")


@nox.session
def build(session: nox.Session) -> None:
    """Wheel and source distribution; the demo in the wheel starts outside of the checkout."""
    session.install("build")
    folder = Path(session.create_tmp())
    session.run("python", "-m", "build", "--outdir", str(folder), str(ROOT))
    session.install(*(str(path) for path in folder.glob("*.whl")))
    session.chdir(folder)
    session.run("python", "-m", "trioflask_sio", "demo", "--help")


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks; arguments after ``--`` go to them."""
    install(session, extra="dev")
    session.run("python", "-m", "benchmarks", *session.posargs)
