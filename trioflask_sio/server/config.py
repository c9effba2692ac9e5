"""The options of the trio-native server: one frozen, validated table."""

from __future__ import annotations

import math
import ssl
from dataclasses import dataclass, fields

from trioflask_sio.exceptions import ConfigError

__all__ = ["ServeConfig"]

_POSITIVE = ("header_timeout", "keep_alive_timeout", "body_timeout", "send_timeout", "tls_timeout")
_COUNTS = ("backlog", "max_header_size", "max_connections")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """How to listen, how long to wait, how much to take. Times are seconds (float), sizes bytes (int).

    ===================  ===============  ==========================================================================
    option               default          meaning
    ===================  ===============  ==========================================================================
    host                 ``"127.0.0.1"``  address or name to bind; ``None`` or ``""`` means every interface
    port                 ``5000``         TCP port; ``0`` lets the system choose one
    unix_socket          ``None``         path of a Unix socket to listen on instead of host and port
    backlog              ``2048``         connections the kernel may hold before they are accepted
    certfile             ``None``         PEM file with the certificate chain: serve https
    keyfile              ``None``         PEM file with the private key, where it is not in ``certfile``
    ssl_context          ``None``         a ready ``ssl.SSLContext`` instead of the two files
    tls_timeout          ``10.0``         for the TLS handshake
    header_timeout       ``10.0``         from a request's first byte (or the connection) to the end of its head
    keep_alive_timeout   ``75.0``         for the next request on an idle connection; above the 60 s of usual proxies
    body_timeout         ``30.0``         between two pieces of a request body
    send_timeout         ``30.0``         for the client to take some 64 KiB of an HTTP reply
    max_header_size      ``65536``        bytes of one request head; more is answered 431
    max_connections      ``65536``        open connections; the next one is answered 503
    shutdown_timeout     ``10.0``         from the first stop signal until everything left is cancelled
    switch_interval      ``0.0005``       ``sys.setswitchinterval`` while serving (design §8.6); None: leave it alone
    access_log           ``False``        log each request and connection to ``trioflask_sio.access`` at INFO
    server_header        ``None``         value of a ``Server`` header; None sends none
    ===================  ===============  ==========================================================================

    Raises:
        ConfigError: an option has an impossible value; the message names it and what is allowed.
    """

    host: str | None = "127.0.0.1"
    port: int = 5000
    unix_socket: str | None = None
    backlog: int = 2048
    certfile: str | None = None
    keyfile: str | None = None
    ssl_context: ssl.SSLContext | None = None
    tls_timeout: float = 10.0
    header_timeout: float = 10.0
    keep_alive_timeout: float = 75.0
    body_timeout: float = 30.0
    send_timeout: float = 30.0
    max_header_size: int = 65_536
    max_connections: int = 65_536
    shutdown_timeout: float = 10.0
    switch_interval: float | None = 0.0005
    access_log: bool = False
    server_header: str | None = None

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.keyfile is not None and self.certfile is None:
            raise ConfigError("keyfile needs certfile: the certificate that belongs to the key")
        if self.ssl_context is not None and self.certfile is not None:
            raise ConfigError("give either ssl_context or certfile/keyfile, not both")
        if self.server_header is not None and not (self.server_header.isascii() and self.server_header.isprintable()):
            raise ConfigError(f"server_header must be printable ASCII, not {self.server_header!r}")

    def _check_numbers(self) -> None:
        if not _is_int(self.port) or not 0 <= self.port <= 65_535:
            raise ConfigError(f"port must be an integer from 0 to 65535, not {self.port!r}")
        for name in _COUNTS:
            value = getattr(self, name)
            if not _is_int(value) or value < 1:
                raise ConfigError(f"{name} must be an integer of at least 1, not {value!r}")
        for name in _POSITIVE:
            value = getattr(self, name)
            if not _is_number(value) or value <= 0:
                raise ConfigError(f"{name} must be a number of seconds above 0, not {value!r}")
        self._check_stop_and_switch()

    def _check_stop_and_switch(self) -> None:
        seconds = self.shutdown_timeout
        if not _is_number(seconds) or not 0 <= seconds < math.inf:
            raise ConfigError(f"shutdown_timeout must be a finite number of seconds, 0 or more, not {seconds!r}")
        interval = self.switch_interval
        if interval is not None and not (_is_number(interval) and 0 < interval < 1):
            raise ConfigError(f"switch_interval must be None or between 0 and 1 second, not {interval!r}")

    def tls(self) -> ssl.SSLContext | None:
        """The context to serve TLS with, or None for plain text.

        Raises:
            ConfigError: the certificate or key cannot be loaded; the message names the files and the cause.
        """
        if self.ssl_context is not None or self.certfile is None:
            return self.ssl_context
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.certfile, self.keyfile)
        except (OSError, ssl.SSLError) as error:
            files = self.certfile if self.keyfile is None else f"{self.certfile} and {self.keyfile}"
            raise ConfigError(f"the TLS certificate cannot be loaded from {files}: {error}") from error
        return context

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Every option, for whoever checks names given by a user."""
        return tuple(field.name for field in fields(cls))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
