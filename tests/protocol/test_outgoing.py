"""One group of messages, encoded once per revision and framing (design §8.17)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text
from trioflask_sio.protocol.eio_packet import Message
from trioflask_sio.protocol.eio_payload import V4, V4_B64, Revision4
from trioflask_sio.protocol.outgoing import Outgoing
from trioflask_sio.protocol.ws_frames import frame


@given(st.lists(any_text() | st.binary(), min_size=1).map(tuple), st.sampled_from([V4, V4_B64]))
def test_forms_are_those_of_the_revision(messages: tuple[str | bytes, ...], revision: Revision4) -> None:
    group = Outgoing(messages, event="x")
    assert group.frames(revision) == b"".join(frame(revision.to_ws(Message(message))) for message in messages)
    assert group.elements(revision) == tuple(revision.element(Message(message)) for message in messages)


def test_forms_are_made_once() -> None:
    group = Outgoing(("52-[]", b"a", b"b"))
    assert group.frames(V4) is group.frames(Revision4())
    assert group.elements(V4) is group.elements(Revision4())
    assert group.frames(V4) != group.frames(V4_B64)


def test_what_it_tells() -> None:
    group = Outgoing(("52-[]", b"abc"), event="news", volatile=True)
    assert (group.size, group.event, group.volatile) == (8, "news", True)
    assert repr(group) == "<Outgoing news 2 message(s) 8 bytes>"
    assert repr(Outgoing(("0",))) == "<Outgoing packet 1 message(s) 1 bytes>"
