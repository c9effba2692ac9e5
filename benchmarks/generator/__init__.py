"""The load generator: raw sockets, one epoll loop, frames built once and compared as bytes.

It must never be slower than the server it measures, so the hot paths know the exact bytes of every right answer
(learnt and checked during the warm-up) and parse only what is none of them.
"""
