"""HTTP views behind ``WsgiApplication``: whole requests with real Flask applications, on both loops."""

from __future__ import annotations

import contextvars
import io
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

import anyio
import pytest
from anyio import to_thread
from flask import Flask, Response, abort, request, send_file, session, stream_with_context

from tests.bridge.wsgi_driver import DEADLINE, Exchange, fetch, running
from trioflask_sio.bridge.wsgi import SPOOL_BYTES, WsgiApplication, current_view
from trioflask_sio.bridge.wsgi_stream import DISCONNECTED, FILE_BLOCK
from trioflask_sio.exceptions import ConfigError, HandlerCancelled, UsageError

pytestmark = pytest.mark.anyio

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")


def view_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "trioflask_sio view"]


@pytest.fixture
def app() -> Flask:
    app = Flask("views")
    app.secret_key = "test"

    @app.route("/hello")
    def hello() -> str:
        return f"hello {request.args.get('name', 'you')}"

    @app.route("/echo", methods=["POST"])
    def echo() -> bytes:
        return request.get_data()

    @app.route("/about/<name>")
    def about(name: str) -> dict[str, Any]:
        return {"name": name, "url": request.url, "peer": request.remote_addr, "agent": request.headers.get("X-Agent")}

    return app


async def test_a_small_reply_is_one_start_and_one_body(app: Flask) -> None:
    async with running(app) as application:
        reply = await fetch(application, path="/hello?name=Ada")
    assert (reply.status, reply.body) == (200, b"hello Ada")
    assert reply.headers["content-length"] == "9"
    assert len(reply.sent) == 2


async def test_the_view_sees_the_request_as_it_was_sent(app: Flask) -> None:
    async with running(app) as application:
        reply = await fetch(
            application,
            path="/about/käse",
            raw_path=b"/about/k%C3%A4se",
            headers=[("x-agent", "a"), ("x-agent", "b"), ("x_agent", "forged")],
        )
    about = Flask("x").json.loads(reply.body)
    assert about == {
        "name": "käse",
        "url": "http://test.example/about/käse",
        "peer": "192.0.2.7",
        "agent": "a,b",
    }


async def test_the_mount_point_is_script_name(app: Flask) -> None:
    async with running(app) as application:
        inside = await fetch(application, path="/sub/hello", root_path="/sub")
        outside = await fetch(application, path="/hello", root_path="/sub")
    assert (inside.status, outside.status) == (200, 200)


async def test_errors_of_flask_keep_their_status(app: Flask) -> None:
    app.add_url_rule("/teapot", view_func=lambda: abort(418))
    async with running(app) as application:
        assert (await fetch(application, path="/teapot")).status == 418
        assert (await fetch(application, path="/nowhere")).status == 404
        assert (await fetch(application, "DELETE", "/hello")).status == 405


async def test_a_session_cookie_goes_out(app: Flask) -> None:
    @app.route("/login")
    def login() -> str:
        session["user"] = "ada"
        return "in"

    async with running(app) as application:
        assert "session=" in (await fetch(application, path="/login")).headers["set-cookie"]


# --- request bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, SPOOL_BYTES - 1, SPOOL_BYTES, SPOOL_BYTES + 1, 1_000_000])
async def test_a_body_arrives_whole(app: Flask, length: int) -> None:
    body = bytes(range(256)) * (length // 256 + 1)
    pieces = [body[start : min(start + 10_000, length)] for start in range(0, length, 10_000)]
    async with running(app) as application:
        counted = await fetch(application, "POST", "/echo", pieces=pieces, headers=[("content-length", str(length))])
        chunked = await fetch(application, "POST", "/echo", pieces=pieces, headers=[("transfer-encoding", "chunked")])
    assert counted.body == body[:length]
    assert chunked.body == body[:length]


async def test_no_thread_is_taken_before_the_first_part_is_there(app: Flask) -> None:
    async with running(app) as application, anyio.create_task_group() as group:
        upload = Exchange("POST", "/echo", pieces=[b"a" * 100], open_body=True, headers=[("content-length", "200")])
        group.start_soon(upload.run, application)
        await upload.until_taken(1)
        await anyio.wait_all_tasks_blocked()
        assert view_threads() == []
        upload.feed(b"b" * 100, more=False)
        await upload.until_sent(2)
    assert upload.body == b"a" * 100 + b"b" * 100


async def test_the_rest_of_a_body_is_read_only_on_demand() -> None:
    go = threading.Event()

    def reader(environ: Any, start_response: Any) -> list[bytes]:
        first = environ["wsgi.input"].read(SPOOL_BYTES)
        assert go.wait(DEADLINE)
        rest = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"%d %d" % (len(first), len(rest))]

    async with running(reader) as application, anyio.create_task_group() as group:
        upload = Exchange("POST", pieces=[b"x" * SPOOL_BYTES] * 10)
        group.start_soon(upload.run, application)
        await upload.until_taken(1)
        await anyio.wait_all_tasks_blocked()
        assert upload.taken == 1
        go.set()
    assert upload.body == b"%d %d" % (SPOOL_BYTES, 9 * SPOOL_BYTES)
    assert upload.taken == 10


async def test_the_input_reads_like_a_file() -> None:
    lines = [b"%d" % number + b"." * (number * 37 % 3000) + b"\n" for number in range(200)] + [b"no newline at the end"]
    body = b"".join(lines)

    def reader(environ: Any, start_response: Any) -> list[bytes]:
        stream, model = environ["wsgi.input"], io.BytesIO(body)
        assert stream.read(5) == model.read(5)
        assert stream.read(0) == b""
        assert stream.readline() == model.readline()
        assert stream.readline(7) == model.readline(7)
        assert [stream.readline() for _ in range(30)] == [model.readline() for _ in range(30)]
        assert next(iter(stream)) == next(iter(model))
        assert stream.readlines(500) == model.readlines(500)
        assert stream.read(70_000) == model.read(70_000)
        assert list(stream) == list(model)
        assert stream.read() == stream.readline() == stream.read(10) == b""
        start_response("200 OK", [])
        return [b"same"]

    async with running(reader) as application:
        pieces = [body[start : start + 999] for start in range(0, len(body), 999)]
        assert len(body) > 2 * SPOOL_BYTES
        assert (await fetch(application, "POST", pieces=pieces)).body == b"same"


async def test_leaving_in_the_middle_of_an_upload_is_no_error(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[BaseException | None] = []
    ended = threading.Event()

    @app.teardown_request
    def note(error: BaseException | None) -> None:
        seen.append(error)
        ended.set()

    async with running(app) as application, anyio.create_task_group() as group:
        upload = Exchange("POST", "/echo", pieces=[b"x" * SPOOL_BYTES], open_body=True)
        group.start_soon(upload.run, application)
        await upload.until_taken(1)
        upload.leave()
        assert await to_thread.run_sync(ended.wait, DEADLINE)
    assert upload.sent == []
    assert len(seen) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_leaving_before_the_body_is_there_runs_no_view(app: Flask) -> None:
    async with running(app) as application:
        upload = Exchange("POST", "/echo", pieces=[b"x"], open_body=True)
        upload.leave()
        await upload.run(application)
        assert view_threads() == []
    assert upload.sent == []


# --- reply bodies ---------------------------------------------------------------------------------------------------


async def test_chunks_go_out_one_by_one_and_wait_for_each_other(app: Flask) -> None:
    produced: list[int] = []

    @app.route("/stream")
    def stream() -> Response:
        def chunks() -> Iterator[str]:
            for number in range(5):
                produced.append(number)
                yield f"{number};"

        return Response(chunks())

    async with running(app) as application, anyio.create_task_group() as group:
        download = Exchange(path="/stream")
        download.gate = anyio.Event()
        group.start_soon(download.run, application)
        await download.until_sent(1)
        await anyio.wait_all_tasks_blocked()
        assert produced == [0]  # the second is asked for only when the first has gone out
        download.gate.set()
    assert download.chunks == [b"0;", b"1;", b"2;", b"3;", b"4;", b""]
    assert "content-length" not in download.headers


async def test_stream_with_context_keeps_the_request(app: Flask) -> None:
    @app.route("/stream/<name>")
    def stream(name: str) -> Response:
        def chunks() -> Iterator[str]:
            for _ in range(3):
                yield request.path

        return Response(stream_with_context(chunks()))

    async with running(app) as application:
        reply = await fetch(application, path="/stream/a")
    assert reply.body == b"/stream/a" * 3


async def test_a_megabyte_both_ways(app: Flask) -> None:
    body = bytes(range(256)) * 4096
    async with running(app) as application:
        reply = await fetch(application, "POST", "/echo", pieces=[body])
    assert reply.body == body


async def test_a_file_is_sent_in_large_blocks(app: Flask) -> None:
    content = bytes(range(256)) * 1024

    @app.route("/file")
    def file() -> Response:
        return send_file(io.BytesIO(content), mimetype="application/octet-stream")

    async with running(app) as application:
        whole = await fetch(application, path="/file")
        part = await fetch(application, path="/file", headers=[("range", "bytes=10-19")])
    assert whole.body == content
    assert max(map(len, whole.chunks)) == FILE_BLOCK
    assert (part.status, part.body) == (206, content[10:20])


class Chunks:
    """A response iterable that notes what is done with it."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope
        self.asked = 0
        self.waiting = threading.Event()
        self.closed_by: list[str] = []
        self.closed = threading.Event()

    def __iter__(self) -> Chunks:
        return self

    def __next__(self) -> bytes:
        self.asked += 1
        if self.asked > 1:
            self.waiting.set()
            self.scope.wait(DEADLINE)
        return b"chunk"

    def close(self) -> None:
        self.closed_by.append(threading.current_thread().name)
        self.closed.set()


class Endless:
    """A WSGI application whose reply waits, after its first chunk, until its client has gone."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.chunks: Chunks

    def __call__(self, environ: Any, start_response: Any) -> Chunks:
        self.chunks = Chunks(environ[DISCONNECTED])
        self.started.set()
        start_response("200 OK", [])
        return self.chunks


async def test_a_client_that_leaves_ends_the_stream_and_the_worker_closes_it() -> None:
    endless = Endless()
    async with running(endless) as application, anyio.create_task_group() as group:
        download = Exchange()
        group.start_soon(download.run, application)
        await download.until_sent(2)
        await to_thread.run_sync(endless.chunks.waiting.wait, DEADLINE)
        download.leave()
        assert await to_thread.run_sync(endless.chunks.closed.wait, DEADLINE)
    assert endless.chunks.asked == 2
    assert endless.chunks.closed_by == ["trioflask_sio view"]
    assert not download.complete


async def test_a_send_that_fails_ends_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    endless = Endless()
    async with running(endless) as application:
        download = Exchange()
        download.broken = True
        await download.run(application)
        assert await to_thread.run_sync(endless.chunks.closed.wait, DEADLINE)
    assert endless.chunks.asked == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_cancelled_request_tells_its_view() -> None:
    endless = Endless()
    async with running(endless) as application:
        async with anyio.create_task_group() as group:
            download = Exchange()
            group.start_soon(download.run, application)
            await download.until_sent(2)
            group.cancel_scope.cancel()
        assert await to_thread.run_sync(endless.chunks.closed.wait, DEADLINE)
    assert endless.chunks.closed_by == ["trioflask_sio view"]


async def test_a_long_view_can_ask_whether_its_client_is_there(app: Flask) -> None:
    answers: list[bool] = []
    started, ended = threading.Event(), threading.Event()

    @app.route("/long")
    def long() -> str:
        scope = current_view.get()
        assert scope is not None
        assert scope is request.environ[DISCONNECTED]
        answers.append(scope.gone)
        answers.append(scope.wait(0))
        started.set()
        answers.append(scope.wait(DEADLINE))
        answers.append(scope.is_set())
        ended.set()
        raise HandlerCancelled

    async with running(app) as application, anyio.create_task_group() as group:
        visit = Exchange(path="/long")
        group.start_soon(visit.run, application)
        assert await to_thread.run_sync(started.wait, DEADLINE)
        visit.leave()
        assert await to_thread.run_sync(ended.wait, DEADLINE)
    assert answers == [False, False, True, True]
    assert visit.sent == []
    assert current_view.get() is None


async def test_a_client_that_left_while_waiting_for_a_thread_costs_no_view(app: Flask) -> None:
    busy, go = threading.Event(), threading.Event()
    ran: list[str] = []

    @app.route("/busy")
    def occupy() -> str:
        busy.set()
        go.wait(DEADLINE)
        return "done"

    @app.route("/second")
    def never() -> str:
        ran.append("second")
        return "x"

    async with running(app, threads=1) as application, anyio.create_task_group() as group:
        first, second = Exchange(path="/busy"), Exchange(path="/second")
        group.start_soon(first.run, application)
        assert await to_thread.run_sync(busy.wait, DEADLINE)
        second.leave()
        await second.run(application)
        go.set()
        await first.until_sent(2)
        assert (await fetch(application, path="/hello")).status == 200
    assert ran == []


# --- threads and contexts -------------------------------------------------------------------------------------------


async def test_every_request_has_its_own_copy_of_the_context_at_serve_time(app: Flask) -> None:
    mark.set("before serve")

    @app.route("/mark")
    def read_and_set() -> str:
        before = mark.get()
        mark.set("left over")
        return before

    async with running(app, threads=1) as application:
        mark.set("after serve")
        replies = [await fetch(application, path="/mark") for _ in range(3)]
    assert [reply.body for reply in replies] == [b"before serve"] * 3
    mark.set("unset")


async def test_a_view_may_run_an_event_loop_of_its_own(app: Flask) -> None:
    app.add_url_rule("/loop", view_func=lambda: str(anyio.run(anyio.sleep, 0)))
    async with running(app) as application:
        assert (await fetch(application, path="/loop")).body == b"None"


async def test_many_requests_at_once_are_all_answered_within_the_limit(app: Flask) -> None:
    lock = threading.Lock()
    now, most = 0, 0

    @app.route("/count/<int:number>")
    def count(number: int) -> str:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        mark.get()
        with lock:
            now -= 1
        return str(number)

    replies: dict[int, bytes] = {}

    async def visit(number: int) -> None:
        replies[number] = (await fetch(application, path=f"/count/{number}")).body

    async with running(app, threads=3) as application:
        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(visit, number)
        assert len(view_threads()) <= 3
    assert replies == {number: b"%d" % number for number in range(200)}
    assert most <= 3


async def test_blocked_views_do_not_hold_up_others_below_the_limit(app: Flask) -> None:
    barrier = threading.Barrier(4)
    app.add_url_rule("/meet", view_func=lambda: str(barrier.wait(DEADLINE) >= 0))
    async with running(app, threads=4) as application, anyio.create_task_group() as group:
        for _ in range(4):  # each waits until all four run
            group.start_soon(fetch, application, "GET", "/meet")
    assert not barrier.broken


async def test_no_thread_is_left_after_the_end(app: Flask) -> None:
    async with running(app) as application:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(fetch, application, "GET", "/hello")
        assert view_threads() != []
    assert view_threads() == []


async def test_stopping_ends_a_streaming_view() -> None:
    endless = Endless()
    download = Exchange()
    async with anyio.create_task_group() as group:
        async with running(endless) as application:
            group.start_soon(download.run, application)
            await download.until_sent(2)
        assert endless.chunks.closed_by == ["trioflask_sio view"]
        assert view_threads() == []
    assert download.ended  # its task has been let go too, though nobody cancelled it
    assert not download.complete


async def test_a_view_that_does_not_end_is_named_and_left(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    started, go = threading.Event(), threading.Event()

    @app.route("/stuck")
    def stuck() -> str:
        started.set()
        go.wait(DEADLINE)
        return "at last"

    async with anyio.create_task_group() as group, running(app, stop_grace=0.01) as application:
        group.start_soon(Exchange(path="/stuck").run, application)
        assert await to_thread.run_sync(started.wait, DEADLINE)
    threads = view_threads()
    go.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert len(threads) == 1
    assert "GET /stuck" in caplog.text


async def test_it_can_be_served_again_after_it_stopped(app: Flask) -> None:
    application = WsgiApplication(app)
    for _ in range(2):
        async with anyio.create_task_group() as group:
            await group.start(application.run)
            assert (await fetch(application, path="/hello")).status == 200
            group.cancel_scope.cancel()


async def test_misuse_is_told(app: Flask) -> None:
    idle = WsgiApplication(app)
    with pytest.raises(UsageError, match=r"run\(\) must be running"):
        await fetch(idle)
    async with running(app) as application:
        with pytest.raises(UsageError, match="once at a time"):
            await application.run()
        with pytest.raises(UsageError, match="not 'websocket' scopes"):
            await fetch(application, type="websocket")
    with pytest.raises(ConfigError, match="threads=0"):
        WsgiApplication(app, threads=0)
    with pytest.raises(ConfigError, match="stop_grace=-1"):
        WsgiApplication(app, stop_grace=-1)


def test_a_stuck_view_does_not_hold_up_the_end_of_the_process(anyio_backend_name: str) -> None:
    program = """
        import sys, threading, time
        import anyio
        from tests.bridge.wsgi_driver import Exchange
        from trioflask_sio.bridge.wsgi import WsgiApplication

        started = threading.Event()

        def stuck(environ, start_response):
            started.set()
            time.sleep(3600)

        async def main():
            application = WsgiApplication(stuck, stop_grace=0.01)
            async with anyio.create_task_group() as group:
                await group.start(application.run)
                group.start_soon(Exchange().run, application)
                await anyio.to_thread.run_sync(started.wait)
                group.cancel_scope.cancel()

        anyio.run(main, backend=sys.argv[1])
        print("ended")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), anyio_backend_name],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert done.stdout == "ended\n"


# --- the referee ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_it_passes_the_validator_of_the_standard_library(method: str) -> None:
    def reader(environ: Any, start_response: Any) -> list[bytes]:
        stream = environ["wsgi.input"]
        body = stream.readline() + b"".join(iter(stream)) if method == "POST" else b""
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [] if method == "HEAD" else [body]

    pieces = [b"line one\n", b"x" * SPOOL_BYTES, b"\nline three"] if method == "POST" else []
    async with running(validator(reader)) as application:
        reply = await fetch(application, method, "/a/b?c=d", pieces=pieces)
    assert (reply.status, reply.complete) == (200, True)
    assert reply.body == b"".join(pieces)
