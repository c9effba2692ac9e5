"""Measures Python source against the budgets of CONTRIBUTING.md: what one reader can hold in mind.

Code lines leave out blank lines, comments and docstrings. Complexity is 1 + branches + boolean operators +
comprehension loops. A function is measured with what is nested in it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Budget", "complaints"]

BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension, ast.match_case)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# The comment marks are put together here so that this file does not find itself.
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
IGNORE = re.compile("type:" + r"\s*ignore")
IGNORE_WITH_REASON = re.compile("type:" + r"\s*ignore\[[\w, -]+\]\s*#\s*\S")
NO_COVER_WITH_REASON = re.compile("pragma:" + r"\s*no (?:cover|branch)\s*[#:,(-]\s*\S")


@dataclass(frozen=True)
class Budget:
    """The most that one module or function may hold, and whether its exported names must be documented."""

    module_lines: int = 350
    function_lines: int = 40
    complexity: int = 10
    documented: bool = True


def complaints(path: Path, budget: Budget) -> Iterator[str]:
    """Everything in the file at `path` that is over the budget, one sentence each."""
    text = path.read_text()
    lines = text.splitlines()
    tree = ast.parse(text)
    yield from _sizes(tree, lines, budget)
    yield from _forbidden_code(tree)
    yield from _forbidden_comments(lines)
    if ast.get_docstring(tree) is None and text.strip():
        yield "the module has no docstring"
    if budget.documented:
        yield from _undocumented(tree)


def _sizes(tree: ast.Module, lines: list[str], budget: Budget) -> Iterator[str]:
    size = _code_lines(tree, 1, len(lines), lines)
    if size > budget.module_lines:
        yield f"{size} code lines (at most {budget.module_lines})"
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            size, paths = _code_lines(node, node.lineno, node.end_lineno or node.lineno, lines), _complexity(node)
            if size > budget.function_lines:
                yield f"line {node.lineno}: {node.name} has {size} code lines (at most {budget.function_lines})"
            if paths > budget.complexity:
                yield f"line {node.lineno}: {node.name} has complexity {paths} (at most {budget.complexity})"


def _code_lines(node: ast.AST, first: int, last: int, lines: list[str]) -> int:
    prose: set[int] = set()
    for inner in ast.walk(node):
        if isinstance(inner, DOCUMENTED) and ast.get_docstring(inner, clean=False) is not None:
            prose.update(range(inner.body[0].lineno, (inner.body[0].end_lineno or 0) + 1))
    numbered = ((number, lines[number - 1].strip()) for number in range(first, last + 1))
    return sum(1 for number, line in numbered if line and number not in prose and not line.startswith("#"))


def _complexity(function: ast.AST) -> int:
    nodes = list(ast.walk(function))
    branches = sum(isinstance(node, BRANCHES) for node in nodes)
    return 1 + branches + sum(len(node.values) - 1 for node in nodes if isinstance(node, ast.BoolOp))


def _forbidden_code(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"line {node.lineno}: bare except"
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield f"line {node.lineno}: unfinished code"


def _forbidden_comments(lines: list[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            yield f"line {number}: a mark of unfinished work"
        if IGNORE.search(line) and not IGNORE_WITH_REASON.search(line):
            yield f"line {number}: an ignored type error needs its code and, after another #, its reason"
        if "pragma:" + " no" in line and not NO_COVER_WITH_REASON.search(line):
            yield f"line {number}: an excluded line needs its reason"


def _undocumented(tree: ast.Module) -> Iterator[str]:
    exported = _exported(tree)
    for node in tree.body:
        if isinstance(node, DOCUMENTED[1:]) and node.name in exported and ast.get_docstring(node) is None:
            yield f"line {node.lineno}: {node.name} is exported and has no docstring"


def _exported(tree: ast.Module) -> set[str]:
    """The names of ``__all__``; where a module has none, every name without a leading underscore."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return {node.name for node in tree.body if isinstance(node, DOCUMENTED[1:]) and not node.name.startswith("_")}
