"""The life of one connection: requests one after another, perhaps a WebSocket at the end.

Rules:

* One connection is one task, and whatever happens in it ends only itself (pains P7): nothing but cancellation leaves.
* An idle WebSocket keeps no HTTP machinery alive: the request loop has returned before it begins.
"""

from __future__ import annotations

import trio

from trioflask_sio.engine.transport import HttpRequest, PeerGone
from trioflask_sio.server.fallback import run_fallback
from trioflask_sio.server.http import Exchange, HttpConnection, RequestEnded
from trioflask_sio.server.site import Peer, Site, logger
from trioflask_sio.server.streams import ByteStream
from trioflask_sio.server.upgrade import Upgrade, check_handshake

__all__ = ["serve_stream"]


async def serve_stream(site: Site, stream: ByteStream, peer: Peer, initial: bytes = b"") -> None:
    """Serve one connected stream until it ends, then close it. Raises nothing but cancellation.

    Args:
        site: what all connections share.
        stream: the bytes.
        peer: both ends.
        initial: bytes that somebody else has read from the stream already (design §8.20).
    """
    site.connections += 1
    site.log_connection(peer, "opened")
    try:
        upgrade = await _requests(HttpConnection(site, stream, peer, initial))
        if upgrade is not None:
            await _websocket(site, upgrade)
        await stream.aclose()
    except PeerGone as error:
        logger.debug("%s has gone: %s", peer, error)
    except Exception:
        logger.exception("the connection of %s failed", peer)
    finally:
        stream.abort()
        site.connections -= 1
        site.log_connection(peer, "closed")


async def _requests(connection: HttpConnection) -> Upgrade | None:
    """Answer requests until the connection ends, or one of them asks for a WebSocket at our path."""
    first = True
    try:
        while True:
            request = await connection.next_request(first=first)
            first = False
            if _wants_websocket(request):
                upgrade = await check_handshake(connection)
                if upgrade is not None:
                    return upgrade
            else:
                await _answer(connection, request)
            if not connection.next_cycle():
                break
    except RequestEnded:
        if not connection.close_soon:
            return None
    await connection.linger()
    return None


def _wants_websocket(request: HttpRequest) -> bool:
    upgrade = request.header("upgrade")
    return upgrade is not None and upgrade.strip().lower() == "websocket"


async def _answer(connection: HttpConnection, request: HttpRequest) -> None:
    """One ordinary request to whom it belongs."""
    service = connection.site.service
    if not request.path.startswith(service.path):
        await run_fallback(service.fallback, connection)
        return
    try:
        await service.engine.handle_http(Exchange(connection))
    except PeerGone:
        raise
    except Exception:
        logger.exception("the engine failed at %s %s", request.method, request.path)
    if not connection.answered:
        await connection.refuse_unanswered()


async def _websocket(site: Site, upgrade: Upgrade) -> None:
    """Hand a valid upgrade request to the engine, and see that whatever it leaves is closed."""
    try:
        await site.service.engine.handle_websocket(upgrade)
    except PeerGone:
        raise
    except Exception:
        logger.exception("the engine failed in the WebSocket of %s", upgrade.peer)
        await upgrade.finish(1011)
    else:
        await upgrade.finish(1000)


async def serve_tls(site: Site, stream: ByteStream, ssl_stream: trio.SSLStream[trio.SocketStream], peer: Peer) -> None:
    """The TLS handshake in the connection's own task, then the same life."""
    try:
        with trio.fail_after(site.config.tls_timeout):
            await ssl_stream.do_handshake()
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
        cause = error.__cause__ or error
        why = f"not done in {site.config.tls_timeout:g} s" if isinstance(error, trio.TooSlowError) else str(cause)
        logger.info("%s: TLS handshake failed: %s", peer, why)
        stream.abort()
        return
    except BaseException:
        stream.abort()
        raise
    await serve_stream(site, stream, peer)


async def refuse_connection(site: Site, stream: ByteStream) -> None:
    """Tell a client that the server is full, and close. Bounded, never raises PeerGone."""
    try:
        with site.idling(_REFUSE_DEADLINE):
            await stream.send_all(_FULL)
            await stream.send_eof()
            while await stream.receive_some():
                pass
    except PeerGone:
        pass
    finally:
        stream.abort()


_REFUSE_DEADLINE = 1.0
"""Seconds for a refused client to read why."""

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 32\r\n"
    b"Retry-After: 5\r\nConnection: close\r\n\r\nthe server has no place for you\n"
)
