"""Engine.IO sessions as task trees, on AnyIO: handshake, polling, WebSocket, upgrade, heartbeat, closing.

No HTTP library, no Flask, no Socket.IO: requests and WebSockets come in through the Protocols of ``transport``, packets
go up through ``session.SessionListener``. A session has no task of its own: it lives in the tasks of its requests and
in its WebSocket's reader, and ends once, with one reason, for everybody.
"""
