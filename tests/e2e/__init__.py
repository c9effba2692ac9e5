"""Interoperability: real server processes, real sockets, the official clients. Nothing of the package is imported here
except by the programs that are started, and those use its public names only."""
