"""Events, answers, callbacks and questions over real servers."""

from __future__ import annotations

import queue
import threading
from typing import Any

import requests
from flask import has_request_context

from tests.parity.kit import Transcript, outcome, req
from tests.parity.wire_kit import SECONDS, Stage, Wire, wire


def _answers(stage: Stage) -> None:
    results: dict[str, Any] = {
        "None": None, "False": False, "list": [1, 2], "tuple": (1, 2), "()": (), "(5,)": (5,), "dict": {"a": 1},
        "bytes": b"\x00\xff", "nested bytes": {"a": [b"x", 1]},
    }  # fmt: skip
    stage.on("ask")(lambda what: results[what])
    stage.on("echo")(lambda *args: args)


@wire("1.4.5", serve=_answers)
def answers(wire: Wire, t: Transcript) -> None:
    with wire.visit(transports=("websocket",)) as visitor:
        for what in ("None", "False", "list", "tuple", "()", "(5,)", "dict", "bytes", "nested bytes"):
            t.note(what, visitor.ask("ask", what))


@wire("1.4.5, 2.1", serve=_answers)
def arguments(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        lists: list[tuple[Any, ...]] = [(1, "two"), ({"a": [None, True]},), (b"\x01", [b"\x02"]), ("ü 😀",), ([],)]
        for args in lists:
            t.note(repr(args), visitor.ask("echo", *args))


def _talks(stage: Stage) -> None:
    api = stage.api

    @stage.on("all kinds")
    def all_kinds() -> None:
        api.emit("one", 1)
        api.emit("two", (1, 2))
        api.emit("bytes", {"b": b"\x00"})
        api.emit("none")
        api.send("text")
        api.send({"a": 1}, json=True)


@wire("1.9.1, 1.10.2, 1.10.3", serve=_talks)
def emits_and_sends(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        visitor.emit("all kinds")
        t.note("heard", visitor.next_sorted(6))


def _asks_back(stage: Stage) -> None:
    api = stage.api

    @stage.on("start")
    def start(kind: str) -> None:
        def told(*args: object) -> None:
            event = req.event
            stage.note([kind, req.sid != "", req.namespace, event["message"], list(event["args"]), list(args)])

        api.emit(kind, callback=told)


@wire("1.4.4, 1.9.1", serve=_asks_back)
def callbacks(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        visitor.answers = {"nothing": None, "one": 5, "several": (1, [2]), "bytes": b"x"}
        for count, kind in enumerate(("nothing", "one", "several"), 1):
            visitor.emit("start", kind)
            t.note(kind, wire.noted(count)[-1])


def _asks_a_room(stage: Stage) -> None:
    api = stage.api
    stage.on("join")(lambda: api.join_room("room"))
    stage.on("ask all")(lambda: api.emit("question", to="room", callback=lambda *args: stage.note(list(args))))


@wire("1.14, 6.4 #8", serve=_asks_a_room)
def callbacks_of_a_room(wire: Wire, t: Transcript) -> None:
    with wire.visit() as one, wire.visit() as two:
        for visitor, answer in ((one, "from one"), (two, "from two")):
            visitor.answers = {"question": answer}
            visitor.ask("join")
        one.emit("ask all")
        t.note("once for each", sorted(wire.noted(2)))


def _fails_in_a_callback(stage: Stage) -> None:
    stage.sio.on_error(stage.namespace)(lambda error: stage.note([type(error).__name__, req.event["message"]]))
    stage.on("start")(lambda: stage.api.emit("question", callback=lambda: 1 // 0))


@wire("1.7.4, 1.9.1", serve=_fails_in_a_callback)
def errors_in_callbacks(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        visitor.emit("start")
        t.note("the error handler", wire.noted(1))


def _calls(stage: Stage) -> None:
    api = stage.api
    stage.on("call me")(lambda question, *args: ["answer", outcome(lambda: api.call(question, *args))])
    stage.on("call")(
        lambda sid, timeout: outcome(lambda: api.call("silence", to=sid, timeout=timeout, namespace=stage.namespace))
    )
    stage.on("from outside")(
        lambda sid: outcome(lambda: stage.sio.call("one", {"n": 1}, to=sid, namespace=stage.namespace))
    )


@wire("1.9.3, 1.10.4", serve=_calls)
def calls(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        visitor.answers = {"nothing": None, "one": {"a": 1}, "several": (1, 2)}
        for question in visitor.answers:
            t.note(question, visitor.ask("call me", question))
        t.note("with data", visitor.ask("call me", "one", (1, 2)))
        t.note("the method", visitor.ask("from outside", visitor.sid))


def _hold(released: threading.Event) -> Any:
    """A client's handler that answers when it is told to."""
    return lambda *args: released.wait(SECONDS) or None


@wire("1.9.3", serve=_calls)
def calls_that_are_not_answered(wire: Wire, t: Transcript) -> None:
    released = threading.Event()
    with wire.visit() as visitor:
        visitor.client.on("silence", _hold(released), namespace=wire.namespace)
        t.note("in time", visitor.ask("call", visitor.sid, 0.05))
        released.set()


@wire("1.9.3, 6.4 #10", "call-client-gone", serve=_calls)
def calls_whose_client_leaves(wire: Wire, t: Transcript) -> None:
    released, asked = threading.Event(), threading.Event()
    with wire.visit() as caller, wire.visit() as called:

        def silence() -> None:
            asked.set()
            released.wait(SECONDS)

        called.client.on("silence", silence, namespace=wire.namespace)
        result: queue.Queue[Any] = queue.Queue()
        caller.client.emit("call", (called.sid, 1), namespace=wire.namespace, callback=result.put)
        asked.wait(SECONDS)
        called.client.disconnect()
        released.set()
        answer = result.get(timeout=SECONDS)
        t.differs("call-client-gone", "call", answer, theirs="TimeoutError", ours="ConnectionError")


def _from_elsewhere(stage: Stage) -> None:
    @stage.app.route("/from a view")
    def from_a_view() -> str:
        stage.sio.emit("news", {"from": "a view"}, namespace=stage.namespace)
        return "sent"

    def work(count: int) -> None:
        for number in range(count):
            stage.sio.sleep(0.01)
            stage.sio.emit("tick", number, namespace=stage.namespace)

    stage.on("start")(lambda count: stage.sio.start_background_task(work, count) and None)


@wire("1.9.1, 1.9.5, 1.9.6", serve=_from_elsewhere)
def from_views_and_background_tasks(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        t.note("view", requests.get(f"{wire.url}/from a view", timeout=SECONDS).text)
        t.note("from a view", visitor.next())
        visitor.emit("start", 3)
        t.note("from a task", visitor.next_sorted(3))


def _errors(stage: Stage) -> None:
    stage.on("fail")(lambda: 1 // 0)
    stage.on("work")(lambda: "works")


@wire("1.7.2, 1.4.6", serve=_errors)
def an_error_leaves_the_connection(wire: Wire, t: Transcript) -> None:
    answered: list[object] = []
    with wire.visit() as visitor:
        for event in ("fail", "nobody handles this"):
            visitor.client.emit(event, namespace=wire.namespace, callback=lambda *args: answered.append(args))
        t.note("the next event", visitor.ask("work"))
        t.note("answers to the others", answered)


def _overlaps(stage: Stage) -> None:
    released = threading.Event()

    @stage.on("wait")
    def wait() -> str:
        for _ in range(1000):
            if released.is_set():
                return "released"
            stage.sio.sleep(0.01)
        return "given up"

    stage.on("release")(released.set)


@wire("1.4.8", serve=_overlaps)
def events_overlap_one_that_waits(wire: Wire, t: Transcript) -> None:
    result: queue.Queue[Any] = queue.Queue()
    with wire.visit() as visitor:
        visitor.client.emit("wait", namespace=wire.namespace, callback=result.put)
        visitor.emit("release")
        t.note("the one that waits", result.get(timeout=SECONDS))


def _slow_then_fast(stage: Stage) -> None:
    started, other = threading.Event(), threading.Event()

    @stage.on("slow")
    def slow() -> None:
        started.set()
        other.wait(0.3)  # foreign code that blocks: nothing here knows that it waits
        stage.note("slow")

    @stage.on("fast")
    def fast() -> None:
        started.wait(SECONDS)
        stage.note("fast")
        other.set()


@wire("1.4.8, 6.4 #18", "in-order", serve=_slow_then_fast)
def the_order_of_one_clients_events(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        visitor.emit("slow")
        visitor.emit("fast")
        t.differs("in-order", "ended", wire.noted(2), theirs=["fast", "slow"], ours=["slow", "fast"])


def _asks_from_a_view(stage: Stage) -> None:
    stage.on("connect")(lambda: None)

    @stage.app.route("/ask/<sid>")
    def ask(sid: str) -> str:
        def told(*args: object) -> None:
            stage.note([list(args), has_request_context()])

        stage.sio.emit("question", 1, to=sid, namespace=stage.namespace, callback=told)
        return "asked"


@wire("1.9.1", serve=_asks_from_a_view)
def callbacks_of_a_views_emit(wire: Wire, t: Transcript) -> None:
    with wire.visit() as visitor:
        visitor.answers = {"question": (1, "two")}
        t.note("view", requests.get(f"{wire.url}/ask/{visitor.sid}", timeout=SECONDS).text)
        t.note("callback", wire.noted(1))
