"""PEP 3333, sentence by sentence: what a WSGI application may do, and what it gets when it does something else."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bridge.wsgi_driver import DEADLINE, Exchange, fetch, running

pytestmark = pytest.mark.anyio


def answering(status: str = "200 OK", headers: Any = (), body: Any = (b"body",)) -> Callable[[Any, Any], Any]:
    """A WSGI application that gives this answer."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, list(headers))
        return body

    return application


async def reply_of(wsgi_app: Any, method: str = "GET") -> Exchange:
    async with running(wsgi_app) as application:
        return await fetch(application, method)


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- lengths and bodies ---------------------------------------------------------------------------------------------


async def test_one_chunk_gets_its_length_and_takes_one_hop() -> None:
    reply = await reply_of(answering(body=[b"only"]))
    assert (reply.headers["content-length"], reply.chunks) == ("4", [b"only"])


@pytest.mark.parametrize("body", [[], [b""], (), iter([]), iter([b"", b""])])
async def test_nothing_is_a_length_of_zero(body: Any) -> None:
    reply = await reply_of(answering(body=body))
    assert (reply.headers["content-length"], reply.chunks) == ("0", [b""])


async def test_empty_chunks_are_not_sent() -> None:
    reply = await reply_of(answering(body=[b"", b"a", b"", b"b", b""]))
    assert reply.chunks == [b"a", b"b", b""]


async def test_the_end_is_known_from_the_length() -> None:
    reply = await reply_of(answering(headers=[("Content-Length", "4")], body=[b"ab", b"cd"]))
    assert reply.chunks == [b"ab", b"cd"]
    assert reply.complete


async def test_more_than_the_length_is_cut_off_and_told(caplog: pytest.LogCaptureFixture) -> None:
    ran_on = []

    def body() -> Iterator[bytes]:
        yield b"abc"
        yield b"def"
        ran_on.append(True)
        yield b"ghi"

    reply = await reply_of(answering(headers=[("Content-Length", "4")], body=body()))
    assert (reply.body, reply.complete) == (b"abcd", True)
    assert ran_on == [True]
    assert "2 bytes more than its Content-Length" in caplog.text


async def test_less_than_the_length_breaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    reply = await reply_of(answering(headers=[("Content-Length", "9")], body=[b"abc"]))
    assert (reply.body, reply.complete) == (b"abc", False)
    assert "6 bytes short" in caplog.text


@pytest.mark.parametrize("body", [[], [b"body"], [b"bo", b"dy"]])
async def test_head_has_the_length_and_no_body(body: Any, caplog: pytest.LogCaptureFixture) -> None:
    reply = await reply_of(answering(headers=[("Content-Length", "4")], body=body), "HEAD")
    assert (reply.headers["content-length"], reply.chunks) == ("4", [b""])
    assert errors(caplog) == []


async def test_head_does_not_drain_an_endless_body() -> None:
    closed = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    reply = await reply_of(answering(body=endless()), "HEAD")
    assert (reply.body, reply.complete) == (b"", True)
    assert closed == [True]


@pytest.mark.parametrize(("status", "kept"), [("204 No Content", False), ("304 Not Modified", True)])
async def test_bodyless_statuses_have_no_body(status: str, kept: bool) -> None:
    reply = await reply_of(answering(status, [("Content-Length", "4"), ("ETag", '"a"')], [b"body"]))
    assert (reply.body, reply.complete) == (b"", True)
    assert ("content-length" in reply.headers) is kept
    assert reply.headers["etag"] == '"a"'


# --- start_response -------------------------------------------------------------------------------------------------


async def test_a_generator_may_start_the_response_late() -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("201 Created", [("X-Late", "yes")])
        yield b"a"
        yield b"b"

    reply = await reply_of(application)
    assert (reply.status, reply.headers["x-late"], reply.body) == (201, "yes", b"ab")


async def test_write_sends_before_the_iterable() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"first ")
        write(b"second ")
        return [b"third"]

    reply = await reply_of(application)
    assert reply.chunks == [b"first ", b"second ", b"third"]
    assert "content-length" not in reply.headers


async def test_write_to_a_client_that_left_unwinds_the_view(caplog: pytest.LogCaptureFixture) -> None:
    unwound = threading.Event()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        try:
            write(b"more")
        except Exception:  # what is raised passes through this
            start_response("500 never", [], sys.exc_info())
        finally:
            unwound.set()
        return []

    async with running(application) as served:
        visit = Exchange()
        visit.broken = True
        await visit.run(served)
    assert unwound.wait(DEADLINE)
    assert errors(caplog) == []


def _change_mind() -> None:
    raise ValueError("changed my mind")


async def test_exc_info_replaces_a_head_that_was_not_sent() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-First", "1"), ("Content-Length", "100")])
        try:
            _change_mind()
        except ValueError:
            start_response("503 Later", [("X-Second", "2")], sys.exc_info())
        return [b"sorry"]

    reply = await reply_of(application)
    assert (reply.status, reply.body) == (503, b"sorry")
    assert reply.headers == {"x-second": "2", "content-length": "5"}


async def test_exc_info_after_the_head_raises_the_error(caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        try:
            _change_mind()
        except ValueError:
            start_response("500 Oh", [], sys.exc_info())
        yield b"never"

    reply = await reply_of(application)
    assert (reply.body, reply.complete) == (b"first", False)
    assert "ValueError: changed my mind" in caplog.text


def _twice(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []


def _body_without_head(environ: Any, start_response: Any) -> list[bytes]:
    return [b"body"]


def _nothing_at_all(environ: Any, start_response: Any) -> list[bytes]:
    return []


def _no_iterable(environ: Any, start_response: Any) -> None:
    start_response("200 OK", [])


def _leaves_python(environ: Any, start_response: Any) -> list[bytes]:
    sys.exit(3)


@pytest.mark.parametrize(
    ("wsgi_app", "complaint"),
    [
        (_twice, "a second time without exc_info"),
        (_body_without_head, "before it called start_response"),
        (_nothing_at_all, "without calling start_response"),
        (_no_iterable, "not iterable"),
        (_leaves_python, "SystemExit: 3"),
        (answering(body=["text"]), "made of bytes, not of str: 'text'"),
        (answering("200OK"), "three digits and a reason"),
        (answering("20 OK"), "three digits and a reason"),
        (answering("100 Continue"), "three digits and a reason"),
        (answering("200 O\r\nK"), "three digits and a reason"),
        (answering(200), "a str such as '200 OK'"),  # type: ignore[arg-type]  # the mistake under test
        (answering(headers=[("X-A", "a\r\nSet-Cookie: b=c")]), "HTTP cannot carry"),
        (answering(headers=[("X A", "a")]), "HTTP cannot carry"),
        (answering(headers=[("", "a")]), "HTTP cannot carry"),
        (answering(headers=[("X-A", 1)]), "a header is two strings"),
        (answering(headers=[("X-A", "\u20ac")]), "latin-1"),
        (answering(headers=[("Content-Length", "-1")]), "a count of bytes"),
        (answering(headers=[("Content-Length", "\u00b2")]), "a count of bytes"),
    ],
)
async def test_mistakes_before_the_first_byte_are_a_500_with_a_traceback(
    wsgi_app: Any, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(wsgi_app) as application:
        reply = await fetch(application, path="/broken")
        head = await fetch(application, "HEAD", "/broken")
    assert (reply.status, reply.body, reply.complete) == (500, b"Internal Server Error", True)
    assert head.body == b""
    assert complaint in caplog.text
    assert "The view of GET /broken failed" in caplog.text
    assert "Traceback" in caplog.text


async def test_an_error_after_the_first_byte_breaks_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    def body() -> Iterator[bytes]:
        try:
            yield b"first"
            raise ZeroDivisionError
        finally:
            closed.append(True)

    reply = await reply_of(answering(body=body()))
    assert (reply.status, reply.body, reply.complete) == (200, b"first", False)
    assert closed == [True]
    assert "ZeroDivisionError" in caplog.text


class _BadClose(list[bytes]):
    def close(self) -> None:
        raise OSError("cannot close")


async def test_an_error_in_close_is_told_but_spoils_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reply = await reply_of(answering(body=_BadClose([b"fine"])))
    assert (reply.body, reply.complete) == (b"fine", True)
    assert "cannot close" in caplog.text


async def test_close_is_called_when_iterating_fails_before_the_first_byte() -> None:
    class Failing:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            raise LookupError

        def close(self) -> None:
            self.closed += 1

    failing = Failing()
    assert (await reply_of(answering(body=failing))).status == 500
    assert failing.closed == 1


async def test_headers_keep_order_and_repetitions_and_hop_by_hop_is_dropped() -> None:
    headers = [("Set-Cookie", "a=1"), ("Connection", "keep-alive"), ("Set-Cookie", "b=2"), ("X-Text", "caf\xe9\tx")]
    reply = await reply_of(answering(headers=[*headers, ("Transfer-Encoding", "chunked")], body=[b"x"]))
    assert reply.sent[0]["headers"] == [
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-text", b"caf\xe9\tx"),
        (b"content-length", b"1"),
    ]


async def test_a_status_without_a_reason_is_taken() -> None:
    assert (await reply_of(answering("299"))).status == 299
