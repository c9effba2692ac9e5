"""Socket.IO meaning on top of engine sessions: namespaces, rooms, acknowledgements, order, fan-out.

No HTTP, no Flask, no threads. Everything that changes state runs on the event loop's thread and never awaits, so each
method here is one atomic step; what may be called from every thread says so (``Hub.encode``, ``Lane.claim``).

``hub`` is the object the bridge talks to; ``arrivals``, ``inbound``, ``departures`` and ``acks`` are its four halves of
a client's life, joined by the one record in ``wiring``.
"""
