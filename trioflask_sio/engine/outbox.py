"""What waits for one client: groups of messages, bounded in bytes and packets, and a lane for control packets.

Rules:

* A group (:class:`Outgoing`) goes out whole and in order. Control packets (open, ping, pong, noop, close) overtake data
  between two groups, never inside one, so a client that is behind still sees its pings.
* The limits count what accumulates: a single group is taken into an empty outbox whatever its size.
* The rest of a frame that the kernel took in part stays in front of everything, as a view on the shared bytes.
* Nothing here awaits and nothing writes; carriers take out, and what was taken out is theirs.
"""

from __future__ import annotations

from trioflask_sio.protocol.eio_packet import Message, Packet
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.protocol.revision import Revision
from trioflask_sio.protocol.ws_frames import frame

__all__ = ["CHUNK_BYTES", "Outbox"]

CHUNK_BYTES = 262_144
"""Bytes joined for one write: some times a socket's send buffer, so that joining never costs more than the system
call."""


class Outbox:
    """The queue of one session.

    Args:
        max_bytes: the limit of what waits, in bytes (characters for text).
        max_packets: the limit of what waits, in packets.
    """

    __slots__ = ("_control", "_groups", "_max_bytes", "_max_packets", "_rest", "packets", "size")

    def __init__(self, max_bytes: int, max_packets: int) -> None:
        self._max_bytes = max_bytes
        self._max_packets = max_packets
        self._groups: list[Outgoing] = []
        self._control: list[Packet] | None = None
        self._rest: memoryview | None = None
        self.size = 0
        self.packets = 0

    def __bool__(self) -> bool:
        """True while anything waits."""
        return bool(self._groups or self._control or self._rest)

    @property
    def groups(self) -> int:
        """How many groups wait; 0 means that a new one may go out directly."""
        return len(self._groups)

    def put(self, item: Outgoing) -> bool:
        """Queue one group. False when it would go over a limit; nothing is queued then."""
        size = self.size + item.size
        packets = self.packets + len(item.messages)
        if (size > self._max_bytes or packets > self._max_packets) and (self._groups or self._rest):
            return False
        self.size = size
        self.packets = packets
        self._groups.append(item)
        return True

    def put_control(self, packet: Packet) -> None:
        """Queue a control packet. One that waits already is not queued again, so the lane is bounded by its kinds."""
        if not self._control:
            self._control = [packet]
        elif packet not in self._control:
            self._control.append(packet)

    def put_rest(self, data: bytes | memoryview, sent: int) -> None:
        """Keep what the kernel did not take of ``data``, in front of everything."""
        self._rest = memoryview(data)[sent:]
        self.size += len(self._rest)

    def discard(self) -> None:
        """Forget what waits. A frame that was begun stays: it can be finished or the stream be closed, nothing else."""
        rest = self._rest
        self._groups.clear()
        self._control = None
        self.size = len(rest) if rest else 0
        self.packets = 0

    def take_bytes(self, revision: Revision) -> bytes | memoryview:
        """The next bytes for a framed WebSocket: a rest, or control frames and groups up to one chunk; maybe none."""
        rest = self._rest
        if rest:
            self._rest = None
            self.size -= len(rest)
            return rest
        if self._control is None and len(self._groups) == 1:  # a broadcast's receiver: the shared bytes themselves
            return self._take_groups(None)[0].frames(revision)
        frames = [frame(revision.to_ws(packet)) for packet in self._take_control()]
        frames += [group.frames(revision) for group in self._take_groups(CHUNK_BYTES)]
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def take_messages(self, revision: Revision) -> list[str | bytes]:
        """The next WebSocket messages for a transport that frames itself: control packets, then one group."""
        messages = [revision.to_ws(packet) for packet in self._take_control()]
        for group in self._take_groups(1):
            messages += [revision.to_ws(Message(message)) for message in group.messages]
        return messages

    def take_elements(self, revision: Revision) -> list[str | bytes]:
        """Everything that waits, as elements of one polling payload (spec 3.5.1)."""
        elements = [revision.element(packet) for packet in self._take_control()]
        for group in self._take_groups(None):
            elements += group.elements(revision)
        return elements

    def _take_control(self) -> list[Packet]:
        control, self._control = self._control, None
        return control or []

    def _take_groups(self, at_most: int | None) -> list[Outgoing]:
        """Groups from the front: all of them, or the first and as many more as stay within ``at_most`` bytes."""
        groups = self._groups
        if at_most is None or self.size <= at_most:
            self._groups = []
            self.size = len(self._rest) if self._rest else 0
            self.packets = 0
            return groups
        size = count = 0
        for group in groups:
            if count and size + group.size > at_most:
                break
            size += group.size
            self.packets -= len(group.messages)
            count += 1
        taken = groups[:count]
        del groups[:count]  # moves pointers only, once per chunk
        self.size -= size
        return taken
