"""Which commands exist and where they live: the list that ``fundarb --help`` prints without importing any of
them.

A command is added with one line here. A test loads each of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One command or group: its name, the module in ``fundarb.cli``, the line of help, and whether it is a
    group.
    """

    name: str
    module: str
    summary: str
    group: bool = False


COMMANDS: tuple[Entry, ...] = (
    Entry("init", "init", "Write commented settings files into a folder."),
    Entry("config", "config", "Show and check the settings.", group=True),
    Entry("doctor", "doctor", "Check everything that trading needs, with remedies."),
    Entry("scan", "scan", "Rank the funding opportunities of the whole market."),
    Entry("open", "trading", "Open a hedged position: long spot, short the perpetual."),
    Entry("close", "trading", "Close a position or a part of it."),
    Entry("positions", "positions", "Show the open positions with live marks."),
    Entry("reconcile", "reconcile", "Bring our books and the venue together."),
    Entry("resolve", "resolve", "Answer a difference that reconcile asks about."),
    Entry("report", "report", "P&L, funding, trades, equity and ledger, tied out to the venue."),
    Entry("daemon", "daemon", "Trade unattended on the schedule of jobs.toml."),
    Entry("jobs", "jobs", "What runs unattended, and when.", group=True),
    Entry("status", "status", "How the bot is: control, writer, sources, blocks, jobs."),
    Entry("pause", "control", "Open nothing from now on."),
    Entry("resume", "control", "Allow opens again."),
    Entry("halt", "control", "Open nothing until a person has looked and resumed."),
    Entry("flatten", "control", "Close at wider prices and without waiting."),
    Entry("events", "events", "The audit trail."),
    Entry("notify", "notify", "Messages to people.", group=True),
    Entry("backup", "copies", "Copy the database, verified."),
    Entry("restore", "copies", "Put a backup in the database's place."),
    Entry("audit", "audit", "Check what must always hold."),
    Entry("sandbox", "sandbox", "A simulated exchange on this machine.", group=True),
    Entry("demo", "demo", "See it work on built-in data: no key, no network."),
)
