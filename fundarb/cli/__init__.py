"""The command line: one file per command group; each parses, calls one method of ``App``, renders, and
returns an exit code.

No command decides anything about trading: an ``if`` about a market here is in the wrong place. typer and rich
live in this room.
"""
