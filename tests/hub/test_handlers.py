"""Who handles what (spec 1.3.8), and what a signature tells (spec 1.5.1, 1.6.1)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from trioflask_sio.hub.handlers import Handler, HandlerOptions, HandlerTable


def nothing(*args: object) -> None:
    """A handler."""


def table(*places: tuple[str, str]) -> HandlerTable:
    made = HandlerTable()
    for namespace, event in places:
        made.add(namespace, event, nothing)
    return made


ORDER = [("/x", "e"), ("/x", "*"), ("*", "e"), ("*", "*")]


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_function_handlers_in_the_order_of_the_spec(first: int) -> None:
    found = table(*ORDER[first:]).find("/x", "e")
    assert found is not None
    assert (found.namespace, found.event) == ORDER[first]


def test_classes_come_after_every_function_and_the_exact_one_first() -> None:
    made = HandlerTable()
    exact = Handler.make(nothing, "e", "/x", class_based=True)
    general = Handler.make(nothing, "e", "*", class_based=True)
    made.add_class("*", lambda event: general if event == "e" else None)
    assert made.find("/x", "e") is general
    made.add_class("/x", lambda event: exact if event == "e" else None)
    assert made.find("/x", "e") is exact
    assert made.find("/x", "other") is None
    made.add("*", "*", nothing)
    found = made.find("/x", "e")
    assert found is not None
    assert not found.class_based


@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_a_catch_all_event_never_gets_connect_and_disconnect_but_a_catch_all_namespace_does(event: str) -> None:
    made = table(("/x", "*"), ("*", "*"))
    assert made.find("/x", event) is None
    made.add("*", event, nothing)
    found = made.find("/x", event)
    assert found is not None
    assert found.namespace == "*"
    assert not found.catch_all


def test_a_catch_all_says_so_also_for_an_event_that_is_called_star() -> None:
    found = table(("/", "*")).find("/", "*")
    assert found is not None
    assert found.catch_all


def test_numbers_reach_function_catch_alls_only() -> None:
    asked: list[object] = []
    made = table(("/", "e"))
    made.add_class("/c", lambda event: asked.append(event))
    assert made.find("/", 3) is None
    assert made.find("/c", 3) is None
    assert asked == []
    assert not made.answers_unhandled("/c", 3)
    assert made.answers_unhandled("/c", "nope")
    made.add("/", "*", nothing)
    assert made.find("/", 3) is not None
    assert made.find("/", 2.5) is not None


def test_a_later_registration_replaces_the_earlier() -> None:
    made = HandlerTable()
    made.add("/", "e", nothing)
    made.add("/", "e", print)
    found = made.find("/", "e")
    assert found is not None
    assert found.fn is print


def test_has_namespace_means_exactly_this_name() -> None:
    made = table(("*", "e"), ("/x", "e"))
    made.add_class("/c", lambda event: None)
    assert made.has_namespace("/x")
    assert made.has_namespace("/c")
    assert not made.has_namespace("/")


@pytest.mark.parametrize(("namespace", "event"), [(None, "e"), ("/", None), ("/", 3)])
def test_names_are_text(namespace: object, event: object) -> None:
    with pytest.raises(TypeError, match="must be text"):
        HandlerTable().add(namespace, event, nothing)  # type: ignore[arg-type]  # the mistake is the test


def test_a_handler_is_callable() -> None:
    with pytest.raises(TypeError, match="'go' in namespace '/' must be callable, not 5"):
        HandlerTable().add("/", "go", 5)  # type: ignore[arg-type]  # the mistake is the test


class Callable0:
    """A callable object without arguments."""

    def __call__(self) -> None:
        """Nothing."""


class CallableAsync:
    """An async callable object."""

    async def __call__(self, auth: object) -> None:
        """Nothing."""


def plain_wrapper(fn: Callable[..., object]) -> Callable[..., object]:
    def wrapper(*args: object, **kwargs: object) -> object:
        return fn(*args, **kwargs)

    return wrapper


def good_wrapper(fn: Callable[..., object]) -> Callable[..., object]:
    return functools.wraps(fn)(plain_wrapper(fn))


def narrow_wrapper(fn: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(fn)
    def wrapper() -> object:
        return fn(None)

    return wrapper


def no_arguments() -> None:
    """A connect handler of the old kind."""


def one_argument(auth: object) -> None:
    """A connect handler of the new kind."""


def optional(auth: object = None) -> None:
    """Either."""


def keyword_only(*, auth: object = None) -> None:
    """Cannot take it by position."""


class Methods:
    """A class-based namespace."""

    def without(self) -> None:
        """No auth."""

    def with_auth(self, auth: object) -> None:
        """Auth."""


@pytest.mark.parametrize(
    ("fn", "takes"),
    [
        (no_arguments, False),
        (one_argument, True),
        (optional, True),
        (nothing, True),
        (keyword_only, False),
        (Methods().without, False),
        (Methods().with_auth, True),
        (functools.partial(one_argument), True),
        (functools.partial(one_argument, 1), False),
        (Callable0(), False),
        (CallableAsync(), True),
        (good_wrapper(no_arguments), False),
        (good_wrapper(one_argument), True),
        (narrow_wrapper(one_argument), False),
        (plain_wrapper(no_arguments), True),
        (dict, True),
    ],
)
def test_the_signature_decides_what_connect_and_disconnect_get(fn: Callable[..., object], takes: bool) -> None:
    connect = Handler.make(fn, "connect", "/")
    assert connect.connect_args({"a": 1}) == (({"a": 1},) if takes else ())
    disconnect = Handler.make(fn, "disconnect", "/")
    assert disconnect.disconnect_args("ping timeout") == (("ping timeout",) if takes else ())


def failure(handler: Handler, *args: object) -> BaseException:
    try:
        handler.fn(*args)
    except Exception as error:
        return error
    raise AssertionError("the handler did not fail")


def raises_inside(*args: object) -> None:
    raise TypeError("takes 1 positional argument but 2 were given")


def calls_wrongly(*args: object) -> None:
    no_arguments(*args)


def takes_and_calls_wrongly(auth: object) -> None:
    no_arguments(auth)  # type: ignore[call-arg]  # the application's own mistake


def test_a_decorator_that_hides_the_signature_is_found_out() -> None:
    once = Handler.make(plain_wrapper(no_arguments), "connect", "/")
    assert once.failed_to_bind(failure(once, {}))
    twice = Handler.make(plain_wrapper(plain_wrapper(no_arguments)), "disconnect", "/")
    assert twice.failed_to_bind(failure(twice, "reason"))


@pytest.mark.parametrize(
    "fn",
    [
        plain_wrapper(takes_and_calls_wrongly),  # a frame of the application that took the argument ran
        plain_wrapper(lambda auth: int("x")),  # another error
        plain_wrapper(lambda auth: auth["a"]["b"]),  # a TypeError without a call
    ],
)
def test_a_mistake_of_the_application_is_no_binding_failure(fn: Callable[..., object]) -> None:
    handler = Handler.make(fn, "connect", "/")
    assert not handler.failed_to_bind(failure(handler, {"a": None}))


def test_other_events_and_a_handler_that_took_nothing_are_never_called_again() -> None:
    event = Handler.make(plain_wrapper(no_arguments), "message", "/")
    assert not event.failed_to_bind(failure(event, {}))
    bare = Handler.make(no_arguments, "connect", "/")
    assert not bare.failed_to_bind(failure(bare, {}))


async def coroutine(auth: object) -> None:
    """An async handler."""


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (coroutine, True),
        (functools.partial(coroutine, 1), True),
        (functools.partial(functools.partial(coroutine), 1), True),
        (CallableAsync(), True),
        (Callable0(), False),
        (no_arguments, False),
        (print, False),
    ],
)
def test_async_handlers_are_told_apart(fn: Callable[..., object], expected: bool) -> None:
    assert Handler.make(fn, "e", "/").is_async is expected


def test_options_travel_with_the_handler() -> None:
    options = HandlerOptions(cancel_on_disconnect=False, timeout=3.0)
    made = HandlerTable()
    assert made.add("/", "e", nothing, options).options is options
    assert made.add("/", "f", nothing).options == HandlerOptions()
