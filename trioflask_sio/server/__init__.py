"""Listening and HTTP: the trio-native server, and the same service as an ASGI application.

It knows the engine by four methods and everything else as "some ASGI application" (design §2).
"""
