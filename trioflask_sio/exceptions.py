"""Every error this package raises on purpose, drawn as a tree.

::

    SocketIOError (Exception)
    ├── UsageError (RuntimeError)          the programmer called something in the wrong place or state
    │   └── NotServing                     an emit or a call after the server has stopped
    ├── ConfigError (ValueError)           an option has an impossible value
    │   └── UnknownOption (TypeError)      no such option; the message names the nearest one
    ├── ConnectionError                    the connection of one client cannot be made or has ended
    │   ├── ConnectionRefusedError         raised by a connect handler: refuse this client, with data
    │   └── ClientGone                     the client that a call() waited for has left
    ├── TimeoutError                       a call() was not answered in time
    └── ProtocolError                      the peer broke the protocol (never the programmer's fault)
        ├── PacketError                    one Engine.IO or Socket.IO packet cannot be read
        ├── PayloadError                   one polling body cannot be read
        └── RequestRefused                 a request is answered with an error reply (status, code, message)

    HandlerCancelled (BaseException)       the client a synchronous handler worked for has left

The four names that also exist as builtins derive from the builtin too, so both spellings of ``except`` work.
``HandlerCancelled`` derives from ``BaseException`` so that ``except Exception`` does not swallow it.
"""

from __future__ import annotations

import builtins

__all__ = [
    "ClientGone",
    "ConfigError",
    "ConnectionError",
    "ConnectionRefusedError",
    "HandlerCancelled",
    "NotServing",
    "PacketError",
    "PayloadError",
    "ProtocolError",
    "RequestRefused",
    "SocketIOError",
    "TimeoutError",
    "UnknownOption",
    "UsageError",
]


class SocketIOError(Exception):
    """Root of every ordinary error of this package."""


class UsageError(SocketIOError, RuntimeError):
    """A call was made from a place or in a state where it cannot work; the message names the right one."""


class NotServing(UsageError):
    """The server that would carry this call has stopped."""


class ConfigError(SocketIOError, ValueError):
    """An option has a value it cannot have; the message names the option, the value and what is allowed."""


class UnknownOption(ConfigError, TypeError):
    """There is no option of this name; the message suggests the nearest one."""


class ConnectionError(SocketIOError, builtins.ConnectionError):
    """The connection of one client cannot be made or has ended."""


class ConnectionRefusedError(ConnectionError, builtins.ConnectionRefusedError):
    """Raise it in a connect handler to refuse the client.

    Args:
        *args: nothing, or a message, or a message and one or more values that the client finds in ``err.data``.

    The client's ``connect_error`` event carries ``message`` and, where given, ``data``.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.error_args: dict[str, object] = {"message": str(args[0]) if args else "Connection rejected by server"}
        if len(args) > 1:
            self.error_args["data"] = args[1] if len(args) == 2 else list(args[1:])


class ClientGone(ConnectionError):
    """The client that a ``call()`` waited for has left before it answered."""


class TimeoutError(SocketIOError, builtins.TimeoutError):
    """A ``call()`` was not answered within its timeout."""


class ProtocolError(SocketIOError):
    """The peer sent something the protocol does not allow. A client's mistake: logged without a traceback."""


class PacketError(ProtocolError):
    """One packet cannot be read."""


class PayloadError(ProtocolError):
    """One polling body cannot be read."""


class RequestRefused(ProtocolError):
    """A request that is answered with an error reply (spec 3.2.1).

    Args:
        code: the Engine.IO error code, 0 to 5.
        message: the text that the client sees.
        status: the HTTP status, 400 except 403 for code 4.
        context: a finer cause for the log, never sent.
    """

    def __init__(self, code: int, message: str, status: int = 400, context: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.context = context


class HandlerCancelled(BaseException):
    """The client that this synchronous handler worked for has left: unwind, clean up, end.

    Raised by the calls that wait (``sleep``, ``call``, ``check_cancelled``) and by late emits to the departed client.
    """
