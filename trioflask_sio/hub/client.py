"""One connection as Socket.IO sees it: the namespaces it is in, and the packet it is in the middle of sending."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioflask_sio.hub.socket import Socket, SocketState
from trioflask_sio.protocol.sio_binary import Assembler
from trioflask_sio.protocol.sio_machine import NamespaceState

if TYPE_CHECKING:
    from trioflask_sio.hub.ports import SessionPort
    from trioflask_sio.protocol.limits import Limits
    from trioflask_sio.protocol.sio_codec import PacketCodec
    from trioflask_sio.protocol.sio_packet import Packet

__all__ = ["Client"]


class Client:
    """One per engine session, kept in ``session.upper``.

    Args:
        session: the engine session.
        limits: what one incoming packet may be.
        codec: how packets are read.
        remembered: how many left namespaces are told from never joined ones.
    """

    __slots__ = (
        "_assembler",
        "_codec",
        "_left",
        "_limits",
        "_remembered",
        "session",
        "size",
        "sockets",
        "upper",
        "user_sessions",
    )

    def __init__(self, session: SessionPort, limits: Limits, codec: PacketCodec, remembered: int) -> None:
        self.session = session
        self.sockets: dict[str, Socket] = {}
        """The sockets that are connecting or connected, by namespace."""
        self.upper: object | None = None
        """Slot of the layer above: one record per connection."""
        self.user_sessions: dict[str, dict[str, object]] | None = None
        """The application's dictionaries, one per namespace (spec 2.12); the layer above makes them when asked."""
        self.size = 0
        """Bytes of the packet that ``feed`` returned last, attachments included."""
        self._left: dict[str, None] = {}
        self._remembered = remembered
        self._assembler: Assembler | None = None
        self._limits = limits
        self._codec = codec

    def feed(self, data: str | bytes) -> Packet | None:
        """One incoming message; the packet that it completes, if it does.

        An assembler exists only while attachments are on their way: most clients never need one.

        Raises:
            PacketError: spec 2.2; the packet in flight is lost and the client must be closed.
        """
        assembler = self._assembler
        if assembler is None:
            self.size = len(data)
            found = self._codec.start(data, self._limits)
            if not isinstance(found, Assembler):
                return found
            self._assembler = found
            return None
        self.size += len(data)
        packet = assembler.feed(data)
        if packet is not None:
            self._assembler = None
        return packet

    def state_of(self, namespace: str) -> NamespaceState:
        """What the protocol's table needs to know about a namespace."""
        socket = self.sockets.get(namespace)
        if socket is None:
            return NamespaceState.LEFT if namespace in self._left else NamespaceState.NEVER
        return NamespaceState.CONNECTED if socket.state is SocketState.CONNECTED else NamespaceState.CONNECTING

    def part(self, socket: Socket, *, remember: bool = True) -> None:
        """``socket`` is no longer the client's membership of its namespace; joining again makes a new one.

        Args:
            socket: which.
            remember: the client believed itself inside, so what it sent until it hears otherwise is no offence.
        """
        namespace = socket.namespace
        if self.sockets.get(namespace) is socket:
            del self.sockets[namespace]
            if remember:
                self._left[namespace] = None
            if len(self._left) > self._remembered:
                del self._left[next(iter(self._left))]

    def forget_partial(self) -> None:
        """Drop a packet whose attachments will not come any more."""
        self._assembler = None

    def awaiting_answer(self) -> bool:
        """Whether this client owes an acknowledgement; the engine must then go on reading (design §8.2)."""
        return any(socket.acks for socket in self.sockets.values())

    def __repr__(self) -> str:
        return f"<Client {self.session.eio_sid[:6]} {list(self.sockets.values())!r}>"
