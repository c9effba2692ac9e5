"""Flask-Login as the classic guide shows it (spec 1.14)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user

from tests.parity.kit import Api, Transcript, scenario


class User(UserMixin):  # type: ignore[misc]  # flask_login has no types
    """A user who is nothing but an id."""

    def __init__(self, name: str) -> None:
        self.id = name


def _with_login(app: Flask) -> None:
    manager = LoginManager(app)
    manager.user_loader(User)

    @app.route("/login/<name>")
    def login(name: str) -> str:
        return str(login_user(User(name)))

    @app.route("/logout")
    def logout() -> str:
        return str(logout_user())


def _name() -> Any:
    return current_user.id if current_user.is_authenticated else None


@scenario("1.14")
def the_current_user(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    _with_login(app)
    sio.on_event("connect", lambda: api.emit("hello", _name()) if current_user.is_authenticated else False)
    sio.on_event("who", _name)
    browser = app.test_client()
    t.note("anonymous", sio.test_client(app, flask_test_client=browser).is_connected())
    browser.get("/login/anna")
    client = sio.test_client(app, flask_test_client=browser)
    t.note("connected", client.is_connected())
    t.note("received", client.get_received())
    t.note("who", client.emit("who", callback=True))
    browser.get("/logout")
    t.note("after the logout, the same connection", client.emit("who", callback=True))
    t.note("a new one", sio.test_client(app, flask_test_client=browser).is_connected())


@scenario("1.14")
def authenticated_only(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    _with_login(app)
    ran: list[object] = []

    def only(handler: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(handler)
        def wrapped(*args: object, **kwargs: object) -> object:
            if not current_user.is_authenticated:
                api.disconnect()
                return None
            return handler(*args, **kwargs)

        return wrapped

    sio.on_event("work", only(lambda what: ran.append([_name(), what])))
    browser = app.test_client()
    stranger = sio.test_client(app, flask_test_client=browser)
    stranger.emit("work", 1)
    t.note("the stranger is connected", stranger.is_connected())
    browser.get("/login/anna")
    user = sio.test_client(app, flask_test_client=browser)
    user.emit("work", 2)
    t.note("the user is connected", user.is_connected())
    t.note("ran", ran)


@scenario("1.14")
def a_login_by_an_event(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    _with_login(app)
    sio.on_event("login", lambda name: login_user(User(name)))
    sio.on_event("who", _name)
    client = sio.test_client(app)
    t.note("before", client.emit("who", callback=True))
    t.note("login", client.emit("login", "anna", callback=True))
    t.note("after", client.emit("who", callback=True))
    t.note("another client", sio.test_client(app).emit("who", callback=True))


@scenario("1.14")
def login_required_on_a_handler(api: Api, t: Transcript) -> None:
    app, sio = api.make()
    _with_login(app)
    ran: list[object] = []
    sio.on_event("work", login_required(lambda: ran.append(_name())))
    browser = app.test_client()
    t.attempt("a stranger", lambda: sio.test_client(app, flask_test_client=browser).emit("work"))
    browser.get("/login/anna")
    sio.test_client(app, flask_test_client=browser).emit("work")
    t.note("ran", ran)
