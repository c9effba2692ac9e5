"""python-socketio's client leaves over polling while a POST of its own is on its way: its goodbye arrives all the same.

The client loses it (docs/design/caveats.md); ``tests.support.python_client`` mends that, else one end-to-end test in a
hundred would wait for the next ping on a busy machine. This is the proof that it does, and that the servers understand
a goodbye that comes behind everything else in one POST.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests

from tests.e2e.kinds import ALL
from tests.support.python_client import python_client
from tests.support.servers import Server

SECONDS = 20


class SlowReplies(requests.Session):
    """Once ``slow`` is set, the reply to a POST reaches the client's writer only when the client is leaving."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.answered = threading.Event()
        self.left = threading.Event()
        self.posted: list[Any] = []
        self.polled: list[str] = []

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().request(method, url, *args, **kwargs)
        if method == "POST":
            self.posted.append(kwargs.get("data"))
            if self.slow:
                self.answered.set()
                assert self.left.wait(SECONDS)
        else:
            self.polled.append(response.text)
        return response


@pytest.mark.parametrize("server", ALL, indirect=True)
def test_a_goodbye_behind_a_post(server: Server) -> None:
    http = SlowReplies()
    with python_client(http) as client:
        client.on("disconnect", lambda reason: http.left.set())
        client.connect(server.url, transports=["polling"], wait_timeout=SECONDS)
        http.slow = True
        client.emit("echo")
        assert http.answered.wait(SECONDS)
    assert http.posted[-1] == "41\x1e1"
    assert "2" not in http.polled, "it took a ping to release the client"
