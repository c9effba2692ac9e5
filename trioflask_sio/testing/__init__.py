"""For tests: of an application's own parts that stand on our interfaces, and of ours. Nothing here opens a socket.

* ``contracts``: suites that every implementation of one of our interfaces passes, as ``adapter_contract`` for adapters
  of the hub. Whoever writes an adapter runs it in one test.
* ``inline``: ``InlineExecutor`` runs handlers without threads and without Flask, all at once or step by step.
* ``sessions``: ``FakeEngine`` and ``FakeSession``, an engine without a loop whose clock is moved by hand.
* ``wires``: polling requests and WebSockets in memory for a real engine, with faults to switch on.
* ``frames``: ``FrameReader`` reads a server's WebSocket frames as a client does.

Names are imported from these modules; the package itself exports none, so that importing one of them loads no more
than it needs.
"""
