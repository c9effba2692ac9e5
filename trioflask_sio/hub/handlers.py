"""Who handles an event: the table of handlers, and what each of them can be called with.

Rules:

* Signatures are read once, at registration. Nothing is ever called again because a TypeError came out of it, except
  the one case that :meth:`Handler.failed_to_bind` proves to have run no code of the application (spec 1.5.1).
* Lookup order is spec 1.3.8: function handlers of the namespace, its catch-all, the catch-all namespace's, then the
  class-based handlers. ``connect`` and ``disconnect`` never reach a catch-all *event*.
* Plain data without a loop: handlers may be registered before, between and after servings, from any thread.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import TypeAlias

__all__ = ["RESERVED", "Handler", "HandlerFunction", "HandlerOptions", "HandlerTable", "Resolver"]

HandlerFunction: TypeAlias = Callable[..., object]
Resolver: TypeAlias = "Callable[[str], Handler | None]"

RESERVED = ("connect", "disconnect")
"""Events that only the server raises."""

_ANY = "*"
_BIND_FAILURE = re.compile(r"takes .*positional argument.* given$")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOptions:
    """What was asked for one handler.

    Args:
        cancel_on_disconnect: whether its waiting calls are cancelled when the client leaves; None takes the server's.
        timeout: seconds it may run, or None.
    """

    cancel_on_disconnect: bool | None = None
    timeout: float | None = None


_DEFAULT_OPTIONS = HandlerOptions()


@dataclass(frozen=True, slots=True)
class Handler:
    """One registered handler. Made by :meth:`make`, which reads the signature."""

    fn: HandlerFunction
    event: str
    namespace: str
    is_async: bool = False
    class_based: bool = False
    catch_all: bool = False
    options: HandlerOptions = _DEFAULT_OPTIONS
    takes_argument: bool = field(default=True, repr=False)
    """For ``connect`` and ``disconnect``: whether auth or reason can be passed."""

    @classmethod
    def make(
        cls,
        fn: HandlerFunction,
        event: str,
        namespace: str,
        *,
        class_based: bool = False,
        options: HandlerOptions | None = None,
    ) -> Handler:
        """A handler for ``event`` in ``namespace`` with what its signature tells.

        Raises:
            TypeError: ``fn`` is not callable.
        """
        if not callable(fn):
            raise TypeError(f"the handler for event {event!r} in namespace {namespace!r} must be callable, not {fn!r}")
        return cls(
            fn=fn,
            event=event,
            namespace=namespace,
            is_async=_is_async(fn),
            class_based=class_based,
            catch_all=event == _ANY,
            options=options or _DEFAULT_OPTIONS,
            takes_argument=event not in RESERVED or _takes_one(fn),
        )

    def connect_args(self, auth: object) -> tuple[object, ...]:
        """The arguments of a connect handler: auth where it takes one (spec 1.5.1, 6.4 #13)."""
        return (auth,) if self.takes_argument else ()

    def disconnect_args(self, reason: str | None) -> tuple[object, ...]:
        """The arguments of a disconnect handler: the reason where it takes one (spec 1.6.1)."""
        return (reason,) if self.takes_argument else ()

    def failed_to_bind(self, error: BaseException) -> bool:
        """Whether ``error`` only says that a decorator passed on an argument the decorated function cannot take.

        An un-``wraps``-ed decorator takes ``*args`` and hides what the function inside takes. The first call is then
        made with the argument; when it fails before any line of the inner function ran, the caller may call again
        without it. True only when every frame below the caller belongs to a function that takes ``*args`` and the
        TypeError is the one of an argument count.
        """
        if not self.takes_argument or self.event not in RESERVED or type(error) is not TypeError:
            return False
        if _BIND_FAILURE.search(str(error)) is None:
            return False
        codes = _frames_below_caller(error)
        return bool(codes) and all(code.co_flags & inspect.CO_VARARGS for code in codes)


def _frames_below_caller(error: BaseException) -> list[CodeType]:
    trace = error.__traceback__
    codes = []
    while trace is not None:
        codes.append(trace.tb_frame.f_code)
        trace = trace.tb_next
    return codes[1:]


def _is_async(fn: HandlerFunction) -> bool:
    inner = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)


def _takes_one(fn: HandlerFunction) -> bool:
    """Whether ``fn(x)`` binds, for the callable itself and for what it says it wraps."""
    for follow in (True, False):
        try:
            signature = inspect.signature(fn, follow_wrapped=follow)
        except (TypeError, ValueError):
            # Builtins without a signature. They are called in the documented form.
            return True
        try:
            signature.bind(None)
        except TypeError:
            return False
    return True


class HandlerTable:
    """All handlers of one application, by namespace and event."""

    __slots__ = ("_classes", "_functions")

    def __init__(self) -> None:
        self._functions: dict[str, dict[object, Handler]] = {}
        self._classes: dict[str, Resolver] = {}

    def add(self, namespace: str, event: str, fn: HandlerFunction, options: HandlerOptions | None = None) -> Handler:
        """Register a function; a later one for the same namespace and event replaces it (spec 1.3.1).

        Raises:
            TypeError: ``fn`` is not callable, or a name is not text.
        """
        if not isinstance(namespace, str) or not isinstance(event, str):
            raise TypeError(f"event and namespace must be text, not {event!r} and {namespace!r}")
        handler = Handler.make(fn, event, namespace, options=options)
        self._functions.setdefault(namespace, {})[event] = handler
        return handler

    def __iter__(self) -> Iterator[tuple[object, HandlerFunction, str]]:
        """The registered functions: event, function, namespace (spec 1.1.3)."""
        for namespace, functions in tuple(self._functions.items()):
            for event, handler in tuple(functions.items()):
                yield event, handler.fn, namespace

    def add_class(self, namespace: str, resolve: Resolver) -> None:
        """Register a class-based namespace by the function that finds its handler for an event's name."""
        self._classes[namespace] = resolve

    def find(self, namespace: str, event: object) -> Handler | None:
        """The handler for an event as it came from the wire, or None (spec 1.3.8).

        Args:
            namespace: the name the client is in, never ``"*"``.
            event: text, or a number, which only function catch-alls receive (spec 2.2).
        """
        reserved = event in RESERVED
        for name in (namespace, _ANY):
            functions = self._functions.get(name)
            if functions is not None:
                handler = functions.get(event) or (None if reserved else functions.get(_ANY))
                if handler is not None:
                    return handler
        resolve = self._classes.get(namespace) or self._classes.get(_ANY)
        return resolve(event) if resolve is not None and isinstance(event, str) else None

    def has_namespace(self, namespace: str) -> bool:
        """Whether a function or class is registered for exactly this name; a catch-all does not count (spec 1.3.11)."""
        return bool(self._functions.get(namespace)) or namespace in self._classes

    def answers_unhandled(self, namespace: str, event: object) -> bool:
        """Whether an event without a handler is acknowledged, empty: in class-based namespaces (decision 6.4 #9)."""
        return isinstance(event, str) and (namespace in self._classes or _ANY in self._classes)
