"""The WebSocket streams of the sandbox, on the port of its REST side: sockets and their requests, public
channels, private messages, and the round that pushes what has changed. Everything here runs on the server's
one event loop, like every request, so the venue is never touched by two hands at once.
"""
