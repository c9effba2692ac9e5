"""Signs of life: an exact deadline per session, no task (spec 3.8; decision 6.4 #15).

Rules:

* Where the server pings (revision 4): a ping ``ping_interval`` after the handshake, later after each pong; no pong
  within ``ping_timeout`` closes the session, at exactly that moment. Only a pong counts.
* Where the client pings (revision 3): each ping is answered; ``ping_interval + ping_timeout`` without one closes.
* While reading is paused the pong may lie unread, so its deadline is suspended. The client goes on being pinged,
  because it gives up by itself after ``ping_interval + ping_timeout`` without one.
* ``monitor_clients=False`` pings and never closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioflask_sio.protocol.eio_machine import Input
from trioflask_sio.protocol.eio_packet import Ping, Pong

if TYPE_CHECKING:
    from trioflask_sio.engine.config import EngineConfig
    from trioflask_sio.engine.session import Session
    from trioflask_sio.engine.timers import Timer, Timers

__all__ = ["Heartbeat"]

_PING = Ping()
_PONG = Pong()


class Heartbeat:
    """The clock of one session; one timer at a time.

    Args:
        session: whose.
        timers: the engine's heap.
        config: for the two times.
    """

    __slots__ = ("_asked", "_config", "_session", "_timer", "_timers")

    def __init__(self, session: Session, timers: Timers, config: EngineConfig) -> None:
        self._session = session
        self._timers = timers
        self._config = config
        self._asked = False
        """A ping is out and unanswered."""
        self._timer: Timer | None = None
        self._wait(session.opened_at)

    def beat(self) -> None:
        """The packet that this client owes has come: a pong, or a ping in revision 3."""
        session = self._session
        if not session.revision.server_pings:
            session.send_control(_PONG)
        elif not self._asked:
            return  # a pong to no ping moves nothing: a client cannot put off its pings
        self._restart()

    def resumed(self) -> None:
        """Reading goes on after a pause: the whole time to answer begins anew."""
        if self._timer is not None and self._asked:
            self._timer.cancel()
            self._timer = self._timers.call_later(self._config.ping_timeout, self._unanswered)

    def stop(self) -> None:
        """The session has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _restart(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._asked = False
            self._wait(None)

    def _wait(self, since: float | None) -> None:
        config = self._config
        if self._session.revision.server_pings:
            seconds, then = config.ping_interval, self._ping
        else:
            seconds, then = config.ping_interval + config.ping_timeout, self._unanswered
        timers = self._timers
        self._timer = timers.call_later(seconds, then) if since is None else timers.call_at(since + seconds, then)

    def _ping(self) -> None:
        monitored = self._config.monitor_clients
        self._asked = True
        if monitored:
            self._timer = self._timers.call_later(self._config.ping_timeout, self._unanswered)
        else:
            self._timer = self._timers.call_later(self._config.ping_interval, self._ping)
        self._session.send_control(_PING)

    def _unanswered(self) -> None:
        session = self._session
        if not session.paused and self._config.monitor_clients:
            session.step(Input.BEAT_TIMEOUT)
        elif session.revision.server_pings:
            self._ping()
        else:
            self._wait(None)
