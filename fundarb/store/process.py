"""How a person ends the process that holds a writer's lock; ends none itself."""

from __future__ import annotations

from pathlib import Path


def how_to_end(pid: int) -> str:
    """The command that ends a process of this machine. One that was stopped (SIGSTOP, Ctrl-Z) keeps its lock
    and sees no signal but these two.
    """
    if stopped(pid):
        return f"kill -9 {pid} (it is stopped and sees no other signal; kill -CONT {pid} lets it go on)"
    return f"kill {pid}"


def stopped(pid: int) -> bool:
    """Whether a process is stopped or traced, where the system tells (``/proc``, Linux: proc(5), state T or
    t).
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] in (["T"], ["t"])
