"""The token discipline of lanes: order, no lost wake-up, an exact ``idle`` — also with real threads."""

from __future__ import annotations

import queue
import random
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from trioflask_sio.hub.jobs import Job, JobKind
from trioflask_sio.hub.lanes import Lane
from trioflask_sio.hub.socket import Socket

WORKERS = 8
LANES = 12
JOBS = 400


class Recorder:
    """An executor that only notes."""

    def __init__(self) -> None:
        self.scheduled: list[Lane] = []

    def schedule(self, lane: Lane, /) -> None:
        """Note it."""
        self.scheduled.append(lane)

    def cancel(self, socket: Socket, /) -> None:
        """Nothing waits here."""

    def run_disconnect(self, job: Job, /) -> None:
        """Not used."""

    def run_callback(self, fn: Callable[..., object], args: tuple[object, ...], /) -> None:
        """Not used."""


def lane_and_executor(strict: bool = False) -> tuple[Lane, Recorder]:
    executor = Recorder()
    return Socket("sid-1", "/", None, executor, strict=strict).lane, executor  # type: ignore[arg-type]  # no client


def job(lane: Lane, number: int = 0) -> Job:
    return Job(JobKind.EVENT, lane.socket, None, "e", (number,), None, 10)


def test_a_job_is_scheduled_once_until_the_right_comes_back() -> None:
    lane, executor = lane_and_executor()
    for number in range(3):
        assert lane.post(job(lane, number))
    assert executor.scheduled == [lane]
    assert not lane.claim()
    taken = lane.take("me")
    assert taken is not None
    assert taken.args == (0,)
    lane.ended("me")
    lane.release()
    assert executor.scheduled == [lane, lane]


def test_a_handler_that_waits_hands_the_lane_on_and_still_counts() -> None:
    lane, executor = lane_and_executor()
    lane.post(job(lane))
    lane.post(job(lane))
    lane.take("first")
    lane.release()
    assert len(executor.scheduled) == 2
    lane.take("second")
    lane.ended("second")
    lane.release()
    seen = [lane.idle]
    lane.ended("first")
    assert [*seen, lane.idle] == [False, True]
    assert len(executor.scheduled) == 2


def test_idle_at_every_step() -> None:
    lane, _ = lane_and_executor()
    steps: list[Callable[[], object]] = [
        lambda: lane.post(job(lane)),
        lambda: lane.take("me"),
        lambda: lane.ended("me"),
        lane.release,
        lane.claim,
        lane.release,
    ]
    seen = [lane.idle]
    for step in steps:
        step()
        seen.append(lane.idle)
    assert seen == [True, False, False, False, True, False, True]


def test_take_without_jobs_enters_nobody() -> None:
    lane, _ = lane_and_executor()
    assert lane.claim()
    assert lane.take("me") is None
    lane.release()
    assert lane.idle


def test_a_dropped_lane_takes_nothing_more() -> None:
    lane, executor = lane_and_executor()
    jobs = [job(lane, number) for number in range(3)]
    for one in jobs:
        lane.post(one)
    assert lane.drop() == jobs
    assert not lane.post(job(lane))
    assert lane.take("me") is None
    lane.release()
    assert executor.scheduled == [lane]
    assert lane.drop() == []


def test_repr_shows_the_state() -> None:
    lane, _ = lane_and_executor()
    lane.post(job(lane))
    assert repr(lane) == "<Lane 1 queued 0 running held>"


class Pool:
    """Eight threads on one queue, as the bridge's pool works lanes, with every kind of putting down.

    ``handed_on`` says for a job whether the lane is released before the job has ended, as for a handler that waits.
    """

    def __init__(self, handed_on: Callable[[Job], bool]) -> None:
        self.handed_on = handed_on
        self.rested: queue.SimpleQueue[Lane] = queue.SimpleQueue()
        self.started: dict[Lane, list[int]] = {}
        self.finished: dict[Lane, list[int]] = {}
        self.together: list[int] = []
        self._queue: queue.SimpleQueue[Lane | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(WORKERS)]
        for thread in self._threads:
            thread.start()

    def schedule(self, lane: Lane, /) -> None:
        self._queue.put(lane)

    def cancel(self, socket: Socket, /) -> None:
        """Nothing waits here."""

    def run_disconnect(self, job: Job, /) -> None:
        """Not used."""

    def run_callback(self, fn: Callable[..., object], args: tuple[object, ...], /) -> None:
        """Not used."""

    def lane(self, *, strict: bool = False) -> Lane:
        made = Socket("sid", "/", None, self, strict=strict).lane  # type: ignore[arg-type]  # no client is needed
        self.started[made] = []
        self.finished[made] = []
        return made

    def stop(self) -> None:
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        me = object()
        while (lane := self._queue.get()) is not None:
            self._quantum(lane, me)

    def _quantum(self, lane: Lane, me: object) -> None:
        for _ in range(3):
            taken = lane.take(me)
            if taken is None:
                lane.release()
                self.rested.put(lane)
                return
            number = taken.args[0]
            assert isinstance(number, int)
            self.started[lane].append(number)
            self.together.append(len(lane.running))
            if self.handed_on(taken):
                lane.release()
                self.finished[lane].append(number)
                lane.ended(me)
                self.rested.put(lane)
                return
            self.finished[lane].append(number)
            lane.ended(me)
        # The quantum is over: the right is kept and the lane goes to the end of the queue.
        self._queue.put(lane)


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads switch as often as the interpreter allows, so that windows of one bytecode are met."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switching")
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0], ids=["none waits", "some wait", "all wait"])
def test_eight_threads_and_a_poster_lose_nothing_and_invert_nothing(share: float) -> None:
    luck = random.Random(1)
    waits = [luck.random() < share for _ in range(JOBS)]
    pool = Pool(lambda taken: waits[int(str(taken.args[0]))])
    lanes = [pool.lane() for _ in range(LANES)]
    posted = dict.fromkeys(lanes, 0)
    try:
        for number in range(JOBS):
            for lane in lanes:
                lane.post(job(lane, number))
                posted[lane] += 1
            look = lanes[number % LANES]
            if look.idle:
                # The poster asks, so nothing can be posted meanwhile: idle means that all of it has ended.
                assert len(pool.finished[look]) == posted[look]
        drain(pool, lanes)
    finally:
        pool.stop()
    for lane in lanes:
        assert pool.started[lane] == list(range(JOBS))
        assert sorted(pool.finished[lane]) == list(range(JOBS))
        assert lane.idle
    if share == 0.0:
        assert set(pool.together) == {1}


def drain(pool: Pool, lanes: list[Lane]) -> None:
    """Wait as the hub does: look at a lane each time a runner says that it has put it down."""
    busy = {lane for lane in lanes if not lane.idle}
    while busy:
        lane = pool.rested.get(timeout=20)
        if lane.idle:
            busy.discard(lane)


@pytest.mark.usefixtures("eager_switching")
def test_dropping_and_taking_share_every_job_between_them() -> None:
    for _ in range(60):
        pool = Pool(lambda taken: bool(int(str(taken.args[0])) % 2))
        lane = pool.lane()
        try:
            for number in range(40):
                lane.post(job(lane, number))
            dropped = [int(str(one.args[0])) for one in lane.drop()]
            drain(pool, [lane])
        finally:
            pool.stop()
        assert sorted(pool.started[lane] + dropped) == list(range(40))
        assert pool.started[lane] == list(range(len(pool.started[lane])))
