"""One application per server under measurement, all with the same events and one view.

=============  =====================================================================================
``echo``       the handler emits its argument back to the sender
``ack``        the handler returns its argument, the server acknowledges with it
``async_echo`` like ``echo``, as an ``async def`` handler where the server has such handlers
``fan``        the handler emits its two arguments to every connected client
``connect``    a handler is registered and accepts
``GET /``      a view that returns ``ok``
=============  =====================================================================================

Each is a program: it binds 127.0.0.1, prints one line ``PORT <number> PID <number>`` and serves until it is terminated.
"""
