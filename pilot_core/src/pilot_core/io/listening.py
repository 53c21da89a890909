"""Signalling those processes of a tree that have a handler for a signal, and none that it would end."""

from __future__ import annotations

from pilot_core.keeper.process import descendants, look, send_signal


def signal_listeners(root: int, signum: int) -> int:
    """Signal whoever has a handler among the process ``root`` and all below it; how many those were."""
    leader = look(root)
    tree = [leader, *descendants(root)] if leader else []
    listening = [each for each in tree if not each.over and _listens(each.pid, signum)]
    for each in listening:
        send_signal(each.identity, signum)
    return len(listening)


def _listens(pid: int, signum: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            caught = next(line for line in status if line.startswith(b"SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(int(caught.split()[1], 16) >> (signum - 1) & 1)
