"""The awaitable forms of what waits, for ``async def`` handlers: ``call``, ``sleep``, ``disconnect``, ``emit``.

::

    from trioflask_sio import aio

    @socketio.on("ask")
    async def ask(question):
        answer = await aio.call("question", question, timeout=5)
        await aio.sleep(0.5)
        return answer
"""

from trioflask_sio.bridge.aio import call, disconnect, emit, sleep

__all__ = ["call", "disconnect", "emit", "sleep"]
