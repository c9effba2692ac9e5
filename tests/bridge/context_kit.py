"""What the tests of Flask contexts share: a handshake, and one event from push to pop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trioflask_sio.bridge.context import Connection
from trioflask_sio.bridge.flask_variants import EventContext
from trioflask_sio.engine.transport import HttpRequest


def handshake(*headers: tuple[str, str], query: str = "EIO=4&transport=polling", **fields: Any) -> HttpRequest:
    """A handshake request of 192.0.2.7 to ``chat.example``."""
    fields.setdefault("client", ("192.0.2.7", 4711))
    fields.setdefault("server", ("192.0.2.1", 8000))
    return HttpRequest("GET", "/socket.io/", query, (("host", "chat.example"), *headers), **fields)


@contextmanager
def event(
    connection: Connection, sid: str = "sid", namespace: str = "/", message: str = "hello", *, manage: bool = True
) -> Iterator[EventContext]:
    """One event, as the dispatcher runs it; the session is saved when the block succeeds."""
    context = connection.event_context(sid, namespace, {"message": message, "args": ()}, manage_session=manage)
    context.push()
    error: BaseException | None = None
    try:
        yield context
        context.save_session()
    except BaseException as exc:
        error = exc
        raise
    finally:
        context.pop(error)
