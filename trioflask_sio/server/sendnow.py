"""A non-blocking ``send`` that keeps the interpreter lock (design §8.6).

``socket.send`` gives the interpreter lock away around the system call, and a handler that computes in another thread
then holds it for a whole switch interval, once per receiver of a fan-out. The C library's ``send`` called through
``ctypes.PyDLL`` keeps the lock; with ``MSG_DONTWAIT`` it returns in a microsecond or two.

Measured, 200 receivers on two free cores, median milliseconds per fan-out at a switch interval of 5 ms / 0.5 ms:

====================  =======================  ========
computing threads     ``socket.send``          this
====================  =======================  ========
none                  1.0 / 0.8                1.2 / 0.9
one                   875 / 59                 2.2 / 3.0
four                  1,517 / 205              2.1 / 9.8
====================  =======================  ========

Through the whole server (0.5 ms, reading clients, both cores busy) the worst of 60 fan-outs took 59–444 ms with
``socket.send`` and 12–58 ms with this; with no computing thread both took 2.6 ms.

So it is used where it exists (CPython on Linux); elsewhere ``socket.send`` does the same job. A send that fails is
tried once more through the socket object, which raises the right error or says that it would block: so no errno has
to be carried across the border.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Callable

__all__ = ["SEND_FLAGS", "lock_keeping_send"]

SEND_FLAGS: int = getattr(socket, "MSG_DONTWAIT", 0) | getattr(socket, "MSG_NOSIGNAL", 0)
"""Never wait, never raise SIGPIPE; 0 where the platform has neither (the sockets are non-blocking anyway)."""


def _load() -> Callable[[int, bytes, int, int], int] | None:
    if sys.implementation.name != "cpython" or not sys.platform.startswith("linux"):
        return None
    try:
        send = ctypes.PyDLL(None).send
    except (OSError, AttributeError):
        return None  # a static interpreter, or a C library that hides its symbols
    send.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    send.restype = ctypes.c_ssize_t
    made: Callable[[int, bytes, int, int], int] = send
    return made


lock_keeping_send: Callable[[int, bytes, int, int], int] | None = _load()
"""``send(fd, data, length, flags) -> count or -1``, or None where this platform has only ``socket.send``."""
