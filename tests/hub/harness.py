"""One hub with everything around it in memory: what the tests of this folder stand on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from trioflask_sio.hub.config import HubConfig
from trioflask_sio.hub.handlers import HandlerTable
from trioflask_sio.hub.hub import Hub
from trioflask_sio.hub.socket import Socket
from trioflask_sio.testing.inline import InlineExecutor
from trioflask_sio.testing.sessions import FakeEngine, FakeSession

Handled = TypeVar("Handled", bound=Callable[..., object])


class House:
    """A hub on a fake engine. Sids count upwards: ``sid-1`` is the first client's.

    Args:
        stepwise: jobs run only when ``run`` is called.
        executor: instead of a plain one.
        options: of ``HubConfig``.
    """

    def __init__(self, *, stepwise: bool = False, executor: InlineExecutor | None = None, **options: Any) -> None:
        numbers = itertools.count(1)
        self.handlers = HandlerTable()
        self.executor = executor or InlineExecutor(stepwise=stepwise)
        self.hub = Hub(
            HubConfig(**options),
            self.handlers,
            self.executor,
            new_sid=lambda: f"sid-{next(numbers)}",
            clock=lambda: self.engine.timers.now,
        )
        self.engine = FakeEngine(self.hub)
        self.hub.attach(self.engine)
        self.executor.attach(self.hub)

    def on(self, event: str, fn: Callable[..., object], namespace: str = "/") -> None:
        """Register a handler."""
        self.handlers.add(namespace, event, fn)

    def handles(self, event: str) -> Callable[[Handled], Handled]:
        """Register the decorated handler, in the root namespace."""

        def register(fn: Handled) -> Handled:
            self.on(event, fn)
            return fn

        return register

    def join(self, namespace: str = "/", session: FakeSession | None = None) -> tuple[FakeSession, Socket]:
        """A client in ``namespace``, its connect reply read."""
        session = session or self.engine.open()
        session.receive("0" if namespace == "/" else f"0{namespace},")
        self.executor.run()
        socket = tuple(self.hub.sockets.values())[-1]
        session.take()
        return session, socket

    def sender(self) -> str:
        """The sid whose handler runs."""
        assert self.executor.current is not None
        return self.executor.current.socket.sid

    def emit(self, event: str, *args: object, namespace: str = "/", **options: Any) -> None:
        """Encode, deliver, flush."""
        self.hub.emit(self.hub.encode(namespace, event, args, **options))
        self.hub.flush()

    def assert_empty(self) -> None:
        """Nothing of any client is left anywhere."""
        assert self.hub.sockets == {}
        assert len(self.hub.adapter) == 0  # type: ignore[arg-type]  # LocalAdapter can be counted
        assert len(self.engine.timers) == 0
        assert len(self.hub._acks) == 0
        assert self.hub._wiring.population == {}


def texts(session: FakeSession) -> list[str | bytes]:
    """What a session was sent since the last look, message by message."""
    return [message for group in session.take() for message in group]
