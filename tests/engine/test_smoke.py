"""First contact: each way to open a session, an echo, an upgrade, a heartbeat."""

from __future__ import annotations
import pytest
from tests.engine.kit import *

pytestmark = pytest.mark.anyio


async def test_polling_echo():
    async with stage(listener=Recorder(echo=True)) as s:
        sid = await s.open_polling()
        assert len(sid) == 20
        r = await s.post(sid, "4hello")
        assert body(r) == "ok"
        assert await s.get(sid) == "4hello"


async def test_ws_echo():
    async with stage(listener=Recorder(echo=True)) as s:
        c = await s.open_socket()
        c.send("4hello", b"\x01\x02")
        assert await c.receive() == "4hello"
        assert await c.receive() == b"\x01\x02"


async def test_ws_unframed():
    async with stage(listener=Recorder(echo=True)) as s:
        c = await s.open_socket(framed=False)
        c.send("4hello", b"\x01\x02")
        assert await c.receive() == "4hello"
        assert await c.receive() == b"\x01\x02"


async def test_upgrade():
    async with stage(listener=Recorder(echo=True)) as s:
        sid = await s.open_polling()
        c = await s.upgrade(sid)
        c.send("4x")
        assert await c.receive() == "4x"


def test_heartbeat():
    async def main():
        async with stage(connect_timeout=None) as s:
            c = await s.open_socket()
            t = trio.current_time()
            assert await c.receive() == "2"
            assert trio.current_time() - t == 25
            assert await c.wait_closed() == (1000, "ping timeout")
            assert trio.current_time() - t == 45

    virtual(main)
