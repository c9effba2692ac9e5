"""The options ``json=`` and ``serializer=``: what writes and reads payloads and packets (spec 1.2.5, 2.10).

Both belong to one ``SocketIO``, not to the process. Flask's own JSON module asks the application how to write a date or
a decimal, so it runs inside an application context; any other module is used as it is. MessagePack has no use for one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flask.json
from flask import current_app

from trioflask_sio.exceptions import ConfigError, UsageError
from trioflask_sio.protocol.jsonlib import JsonCodec, wrap_json

if TYPE_CHECKING:
    from flask import Flask

    from trioflask_sio.protocol.sio_codec import PacketCodec

__all__ = ["json_codec", "packet_codec"]


def json_codec(given: object, app: Callable[[], Flask | None]) -> JsonCodec | None:
    """The codec for a value of the option.

    Args:
        given: None, or a module (or object) with ``dumps(obj, separators=…)`` and ``loads(text)``.
        app: called for the application each time it is needed.

    Returns:
        None where the built-in codec is meant.

    Raises:
        ConfigError: one of the two functions is missing.
    """
    if given is None:
        return None
    return wrap_json(_FlaskJson(app) if given is flask.json else given)


def packet_codec(given: object) -> PacketCodec | None:
    """The codec for a value of the option ``serializer`` (spec 1.2.13): None is the protocol's text form.

    Raises:
        ConfigError: it names none that there is, or needs a package that is missing.
    """
    if given is None or given == "default":
        return None
    if given != "msgpack":
        raise ConfigError(f"serializer={given!r}: there are 'default' and 'msgpack'.")
    try:
        from trioflask_sio.protocol.sio_msgpack import MsgpackCodec
    except ImportError as error:
        raise ConfigError(
            "serializer='msgpack' needs the package msgpack: pip install 'trioflask-sio[msgpack]'"
        ) from error
    return MsgpackCodec()


class _FlaskJson:
    """``flask.json``, always with the application around it."""

    __name__ = "flask.json"

    def __init__(self, app: Callable[[], Flask | None]) -> None:
        self._app = app

    def dumps(self, data: object, **options: Any) -> str:
        return self._inside(flask.json.dumps, data, options)  # type: ignore[no-any-return]  # it gives back what dumps does

    def loads(self, text: str) -> Any:
        return self._inside(flask.json.loads, text, {})

    def _inside(self, fn: Callable[..., Any], value: object, options: dict[str, Any]) -> Any:
        app = self._app()
        if app is None:
            raise UsageError(
                "json=flask.json needs the Flask application: call socketio.init_app(app) before emitting."
            )
        if current_app and current_app._get_current_object() is app:  # type: ignore[attr-defined]  # a LocalProxy
            return fn(value, **options)
        with app.app_context():
            return fn(value, **options)
