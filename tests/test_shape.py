"""The budgets of CONTRIBUTING.md hold in every Python file of the project, and the meter itself is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.shape import Budget, complaints

PACKAGE = Budget()
# A test's name is its sentence, so tests need no docstrings; a table of cases may be long, a test function may not.
TESTS = Budget(module_lines=500, documented=False)
EXAMPLES = Budget(documented=False)
FOLDERS = {"trioflask_sio": PACKAGE, "examples": EXAMPLES, "benchmarks": TESTS, "tests": TESTS}
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_within_its_budget(path: Path) -> None:
    assert list(complaints(path, FOLDERS[path.relative_to(ROOT).parts[0]])) == []


def test_rooms_with_fakes_have_no_mocks() -> None:
    words = ("import mock", "MagicMock", "monkeypatch.setattr")
    for room in ("protocol", "engine", "hub"):
        for path in (ROOT / "tests" / room).rglob("*.py"):
            assert not [word for word in words if word in path.read_text()], path


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1\n", "the module has no docstring"),
        ('"""m"""\n\n\ndef f():\n    return 1\n', "line 4: f is exported and has no docstring"),
        ('"""m"""\n__all__ = ["f"]\ndef f():\n    """d"""\ndef g(): ...\n', None),
        ('"""m"""\nclass C:\n    def m(self): ...\n', "line 2: C is exported and has no docstring"),
        ('"""m"""\ntry:\n    x = 1\nexcept:\n    x = 2\n', "line 4: bare except"),
        (
            '"""m"""\nx = 1  # type' + ": ignore\n",
            "an ignored type error needs its code and, after another #, its reason",
        ),
        ('"""m"""\nx = 1  # type' + ": ignore[misc]\n", "an ignored type error needs"),
        ('"""m"""\nx = 1  # type' + ": ignore[misc]  # the stub is wrong\n", None),
        ('"""m"""\nx = 1  # TO' + "DO: more\n", "a mark of unfinished work"),
        ('"""m"""\n' + "x = 1\n" * 350, None),
        ('"""m"""\n' + "x = 1\n" * 351, "351 code lines (at most 350)"),
        ('"""m"""\n' + "x = 1\n# why\n\n" * 350, None),
        ('"""m"""\ndef _f():\n' + "    x = 1\n" * 40, "line 2: _f has 41 code lines (at most 40)"),
        ('"""m"""\ndef _f(a):\n    return ' + " or ".join("a" * 10) + "\n", None),
        (
            '"""m"""\ndef _f(a):\n    return ' + " or ".join("a" * 11) + "\n",
            "line 2: _f has complexity 11 (at most 10)",
        ),
        ('"""m"""\ndef _f():\n    raise NotImplemented' + "Error\n", "line 3: unfinished code"),
    ],
)
def test_meter(tmp_path: Path, source: str, complaint: str | None) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    found = list(complaints(path, Budget()))
    assert bool(found) is bool(complaint)
    assert complaint is None or complaint in found[0]
