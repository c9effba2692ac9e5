"""The same applications on Flask-SocketIO and on this package, compared entry by entry."""
