"""Out of a namespace, exactly once, whatever the causes (spec 1.6, 2.8; design §3, §8.8, §8.9)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hub.harness import House, texts
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.hub.socket import Socket, SocketState
from trioflask_sio.testing.inline import InlineExecutor
from trioflask_sio.testing.sessions import FakeSession

Cause = Callable[[House, FakeSession, Socket], object]

CAUSES: dict[str, tuple[Cause, str]] = {
    "the client says goodbye": (lambda house, session, socket: session.receive("1"), "client disconnect"),
    "the connection breaks": (
        lambda house, session, socket: session.close(CloseReason.TRANSPORT_CLOSE),
        "transport close",
    ),
    "no pong": (lambda house, session, socket: session.close(CloseReason.PING_TIMEOUT), "ping timeout"),
    "the server puts it out": (
        lambda house, session, socket: house.hub.disconnect(socket.sid, "/"),
        "server disconnect",
    ),
    "the client breaks the protocol": (lambda house, session, socket: session.receive("2{}"), "transport error"),
    "the server stops": (
        lambda house, session, socket: session.close(CloseReason.SERVER_SHUTDOWN),
        "server disconnect",
    ),
}


@pytest.mark.parametrize("causes", list(itertools.permutations(CAUSES, 2)), ids=" and then ".join)
def test_one_disconnect_handler_with_the_first_reason(causes: tuple[str, ...]) -> None:
    house = House()
    left: list[object] = []
    house.on("disconnect", left.append)
    session, socket = house.join()
    for cause in causes:
        CAUSES[cause][0](house, session, socket)
    assert left == [CAUSES[causes[0]][1]]
    assert socket.ended
    assert socket.state is SocketState.GONE
    assert socket.left_at is not None
    house.assert_empty()


class Story:
    """One client brought to a stage of its life, then hit by anything in any order."""

    def __init__(self, stage: str, *, handled: bool, held: bool, accepts: bool, always: bool) -> None:
        self.house = House(stepwise=True, always_connect=always)
        self.stage = stage
        self.left: list[str] = []
        self.ran: list[int] = []
        self.first: str | None = None
        self.house.on("e", self.event)
        if stage == "connecting":
            self.house.on("connect", lambda: accepts)
        if handled:
            self.house.on("disconnect", self.left.append)
        self.house.executor.hold_disconnects = held
        self.session = self.house.engine.open()
        self.session.receive("0")
        self.socket = self.house.hub.sockets["sid-1"]
        if stage != "connected":
            self.session.receive(*(f'2["e",{number}]' for number in range(3)))
        if stage == "running":
            self.house.executor.step()

    def event(self, number: int) -> None:
        assert not self.left, "an event started after the disconnect handler"
        self.ran.append(number)
        if self.stage == "running" and number == 0:
            self.house.executor.park()

    def happen(self, what: str) -> None:
        house = self.house
        if what in CAUSES:
            if not self.socket.ended:
                self.first = what
            CAUSES[what][0](house, self.session, self.socket)
            return
        {
            "jobs run": house.executor.run,
            "the waiting handler ends": self.finish,
            "a second passes": lambda: house.engine.timers.advance(1),
            "disconnect handlers end": house.executor.end_disconnects,
        }[what]()

    def finish(self) -> None:
        for job in tuple(self.house.executor.parked):
            self.house.executor.finish(job)

    def end(self) -> None:
        self.happen("the connection breaks")
        self.house.executor.run()
        self.finish()
        self.house.engine.timers.advance(10)
        self.house.executor.end_disconnects()


STAGES = st.sampled_from(["connecting", "connected", "queued", "running"])
OTHERS = ("jobs run", "the waiting handler ends", "a second passes", "disconnect handlers end")
HAPPENINGS = st.lists(st.sampled_from([*CAUSES, *OTHERS]), max_size=9)


@given(stage=STAGES, happenings=HAPPENINGS, held=st.booleans(), always=st.booleans())
def test_all_causes_race_in_any_stage(stage: str, happenings: list[str], held: bool, always: bool) -> None:
    story = Story(stage, handled=True, held=held, accepts=True, always=always)
    for happening in happenings:
        story.happen(happening)
    story.end()
    assert story.first is not None
    if story.socket.decided:
        assert story.left == [CAUSES[story.first][1]]
    else:
        # The server put it out before its connect handler began.
        assert (stage, story.first, story.left) == ("connecting", "the server puts it out", [])
    assert story.ran == sorted(set(story.ran))
    assert story.session.held == 0
    story.house.assert_empty()


@given(happenings=HAPPENINGS, held=st.booleans(), always=st.booleans())
def test_a_refused_client_never_meets_the_disconnect_handler(happenings: list[str], held: bool, always: bool) -> None:
    story = Story("connecting", handled=True, held=held, accepts=False, always=always)
    for happening in happenings:
        story.happen(happening)
    story.end()
    assert (story.left, story.ran) == ([], [])
    assert story.session.held == 0
    story.house.assert_empty()


@given(stage=STAGES, happenings=HAPPENINGS, accepts=st.booleans())
def test_without_a_disconnect_handler_the_last_trace_goes_by_itself(
    stage: str, happenings: list[str], accepts: bool
) -> None:
    story = Story(stage, handled=False, held=False, accepts=accepts, always=False)
    for happening in happenings:
        story.happen(happening)
    story.end()
    assert story.socket.state is SocketState.GONE
    assert story.session.held == 0
    story.house.assert_empty()


def test_out_of_every_fan_out_at_once_and_rooms_answer_until_the_handler_has_ended() -> None:
    house = House()
    house.executor.hold_disconnects = True
    seen: list[object] = []

    @house.handles("disconnect")
    def disconnect(reason: str) -> None:
        seen.append((reason, house.hub.rooms("sid-1", "/")))
        house.hub.leave_room("sid-1", "/", "a")
        house.hub.enter_room("sid-1", "/", "b")
        seen.append(house.hub.rooms("sid-1", "/"))
        house.emit("bye", rooms=["sid-1", "a"])

    session, socket = house.join()
    house.hub.enter_room("sid-1", "/", "a")
    session.receive("1")
    assert seen == [("client disconnect", ["sid-1", "a"]), ["sid-1"]]
    assert texts(session) == []
    assert list(house.hub.adapter.participants("/", None)) == []
    assert house.hub.find("sid-1", "/") is socket
    house.executor.end_disconnects()
    assert house.hub.rooms("sid-1", "/") == []
    assert house.hub.find("sid-1", "/") is None
    house.assert_empty()


def test_events_that_came_before_the_end_run_before_the_disconnect_handler() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    house.on("e", seen.append)
    house.on("disconnect", seen.append)
    session, _ = house.join()
    session.receive('2["e",1]', '2["e",2]', "1")
    assert seen == []
    house.executor.run()
    assert seen == [1, 2, "client disconnect"]
    house.assert_empty()


def test_the_grace_ends_the_waiting_and_nothing_starts_after_the_disconnect_handler() -> None:
    house = House(stepwise=True, disconnect_grace=5.0)
    seen: list[object] = []

    @house.handles("e")
    def event(number: int) -> None:
        seen.append(number)
        house.executor.park()

    house.on("disconnect", seen.append)
    session, socket = house.join()
    session.receive('2["e",1]', '2["e",2]')
    house.executor.step()
    session.close(CloseReason.PING_TIMEOUT)
    house.engine.timers.advance(4.9)
    assert seen == [1]
    house.engine.timers.advance(0.2)
    assert seen == [1, "ping timeout"]
    house.executor.run()
    assert seen == [1, "ping timeout"]
    assert house.hub.stats["events_dropped"] == 1
    assert session.held == len('2["e",1]')
    (job,) = house.executor.parked
    house.executor.finish(job)
    assert session.held == 0
    assert not socket.lane.post(job)
    house.assert_empty()


def test_the_handler_comes_as_soon_as_the_last_one_has_ended() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    house.on("e", house.executor.park)
    house.on("disconnect", seen.append)
    session, _ = house.join()
    session.receive('2["e"]', '2["e"]')
    house.executor.run()
    first, second = house.executor.parked
    session.receive("1")
    house.executor.finish(second)
    assert seen == []
    house.executor.finish(first)
    assert seen == ["client disconnect"]
    house.assert_empty()


def test_after_a_server_disconnect_queued_events_are_dropped_and_counted() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    house.on("e", seen.append)
    house.on("disconnect", seen.append)
    session, _ = house.join()
    session.receive('2["e",1]', '2["e",2]')
    house.hub.disconnect("sid-1", "/")
    house.executor.run()
    assert seen == ["server disconnect"]
    assert house.hub.stats["events_dropped"] == 2
    assert session.held == 0


def test_the_server_puts_a_client_out_of_one_namespace_only() -> None:
    house = House(namespaces=["/", "/x"])
    session, _ = house.join()
    house.join("/x", session)
    socket = house.hub.disconnect("sid-2", "/x")
    assert socket is not None
    assert texts(session) == ["1/x,"]
    assert not session.closed
    assert socket.reason_detail == "server namespace disconnect"
    house.emit("e")
    assert texts(session) == ['2["e"]']
    assert house.hub.disconnect("sid-2", "/x") is None
    assert house.hub.disconnect("sid-1", "/x") is None
    assert house.hub.disconnect("unknown", "/") is None
    assert texts(session) == []


def test_what_was_emitted_before_a_disconnect_arrives_before_it() -> None:
    house = House()
    session, _ = house.join()
    house.hub.emit(house.hub.encode("/", "last words", ()))
    house.hub.disconnect("sid-1", "/")
    assert texts(session) == ['2["last words"]', "1"]


def test_a_server_disconnect_may_end_the_connection_too() -> None:
    house = House(namespaces=["/", "/x"])
    left: list[object] = []
    house.on("disconnect", left.append)
    house.on("disconnect", left.append, "/x")
    session, _ = house.join()
    house.join("/x", session)
    house.hub.disconnect("sid-1", "/", close=True)
    assert session.close_reason is CloseReason.SERVER_DISCONNECT
    assert left == ["server disconnect", "server disconnect"]
    assert texts(session) == ["1"]
    house.assert_empty()


def test_a_nested_disconnect_leaves_the_handler_to_the_caller() -> None:
    house = House()
    order: list[object] = []

    @house.handles("leave")
    def leave() -> None:
        socket = house.hub.disconnect(house.sender(), "/", run_handler=False)
        assert socket is not None
        order.append(house.hub.rooms(socket.sid, "/"))
        house.engine.timers.advance(60)
        house.hub.disconnected(socket)
        house.hub.disconnected(socket)
        order.append(house.hub.rooms(socket.sid, "/"))

    house.on("disconnect", lambda reason: order.append("run by the hub"))
    session, _ = house.join()
    session.receive('2["leave"]')
    assert order == [["sid-1"], []]
    house.assert_empty()


def test_joining_again_is_a_new_socket() -> None:
    house = House(stepwise=True)
    house.executor.hold_disconnects = True
    house.on("disconnect", lambda: None)
    session, first = house.join()
    session.receive("1")
    _, second = house.join("/", session)
    assert (first.sid, second.sid) == ("sid-1", "sid-2")
    assert first.state is SocketState.LEAVING
    house.emit("e")
    assert texts(session) == ['2["e"]']
    house.executor.end_disconnects()
    assert list(house.hub.sockets) == ["sid-2"]


def test_the_end_of_a_connection_reaches_every_namespace() -> None:
    house = House(namespaces=["/", "/x"])
    left: list[object] = []
    house.on("disconnect", lambda reason: left.append(("/", reason)))
    house.on("disconnect", lambda: left.append("/x"), "/x")
    session, _ = house.join()
    house.join("/x", session)
    session.close(CloseReason.TRANSPORT_CLOSE)
    assert left == [("/", "transport close"), "/x"]
    house.assert_empty()


def test_a_client_that_goes_while_connecting_meets_the_disconnect_handler_if_accepted() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    house.on("connect", lambda: seen.append("connect"))
    house.on("e", seen.append)
    house.on("disconnect", seen.append)
    session = house.engine.open()
    session.receive("0", '2["e",1]')
    session.close(CloseReason.TRANSPORT_CLOSE)
    house.engine.timers.advance(60)
    assert seen == []
    house.executor.run()
    assert seen == ["connect", 1, "transport close"]
    assert texts(session) == []
    assert session.confirmed == 0
    assert session.held == 0
    house.assert_empty()


def test_a_client_that_goes_while_connecting_and_is_refused_does_not() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    house.on("connect", lambda: False)
    house.on("e", seen.append)
    house.on("disconnect", seen.append)
    session = house.engine.open()
    session.receive("0", '2["e",1]', "1")
    house.executor.run()
    assert seen == []
    assert texts(session) == []
    assert session.held == 0
    house.assert_empty()


def test_the_executor_is_told_once_and_after_the_client_counts_as_gone() -> None:
    class Watching(InlineExecutor):
        """Notes whether the socket has ended when it is told."""

        def cancel(self, socket: Socket, /) -> None:
            """Note it."""
            states.append(socket.ended)
            super().cancel(socket)

    states: list[bool] = []
    house = House(executor=Watching())
    session, socket = house.join()
    session.receive("1")
    session.close(CloseReason.TRANSPORT_CLOSE)
    assert states == [True]
    assert house.executor.cancelled == [socket]


def test_answers_to_a_client_that_has_left_go_nowhere() -> None:
    house = House(stepwise=True)
    house.on("e", lambda: "answer")
    session, _ = house.join()
    session.receive('21["e"]', "1")
    house.executor.run()
    assert texts(session) == []


def test_room_functions_of_unknown_and_departed_clients() -> None:
    house = House()
    with pytest.raises(ValueError, match="sid is not connected to requested namespace"):
        house.hub.enter_room("sid-1", "/", "r")
    house.join()
    with pytest.raises(KeyError):
        house.hub.enter_room("unknown", "/", "r")
    house.hub.leave_room("unknown", "/", "r")
    house.hub.leave_room("sid-1", "/", "nowhere")
    house.hub.close_room("nowhere", "/nowhere")
    assert house.hub.rooms("unknown", "/") == []
    house.hub.enter_room("sid-1", "/", "r")
    house.hub.leave_room("sid-1", "/", "r")
    assert house.hub.rooms("sid-1", "/") == ["sid-1"]


def test_thousands_of_clients_leave_nothing() -> None:
    house = House(namespaces=["/", "/x"])
    house.on("disconnect", lambda: None)
    house.on("connect", lambda: house.hub.enter_room(house.sender(), "/", "room"))
    for number in range(1_000):
        session, socket = house.join()
        house.join("/x", session)
        house.emit("e", rooms=["room"], callback=print)
        cause = list(CAUSES)[number % len(CAUSES)]
        CAUSES[cause][0](house, session, socket)
        session.close(CloseReason.TRANSPORT_CLOSE)
    house.assert_empty()
    assert house.engine.sessions == {}


def test_nothing_of_a_client_starts_while_its_disconnect_handler_runs() -> None:
    house = House(stepwise=True)
    house.executor.hold_disconnects = True
    seen: list[object] = []

    @house.handles("e")
    def event(number: int) -> None:
        seen.append(number)
        house.executor.park()

    house.on("disconnect", seen.append)
    session, _ = house.join()
    session.receive('2["e",1]', '2["e",2]')
    house.executor.step()
    session.receive("1")
    house.engine.timers.advance(6)
    house.executor.run()
    assert seen == [1, "client disconnect"]


def test_a_nested_disconnect_is_not_repeated_when_other_handlers_end_or_the_grace_does() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    house.on("slow", house.executor.park)

    @house.handles("leave")
    def leave() -> None:
        socket = house.hub.disconnect(house.sender(), "/", run_handler=False)
        assert socket is not None
        for job in tuple(house.executor.parked):
            house.executor.finish(job)
        house.engine.timers.advance(60)
        assert not house.hub._departures.leave(socket, "ping timeout", "ping timeout")
        house.hub.disconnected(socket)

    house.on("disconnect", seen.append)
    session, _ = house.join()
    session.receive('2["slow"]', '2["leave"]')
    house.executor.run()
    assert seen == []
    house.assert_empty()


def test_leaving_twice_is_leaving_once() -> None:
    house = House(stepwise=True)
    house.on("slow", house.executor.park)
    session, socket = house.join()
    session.receive('2["slow"]')
    house.executor.run()
    departures = house.hub._departures
    assert departures.leave(socket, "client disconnect", "first")
    assert not departures.leave(socket, "ping timeout", "second")
    assert (socket.reason, socket.reason_detail) == ("client disconnect", "first")
    assert house.executor.cancelled == [socket]


def test_a_server_that_stops_does_not_wait_for_the_grace() -> None:
    house = House(stepwise=True)
    seen: list[object] = []
    told: list[int] = []
    house.hub.when_empty(lambda: told.append(len(house.hub.sockets)))
    house.on("slow", house.executor.park)
    house.on("connect", lambda: None, "/x")
    house.on("disconnect", seen.append)
    house.on("disconnect", seen.append, "/x")
    stays, _ = house.join()
    session, _ = house.join()
    session.receive('2["slow"]')
    house.executor.run()
    session.receive("0/x,")
    session.close(CloseReason.SERVER_SHUTDOWN)
    house.hub.hurry()
    # Told is the one with a stuck handler; not the one whose connect handler never decided, nor the one that stays.
    assert seen == ["server disconnect"]
    assert list(house.hub.sockets) == ["sid-1"]
    assert told == []
    stays.close(CloseReason.SERVER_SHUTDOWN)
    assert told == [0]
    house.hub.when_empty(None)
    house.join()[0].receive("1")
    assert told == [0]
