"""Measures the server against its peers: ``python -m benchmarks``.

How the parts stand to each other, lowest first:

* ``generator``: the client side, raw sockets on epoll, no frame library; ``load`` is its process.
* ``apps``: one application per server, all with the same events, each a program of its own.
* ``servers``, ``processes``: which program a peer is, and how it is started, watched and ended.
* ``items``: what is measured. ``harness`` runs items against servers in turns; ``report`` and ``plot`` show it.

Linux only: the figures come from ``/proc`` and processes are pinned to cores.
"""
