"""One client's flood, however it is packed, leaves the loop to the others in between (design §3).

Trio chooses whose turn comes first, so what must happen after one chunk may happen after two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest

from tests.engine.kit import POLL, Recorder, Stage, item, refused, stage
from trioflask_sio.engine.reasons import CloseReason
from trioflask_sio.engine.session import Session
from trioflask_sio.protocol.limits import INPUT_CHUNK

pytestmark = pytest.mark.anyio

FLOOD = [f"4{n}" for n in range(10 * INPUT_CHUNK)]


async def over_socket(s: Stage) -> None:
    socket = await s.open_socket()
    for message in FLOOD:
        socket.send(message)
    await socket.receive()


async def over_polling(s: Stage) -> None:
    sid = await s.open_polling()
    await s.post(sid, "\x1e".join(FLOOD))
    await s.get(sid)


@pytest.mark.parametrize("way", [over_socket, over_polling])
async def test_others_have_their_turn_within_a_flood(way: Callable[[Stage], Awaitable[None]]) -> None:
    turn = 0
    seen: list[int] = []
    listener = Recorder()

    def received(session: Session, data: str | bytes) -> None:
        seen.append(turn)
        if len(seen) == len(FLOOD):
            session.send(item("all"))

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await anyio.lowlevel.checkpoint()

    listener.on_message = received
    async with stage(listener=listener) as s, anyio.create_task_group() as tasks:
        tasks.start_soon(others)
        await way(s)
        tasks.cancel_scope.cancel()
    assert listener.messages == [message[1:] for message in FLOOD]
    assert max(seen.count(one) for one in set(seen)) <= 2 * INPUT_CHUNK


async def test_a_session_that_closes_within_a_long_post_takes_no_more_of_it() -> None:
    """The close falls into the pause after a chunk; what was dropped is not called taken."""
    listener = Recorder()

    def received(session: Session, data: str | bytes) -> None:
        if len(listener.messages) == INPUT_CHUNK:
            s.nursery.start_soon(close, session)

    async def close(session: Session) -> None:
        session.close(CloseReason.SERVER_DISCONNECT)

    listener.on_message = received
    async with stage(listener=listener) as s:
        sid = await s.open_polling()
        reply = await s.client.http("POST", {**POLL, "sid": sid}, "\x1e".join(FLOOD))
        assert refused(reply)[0] == 400
    assert len(listener.messages) in (INPUT_CHUNK, 2 * INPUT_CHUNK)
