"""The blocking form in real processes: signals, threads, monkey-patched interpreters."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import trio

from tests.server.helpers import PATH, FakeEngine, config, hello
from tests.support.paths import ROOT
from trioflask_sio.server.blocking import refuse_monkey_patched, run_blocking
from trioflask_sio.server.listener import AddressInUse
from trioflask_sio.server.serve import StopSignal, serve_service
from trioflask_sio.server.service import Service

PROGRAM = """
    import logging, trio
    from tests.server.helpers import PATH, FakeEngine, config, hello
    from trioflask_sio.server.blocking import run_blocking
    from trioflask_sio.server.serve import serve_service
    from trioflask_sio.server.service import Service

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")

    async def drain(timeout):
        await trio.sleep(SECONDS)

    async def main(stop):
        async with trio.open_nursery() as nursery:
            async def serve(*, task_status):
                service = Service(FakeEngine(shutdown_hook=drain), PATH, hello)
                await serve_service(service, config(shutdown_timeout=60), stop=stop, task_status=task_status)
            [bound] = await nursery.start(serve)
            print(bound, flush=True)

    run_blocking(main)
    print("ended", flush=True)
"""


def start(seconds: float) -> subprocess.Popen[str]:
    """A server in a process of its own that needs ``seconds`` to drain; returns once it listens."""
    code = textwrap.dedent(PROGRAM).replace("SECONDS", str(seconds))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_drains(number: signal.Signals) -> None:
    with start(0.1) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "ended\n")
    assert f"INFO {number.name}: stopping in order" in err
    assert "Traceback" not in err


def test_two_signals_stop_now() -> None:
    with start(3600) as process:
        assert process.stderr is not None
        process.send_signal(signal.SIGTERM)
        assert "stopping in order" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "ended\n")
    assert "WARNING SIGINT again: stopping now" in err
    assert "Traceback" not in err


def test_in_a_thread_it_works_without_signal_handlers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    ready = threading.Event()
    control: list[tuple[StopSignal, trio.lowlevel.TrioToken]] = []

    async def main(stop: StopSignal) -> None:
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[object]) -> None:
                service = Service(FakeEngine(), PATH, hello)
                await serve_service(service, config(), stop=stop, task_status=task_status)

            await nursery.start(serve)
            control.append((stop, trio.lowlevel.current_trio_token()))
            ready.set()

    thread = threading.Thread(target=run_blocking, args=(main,))
    thread.start()
    assert ready.wait(20)
    assert signal.getsignal(signal.SIGTERM) is before
    stop, token = control[0]
    token.run_sync_soon(stop.request)
    thread.join(20)
    assert not thread.is_alive()


def test_an_error_comes_out_as_itself() -> None:
    async def main(stop: StopSignal) -> None:
        service = Service(FakeEngine(), PATH, hello)
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[object]) -> None:
                await serve_service(service, config(), task_status=task_status)

            [bound] = await nursery.start(serve)
            await serve_service(service, config(port=bound.port))

    with pytest.raises(AddressInUse, match="already in use"):
        run_blocking(main)


def test_this_process_is_not_refused() -> None:
    refuse_monkey_patched()


def refusal(code: str, *paths: str) -> str:
    """The last line that a process prints when it is refused."""
    check = "from trioflask_sio.server.blocking import refuse_monkey_patched as refuse; refuse()"
    insert = f"import sys; sys.path[:0] = {list(paths)!r}; " if paths else ""
    done = subprocess.run(
        [sys.executable, "-c", f"{insert}{code}; {check}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


def test_gevent_is_refused() -> None:
    said = refusal("from gevent import monkey; monkey.patch_all()")
    assert "UsageError: gevent has monkey-patched socket, threading" in said
    assert "delete the call gevent.monkey.patch_all()" in said
    assert "socket" not in refusal("from gevent import monkey; monkey.patch_time()").split(" in this process")[0]


def test_eventlet_is_refused(tmp_path: Path) -> None:
    """eventlet is no longer maintained, so a module of its name with its one question stands in for it."""
    package = tmp_path / "eventlet"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "patcher.py").write_text("def is_monkey_patched(name): return name in ('socket', 'time')")
    said = refusal("import eventlet.patcher", str(tmp_path))
    assert "UsageError: eventlet has monkey-patched socket, time " in said
    assert "delete the call eventlet.monkey_patch()" in said
