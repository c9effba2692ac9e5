"""The wire formats as pure functions and tables: Engine.IO 4, Socket.IO 5, WebSocket frames.

Rules of this room:

* Bytes and text in, values out. Nothing here waits, opens, logs, draws random numbers or reads a clock.
* What a peer may have sent wrongly raises a ``ProtocolError`` and nothing else.
* Every cap is named in :mod:`trioflask_sio.protocol.limits`.
"""
