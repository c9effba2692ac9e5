"""Answers of clients: ids, callbacks, waiters (spec 2.3, decisions 6.4 #8 and #10)."""

from __future__ import annotations

import itertools

import pytest

from tests.hub.harness import House, texts
from trioflask_sio.engine.reasons import CloseReason


class Waiter:
    """A ``call()`` in the middle."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def answered(self, args: tuple[object, ...]) -> None:
        """Note the answer."""
        self.heard.append(args)

    def gone(self) -> None:
        """Note that nobody will answer."""
        self.heard.append("gone")


def test_ids_are_integers_from_one_per_sid() -> None:
    house = House()
    first, _ = house.join()
    second, _ = house.join()
    house.emit("a", callback=print)
    house.emit("b", rooms=["sid-2"], callback=print)
    house.emit("c", callback=print)
    assert texts(first) == ['21["a"]', '22["c"]']
    assert texts(second) == ['21["a"]', '22["b"]', '23["c"]']


@pytest.mark.parametrize(
    ("packet", "args"),
    [("31[]", ()), ('31["x",{"a":1}]', ("x", {"a": 1})), ("31", ()), ("31[null]", (None,))],
)
def test_a_callback_gets_the_answer(packet: str, args: tuple[object, ...]) -> None:
    house = House()
    session, _ = house.join()
    heard: list[object] = []
    house.emit("e", callback=lambda *answer: heard.append(answer))
    session.receive(packet)
    assert heard == [args]


def test_a_binary_answer() -> None:
    house = House()
    session, _ = house.join()
    heard: list[object] = []
    house.emit("e", callback=lambda *answer: heard.append(answer))
    session.receive('61-1[{"_placeholder":true,"num":0}]', b"\x07")
    assert heard == [(b"\x07",)]


@pytest.mark.parametrize("packet", ["32[]", "30[]", "3[]", "31[]"])
def test_unknown_and_repeated_answers_are_ignored(packet: str) -> None:
    house = House()
    session, _ = house.join()
    heard: list[object] = []
    house.emit("e", callback=lambda *answer: heard.append(answer))
    session.receive("31[1]", packet)
    assert heard == [(1,)]
    assert not session.closed
    assert house.hub.stats["acks_unknown"] == 1


def test_a_broadcasts_callback_runs_once_per_receiver() -> None:
    house = House()
    sessions = [house.join()[0] for _ in range(3)]
    heard: list[object] = []
    house.emit("e", callback=heard.append)
    for number, session in enumerate(sessions):
        session.receive(f"31[{number}]")
    assert heard == [0, 1, 2]


def test_a_callback_of_a_handler_runs_in_its_sockets_lane() -> None:
    house = House(stepwise=True)
    order: list[object] = []
    house.on("go", lambda: house.emit("e", rooms=["sid-2"], sender="sid-1", callback=callback))
    house.on("next", lambda: order.append("next"))

    def callback(*args: object) -> None:
        assert house.executor.current is not None
        order.append((house.executor.current.socket.sid, args))

    session, _ = house.join()
    other, _ = house.join()
    session.receive('2["go"]')
    house.executor.run()
    session.receive('2["next"]')
    other.receive('31["x"]')
    assert order == []
    house.executor.run()
    assert order == ["next", ("sid-1", ("x",))]


def test_a_callback_is_dropped_when_the_one_who_emitted_has_left() -> None:
    house = House()
    heard: list[object] = []
    house.on("go", lambda: house.emit("e", rooms=["sid-2"], sender="sid-1", callback=heard.append))
    session, _ = house.join()
    other, _ = house.join()
    session.receive('2["go"]', "1")
    other.receive("31[1]")
    assert heard == []
    assert house.hub.stats["callbacks_dropped"] == 1


def test_answers_are_read_while_the_connect_handler_runs() -> None:
    house = House(stepwise=True)
    waiter = Waiter()
    house.on("connect", lambda: None)
    session = house.engine.open()
    session.receive("0")
    # As a call() in the connect handler would, which waits for its answer in a worker's thread.
    assert house.hub.sockets["sid-1"].lane.take("worker") is not None
    house.emit("ask", rooms=["sid-1"], sender="sid-1", callback=waiter)
    assert texts(session) == ['21["ask"]']
    session.receive("31[5]")
    assert waiter.heard == [(5,)]


def test_answers_are_read_while_the_lane_is_busy() -> None:
    house = House(stepwise=True)
    waiter = Waiter()
    house.on("slow", house.executor.park)
    session, _ = house.join()
    session.receive('2["slow"]', '2["slow"]')
    house.executor.step()
    house.emit("ask", rooms=["sid-1"], sender="sid-1", callback=waiter)
    session.receive("31[5]")
    assert waiter.heard == [(5,)]


def test_awaiting_answer_tells_the_engine() -> None:
    house = House(namespaces=["/", "/x"])
    session, _ = house.join()
    house.join("/x", session)
    assert not session.awaiting_answer()
    house.emit("e", namespace="/x", callback=print)
    assert session.awaiting_answer()
    session.receive("3/x,1[]")
    assert not session.awaiting_answer()


def test_a_waiter_hears_that_its_client_left() -> None:
    house = House()
    session, _ = house.join()
    waiter = Waiter()
    house.emit("e", rooms=["sid-1"], callback=waiter)
    session.close(CloseReason.PING_TIMEOUT)
    assert waiter.heard == ["gone"]
    house.assert_empty()


def test_a_waiter_for_nobody_hears_it_at_once() -> None:
    house = House()
    session, _ = house.join()
    session.full = True
    for rooms in (["nobody"], [], ["sid-1"]):
        waiter = Waiter()
        house.emit("e", rooms=rooms, callback=waiter)
        assert waiter.heard == ["gone"]
    assert len(house.hub._acks) == 0
    assert not session.awaiting_answer()


@pytest.mark.parametrize("order", list(itertools.permutations(["a leaves", "b leaves"])))
def test_a_waiter_for_two_is_told_when_the_last_has_left(order: tuple[str, ...]) -> None:
    house = House()
    sessions = {"a leaves": house.join()[0], "b leaves": house.join()[0]}
    waiter = Waiter()
    house.emit("e", callback=waiter)
    sessions[order[0]].receive("1")
    assert waiter.heard == []
    sessions[order[1]].receive("1")
    assert waiter.heard == ["gone"]


def test_who_was_answered_once_is_not_told_that_the_rest_left() -> None:
    house = House()
    first, _ = house.join()
    second, _ = house.join()
    waiter = Waiter()
    house.emit("e", callback=waiter)
    first.receive("31[1]")
    second.receive("1")
    assert waiter.heard == [(1,)]
    house.hub.session_closed(first, CloseReason.TRANSPORT_CLOSE)
    house.assert_empty()


def test_a_waiter_that_gave_up_leaves_nothing_behind() -> None:
    house = House()
    session, socket = house.join()
    waiter = Waiter()
    house.emit("e", callback=waiter)
    house.hub.withdraw(waiter)
    house.hub.withdraw(waiter)
    assert not session.awaiting_answer()
    assert not socket.acks
    session.receive("31[1]", "1")
    assert waiter.heard == []
    assert house.hub.stats["acks_unknown"] == 1


def test_a_plain_callback_of_a_departed_client_is_dropped_silently() -> None:
    house = House()
    session, _ = house.join()
    heard: list[object] = []
    house.emit("e", callback=heard.append)
    session.close(CloseReason.TRANSPORT_CLOSE)
    assert heard == []
    house.assert_empty()


def test_asking_a_client_that_is_not_read_from_ends_at_once_and_others_go_on() -> None:
    house = House(stepwise=True)
    house.on("e", lambda: None)
    session, _ = house.join()
    other, _ = house.join()
    session.inbound_limit = 1
    session.receive('2["e"]')
    waiter = Waiter()
    house.emit("ask", callback=waiter)
    assert session.close_reason is CloseReason.INBOUND_OVERFLOW
    assert not other.closed
    assert waiter.heard == []
    other.receive("31[1]")
    assert waiter.heard == [(1,)]


def test_a_callback_does_not_queue_behind_a_departed_clients_last_events() -> None:
    house = House(stepwise=True)
    heard: list[object] = []
    house.on("slow", house.executor.park)
    session, socket = house.join()
    other, _ = house.join()
    session.receive('2["slow"]')
    house.executor.run()
    house.emit("e", rooms=["sid-2"], sender="sid-1", callback=heard.append)
    session.receive("1")
    other.receive("31[1]")
    assert not socket.lane.jobs
    house.executor.run()
    assert heard == []
