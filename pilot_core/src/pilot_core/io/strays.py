"""What runs on when the keeper of a job's processes is dead: found by the job's mark, and ended."""

from __future__ import annotations

import os
import signal

from pilot_core.io.process import MARK
from pilot_core.keeper.process import Seen, look, send_signal

PASSES = 50


def end_strays(mark: str, leader: tuple[int, int] | None = None) -> None:
    """Kill whatever has this mark or is this process (number and start), and all below; nothing else is touched.

    They are stopped first, until no more turn up, as what is stopped does not fork.
    """
    stopped: set[tuple[int, int]] = set()
    for _ in range(PASSES):
        fresh = _strays(mark, leader) - stopped
        if not fresh:
            break
        for identity in fresh:
            send_signal(identity, signal.SIGSTOP)
        stopped |= fresh
    for identity in stopped:
        send_signal(identity, signal.SIGKILL)


def _strays(mark: str, leader: tuple[int, int] | None) -> set[tuple[int, int]]:
    alive = [seen for name in os.listdir("/proc") if name.isdigit() and (seen := look(int(name))) and not seen.over]
    found: list[Seen] = []
    more = [seen for seen in alive if seen.identity == leader or _is_marked(seen.pid, mark)]
    while more:
        found += more
        members = {seen.pid for seen in found}
        more = [seen for seen in alive if seen.parent in members and seen.pid not in members]
    return {seen.identity for seen in found}


def _is_marked(pid: int, mark: str) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return bool(mark) and f"{MARK}={mark}".encode() in file.read().split(b"\0")
    except OSError:
        return False
