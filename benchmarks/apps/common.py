"""What the Python applications share: the command line, the socket, the line that tells the port."""

import argparse
import os
import socket

BACKLOG = 2048
SECRET = "benchmarks"
"""A session cookie can be signed, as in every real application."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with ``--port``."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    return result


def listening_socket(port: int) -> socket.socket:
    """A bound and listening TCP socket."""
    return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)


def announce(port: int) -> None:
    """Tell whoever started the program where it listens, and which process it is."""
    print(f"PORT {port} PID {os.getpid()}", flush=True)
