"""The comparison itself: what it must refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.parity.kit import Transcript, kind
from tests.parity.test_parity import SIDES, compare
from trioflask_sio import ClientGone, TimeoutError, UsageError


def transcripts(write: Callable[[Transcript], None]) -> dict[str, Transcript]:
    """Both sides, written by the same function."""
    both = {side: Transcript(side) for side in SIDES}
    for transcript in both.values():
        write(transcript)
    return both


def test_equal_entries_and_stated_differences_pass() -> None:
    def write(t: Transcript) -> None:
        t.note("same", [1, 2])
        t.differs("id", "other", t.side, theirs="theirs", ours="ours")

    compare(transcripts(write), frozenset({"id"}))


@pytest.mark.parametrize(
    ("write", "shown"),
    [
        (lambda t: None, set()),
        (lambda t: t.note("a", t.side), set()),
        (lambda t: t.note(t.side, 1), set()),
        (lambda t: [t.note("a", 1) for _ in range(len(t.side))], set()),
        (lambda t: t.note("a", 1), {"id"}),
        (lambda t: t.differs("id", "a", t.side, theirs="theirs", ours="ours"), set()),
        (lambda t: t.differs("id", "a", t.side, theirs="something else", ours="ours"), {"id"}),
        (lambda t: t.differs("id", "a", t.side, theirs="theirs", ours="something else"), {"id"}),
        (lambda t: t.differs("id", "a", "equal", theirs="equal", ours="equal"), {"id"}),
    ],
    ids=["empty", "value", "label", "length", "not shown", "not named", "theirs", "ours", "no difference"],
)
def test_everything_else_fails(write: Callable[[Transcript], None], shown: set[str]) -> None:
    with pytest.raises(AssertionError):
        compare(transcripts(write), frozenset(shown))


def test_exceptions_count_as_the_builtin_ones() -> None:
    errors = [UsageError("x"), ClientGone("x"), TimeoutError("x"), KeyError("x")]
    assert [kind(error) for error in errors] == ["RuntimeError", "ConnectionError", "TimeoutError", "KeyError"]
