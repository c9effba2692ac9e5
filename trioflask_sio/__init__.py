"""Realtime for Flask on structured concurrency."""

__version__ = "0.1.0.dev0"
