"""Drive a coroutine inside a task, in a contextvars context of its own, and notice when it waits.

A lane's asynchronous handlers run one after another in one task, but each must have its own context and the lane must
know when a handler first waits. Both need a hand on every step of the coroutine: what it yields to the event loop is
passed on untouched, and what the loop sends or throws is passed back in.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar

__all__ = ["drive"]

T = TypeVar("T")


@types.coroutine
def drive(
    coroutine: Coroutine[Any, Any, T], context: Context, on_wait: Callable[[], object], on_go: Callable[[], object]
) -> Generator[Any, Any, T]:
    """Run ``coroutine`` step by step in ``context``.

    Args:
        coroutine: what to run; it is closed however this ends.
        context: entered for each step; nobody else may have entered it.
        on_wait: called each time the coroutine waits for the loop.
        on_go: called each time it goes on.

    Returns:
        What the coroutine returned; what it raised is raised.
    """
    run = context.run
    try:
        asked = run(coroutine.send, None)
        while True:
            on_wait()
            try:
                answer = yield asked
            except GeneratorExit:
                raise
            except BaseException as error:
                on_go()
                asked = run(coroutine.throw, error)
            else:
                on_go()
                asked = run(coroutine.send, answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        run(coroutine.close)
