"""A chat: rooms, who is there, what was said before you came, who is typing.

Run it with ``python -m trioflask_sio demo`` or ``python examples/chat/app.py`` and open http://127.0.0.1:5000 twice.

The page loads the official JavaScript client from its CDN. Set ``CHAT_CLIENT_JS`` to the path of a local
``socket.io.min.js`` to serve that one instead (for a network without internet).
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from flask import Flask, Response, render_template, request, send_file, session

import trioflask_sio
from trioflask_sio import ConnectionRefusedError, SocketIO, emit, join_room, leave_room

CDN = "https://cdn.socket.io/4.8.1/socket.io.min.js"
LONGEST_NAME = 30
LONGEST_TEXT = 2_000
REMEMBERED = 100  # messages per room
MOST_ROOMS = 500  # beyond it, the room that has been empty for longest is forgotten when somebody leaves

app = Flask(__name__)
socketio = SocketIO(app)


class Room:
    """One room: who is in it (by sid, in order of arrival), and the last messages."""

    def __init__(self) -> None:
        self.people: dict[str, str] = {}
        self.messages: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)


# Handlers run in several threads. Whoever reads or changes a room holds the lock, and emits what follows from it before
# letting go, so that everybody hears about changes in the order in which they happened.
lock = threading.Lock()
rooms: dict[str, Room] = {}
numbers = itertools.count(1)


def sid() -> str:
    """The Socket.IO id of the client whose event this is."""
    return str(getattr(request, "sid"))  # noqa: B009  # the library adds the attribute; Flask's types do not know it


def enter(name: str, room_name: str) -> Room:
    """Put the client into a room and tell everybody in it."""
    room = rooms.setdefault(room_name, Room())
    room.people[sid()] = name
    join_room(room_name)
    emit("people", list(room.people.values()), to=room_name)
    return room


def leave() -> None:
    """Take the client out of its room, if it is in one, and tell the people there."""
    room_name = session.pop("room", None)
    if room_name is None:
        return
    room = rooms[room_name]
    name = room.people.pop(sid())
    leave_room(room_name)
    emit("typing", {"sid": sid(), "name": name, "typing": False}, to=room_name)
    emit("people", list(room.people.values()), to=room_name)
    if not room.people:
        rooms[room_name] = rooms.pop(room_name)  # to the end: the order is that of the last person's leaving
        empty = [name for name, room in rooms.items() if not room.people]
        for forgotten in empty[: max(0, len(rooms) - MOST_ROOMS)]:
            del rooms[forgotten]


@app.get("/")
def page() -> str:
    """The one page."""
    client = "client.js" if os.environ.get("CHAT_CLIENT_JS") else CDN
    return render_template("chat.html", client=client, longest_name=LONGEST_NAME, longest_text=LONGEST_TEXT)


@app.get("/client.js")
def client_js() -> Response:
    """The local copy of the JavaScript client, when one is configured."""
    return send_file(Path(os.environ["CHAT_CLIENT_JS"]).resolve(), mimetype="text/javascript")


@socketio.on("connect")
def connect(auth: Any) -> None:
    """A client comes with ``{name}``; without a usable one it is refused."""
    name = " ".join(str((auth or {}).get("name", "")).split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise ConnectionRefusedError(f"Please choose a name of 1 to {LONGEST_NAME} characters.")
    session["name"] = name


@socketio.on("disconnect")
def disconnect(reason: str) -> None:
    """However a client goes, its room hears of it."""
    with lock:
        leave()


@socketio.on("join")
def join(room_name: Any) -> dict[str, Any]:
    """Change to a room. The answer holds its last messages and its people."""
    room_name = str(room_name).strip()[:LONGEST_NAME] or "lobby"
    with lock:
        leave()
        session["room"] = room_name
        room = enter(session["name"], room_name)
        return {"room": room_name, "messages": list(room.messages), "people": list(room.people.values())}


@socketio.on("say")
def say(text: Any) -> bool:
    """Say something to everybody in the room. Answers whether it was said."""
    text = str(text).strip()[:LONGEST_TEXT]
    room_name = session.get("room")
    if not text or room_name is None:
        return False
    with lock:
        message = {"id": next(numbers), "sid": sid(), "name": session["name"], "text": text, "at": time.time()}
        rooms[room_name].messages.append(message)
        emit("message", message, to=room_name)
    return True


@socketio.on("typing")
def typing(is_typing: Any) -> None:
    """Tell the others in the room that this client types, or has stopped."""
    room_name = session.get("room")
    if room_name is not None:
        hint = {"sid": sid(), "name": session["name"], "typing": bool(is_typing)}
        emit("typing", hint, to=room_name, include_self=False)


if __name__ == "__main__":
    trioflask_sio.serve(app)
