"""The executor and the sessions that tests stand on keep their own promises; the hub without an engine."""

from __future__ import annotations

import builtins

import pytest

from tests.hub.harness import House, texts
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.exceptions import UsageError
from trioflask_sio.hub.config import HubConfig
from trioflask_sio.hub.handlers import HandlerTable
from trioflask_sio.hub.hub import Hub
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.testing.inline import InlineExecutor


class Waiter:
    """A ``call()`` that nobody can answer."""

    def __init__(self) -> None:
        self.left = 0

    def answered(self, args: tuple[object, ...]) -> None:
        """Never."""

    def gone(self) -> None:
        """Count."""
        self.left += 1


def test_an_executor_without_a_hub_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"call attach\(hub\)"):
        _ = InlineExecutor().hub


def test_async_handlers_are_refused_with_a_sentence() -> None:
    async def handler() -> None:
        """Needs a loop."""

    house = House()
    house.on("e", handler)
    session, _ = house.join()
    session.receive('21["e"]')
    (error,) = house.executor.errors
    assert isinstance(error, UsageError)
    assert texts(session) == []


def test_the_builtin_refusal_is_taken_for_ours() -> None:
    def connect() -> None:
        raise builtins.ConnectionRefusedError("closed on Sundays")

    house = House()
    house.on("connect", connect)
    session = house.engine.open()
    session.receive("0")
    assert texts(session) == ['4{"message":"closed on Sundays"}']


def test_jobs_that_a_handler_causes_run_after_it() -> None:
    house = House()
    order: list[str] = []

    def first() -> None:
        session.receive('2["second"]')
        order.append("first")

    house.on("first", first)
    house.on("second", lambda: order.append("second"))
    session, _ = house.join()
    session.receive('2["first"]')
    assert order == ["first", "second"]


def test_stepping_takes_one_job_of_each_lane_in_turn() -> None:
    house = House(stepwise=True)
    seen: list[tuple[str, int]] = []
    house.on("e", lambda number: seen.append((house.sender(), number)))
    sessions = [house.join()[0] for _ in range(2)]
    for session in sessions:
        session.receive('2["e",1]', '2["e",2]')
    assert house.executor.step()
    assert house.executor.step()
    assert seen == [("sid-1", 1), ("sid-2", 1)]
    assert house.executor.run() == 2
    assert not house.executor.step()


def test_a_hub_without_an_engine_reaches_nobody_and_tells_who_waits() -> None:
    executor = InlineExecutor()
    hub = Hub(HubConfig(), HandlerTable(), executor)
    waiter = Waiter()
    hub.emit(hub.encode("/", "e", ()))
    hub.emit(hub.encode("/", "e", (), callback=waiter))
    hub.flush()
    assert waiter.left == 1
    assert hub.disconnect("sid", "/") is None


def test_fake_sessions_close_once_and_take_nothing_afterwards() -> None:
    house = House()
    session, _ = house.join()
    session.enqueue(Outgoing(("a",)))
    session.close(CloseReason.PING_TIMEOUT)
    session.close(CloseReason.TRANSPORT_CLOSE)
    assert session.close_reason is CloseReason.PING_TIMEOUT
    assert texts(session) == ["a"]
    assert not session.send(Outgoing(("b",)))
    assert house.engine.sessions == {}
    with pytest.raises(AssertionError, match="3 bytes were released that nobody held"):
        session.release(3)


def test_fake_timers_fire_in_order_and_not_when_cancelled() -> None:
    timers = House().engine.timers
    fired: list[tuple[str, float]] = []
    timers.call_later(2, lambda: fired.append(("late", timers.now)))
    timers.call_later(1, lambda: fired.append(("early", timers.now)))
    timers.call_later(1, lambda: fired.append(("never", timers.now))).cancel()
    assert len(timers) == 2
    timers.advance(1.5)
    timers.advance(1.5)
    assert fired == [("early", 1.0), ("late", 2.0)]
    assert timers.clock() == 3.0


def test_state_shows_in_repr() -> None:
    house = House()
    house.on("e", house.executor.park)
    session, socket = house.join()
    session.receive('2["e"]')
    assert repr(socket) == "<Socket sid-1 in '/' connected>"
    assert repr(socket.client) == "<Client eio-1 [<Socket sid-1 in '/' connected>]>"
    assert repr(house.executor.parked[0]) == "<Job event 'e' for <Socket sid-1 in '/' connected>>"


def test_removing_a_socket_twice_counts_once() -> None:
    house = House()
    _, first = house.join()
    house.join()
    house.hub.disconnect(first.sid, "/")
    house.hub._wiring.remove(first)
    assert house.hub._wiring.population == {"/": 1}
