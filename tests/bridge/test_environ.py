"""Environs for handlers (spec 3.15)."""

from __future__ import annotations

import sys
from typing import Any
from wsgiref.validate import validator

import pytest
from flask import Flask, Request

from tests.bridge.context_kit import handshake
from trioflask_sio.bridge.environ import build_environ
from trioflask_sio.engine.transport import HttpRequest

APP = Flask("environ")


def test_a_handshake_becomes_a_complete_environ() -> None:
    environ = build_environ(handshake(("user-agent", "pytest"), scheme="https", root_path="/chat"), APP)
    body, errors = environ.pop("wsgi.input"), environ.pop("wsgi.errors")
    assert body.read() == b""
    assert errors is sys.stderr
    assert environ == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/chat",
        "PATH_INFO": "/socket.io/",
        "QUERY_STRING": "EIO=4&transport=polling",
        "SERVER_NAME": "192.0.2.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4711",
        "HTTP_HOST": "chat.example",
        "HTTP_USER_AGENT": "pytest",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "flask.app": APP,
    }


def test_the_standard_librarys_validator_accepts_it() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    environ = build_environ(handshake(("content-type", "text/plain"), ("content-length", "5")), APP)
    body = validator(application)(environ, lambda status, headers, exc_info=None: lambda data: None)
    list(body)
    body.close()  # type: ignore[attr-defined]  # the validator demands it


def test_repeated_headers_and_cookies_are_joined() -> None:
    headers = (("x-tag", "a"), ("cookie", "a=1"), ("x-tag", "b"), ("cookie", "b=2"), ("cookie", "c=3"))
    environ = build_environ(handshake(*headers), APP)
    assert environ["HTTP_X_TAG"] == "a,b"
    assert environ["HTTP_COOKIE"] == "a=1; b=2; c=3"
    assert dict(Request(environ).cookies) == {"a": "1", "b": "2", "c": "3"}


def test_a_header_with_an_underscore_cannot_pass_for_another() -> None:
    environ = build_environ(handshake(("x_forwarded_for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.9")), APP)
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.9"
    alone = build_environ(handshake(("x_forwarded_for", "6.6.6.6")), APP)
    assert "HTTP_X_FORWARDED_FOR" not in alone


@pytest.mark.parametrize(
    ("path", "raw_path", "root_path", "script_name", "path_info"),
    [
        ("/socket.io/", b"", "", "", "/socket.io/"),
        ("/käse", b"", "", "", "/k\xc3\xa4se"),
        ("/käse", b"/k%C3%A4se", "", "", "/k\xc3\xa4se"),
        ("/\ufffd", b"/%FF", "", "", "/\xff"),
        ("/a b", b"/a%20b?x=y", "", "", "/a b"),
        ("/a%2Fb", b"/a%252Fb", "", "", "/a%2Fb"),
        ("/sub/a", b"", "/sub", "/sub", "/a"),
        ("/sub/a", b"/sub/a", "/sub/", "/sub", "/a"),
        ("/a", b"", "/sub", "/sub", "/a"),
        ("/subway", b"", "/sub", "/sub", "/subway"),
        ("/sub", b"", "/sub", "/sub", ""),
        ("/ü/a", b"", "/ü", "/\xc3\xbc", "/a"),
    ],
)
def test_paths(path: str, raw_path: bytes, root_path: str, script_name: str, path_info: str) -> None:
    environ = build_environ(HttpRequest("GET", path, raw_path=raw_path, root_path=root_path), APP)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


@pytest.mark.parametrize(("scheme", "port"), [("http", "80"), ("https", "443")])
def test_a_unix_socket_has_no_addresses_but_a_valid_url(scheme: str, port: str) -> None:
    environ = build_environ(HttpRequest("GET", "/", scheme=scheme, server=("/run/chat.sock", None)), APP)
    assert "REMOTE_ADDR" not in environ
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", port)
    assert Request(environ).url == f"{scheme}://localhost/"
    assert Request(environ).remote_addr is None


def test_the_body_is_empty_whatever_the_headers_say() -> None:
    headers = (("content-length", "1000"), ("transfer-encoding", "chunked"), ("content-type", "text/plain"))
    request = Request(build_environ(handshake(*headers), APP))
    assert request.get_data() == b""
    assert request.content_type == "text/plain"


@pytest.mark.parametrize(("version", "protocol"), [("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("2", "HTTP/2")])
def test_the_protocol_version(version: str, protocol: str) -> None:
    assert build_environ(HttpRequest("GET", "/", http_version=version), APP)["SERVER_PROTOCOL"] == protocol
