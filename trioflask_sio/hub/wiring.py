"""What the parts of the hub share: one record, made by the hub, handed to each part.

It holds no rules of its own. ``sockets`` is the only register of sids; sockets enter by :meth:`Wiring.add` and leave by
:meth:`Wiring.remove` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from logging import DEBUG, Logger
from typing import TYPE_CHECKING

from trioflask_sio._types import Sid
from trioflask_sio.hub.config import HubConfig
from trioflask_sio.hub.handlers import HandlerTable
from trioflask_sio.hub.lanes import Executor
from trioflask_sio.hub.socket import Socket

if TYPE_CHECKING:
    from trioflask_sio.hub.adapter import Adapter
    from trioflask_sio.hub.ports import EnginePort
    from trioflask_sio.protocol.sio_codec import PacketCodec

__all__ = ["Wiring"]


class Wiring:
    """See the module. ``clock`` is the loop's, in seconds."""

    __slots__ = (
        "adapter",
        "clock",
        "codec",
        "config",
        "engine",
        "executor",
        "handlers",
        "logger",
        "new_sid",
        "on_empty",
        "population",
        "sockets",
        "stats",
        "talks",
    )

    def __init__(
        self,
        config: HubConfig,
        handlers: HandlerTable,
        executor: Executor,
        adapter: Adapter,
        *,
        codec: PacketCodec,
        new_sid: Callable[[], Sid],
        clock: Callable[[], float],
        logger: Logger,
    ) -> None:
        self.config = config
        self.handlers = handlers
        self.executor = executor
        self.adapter = adapter
        self.codec = codec
        self.new_sid = new_sid
        self.clock = clock
        self.logger = logger
        self.talks = logger.isEnabledFor(DEBUG)
        """Whether single events are logged; asked once, since they are many."""
        self.engine: EnginePort | None = None
        self.sockets: dict[Sid, Socket] = {}
        self.population: dict[str, int] = {}
        """How many sockets each namespace has, leaving ones included."""
        self.on_empty: Callable[[], None] | None = None
        """Called when the last socket's last trace has gone."""
        self.stats: dict[str, int] = {}
        """Counters of what was dropped or ignored, by name."""

    def count(self, what: str, by: int = 1) -> None:
        """Add to a counter of ``stats``."""
        self.stats[what] = self.stats.get(what, 0) + by

    def add(self, socket: Socket) -> None:
        """A socket is born."""
        self.sockets[socket.sid] = socket
        self.population[socket.namespace] = self.population.get(socket.namespace, 0) + 1

    def remove(self, socket: Socket) -> None:
        """A socket's last trace goes."""
        if self.sockets.pop(socket.sid, None) is None:
            return
        left = self.population[socket.namespace] - 1
        if left:
            self.population[socket.namespace] = left
        else:
            del self.population[socket.namespace]
            if not self.sockets and self.on_empty is not None:
                self.on_empty()

    def find(self, sid: object, namespace: str) -> Socket | None:
        """The socket of this sid in this namespace, also while it is connecting or leaving."""
        socket = self.sockets.get(sid) if isinstance(sid, str) else None
        return socket if socket is not None and socket.namespace == namespace else None
