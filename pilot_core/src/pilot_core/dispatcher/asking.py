"""Commands by which somebody looks at a job where it runs, as far as a pilot can be asked for them. Pure."""

from __future__ import annotations

from typing import Final

from pilot_core.config.spelling import meant

LONGEST: Final = 250
"""What PanDA's database has room for."""
PROGRAMS: Final = ("tail", "ls", "ps", "du", "gdb")
WORDS: Final = frozenset(
    {"NULL", "tobekilled", "softkill", "alreadydone", "badattemptnr", "debug", "debugoff", "nocleanup"}
)
"""What a part between commas may not be: a pilot takes it for an order of the server's own."""


def why_not_asked(command: str) -> str:
    """Why a pilot cannot be asked for this, or nothing. What it then runs is its own to decide."""
    program, _, rest = command.partition(" ")
    known = ", ".join(PROGRAMS)
    if program not in PROGRAMS:
        return f"{program[:40]!r} is not one of {known}{meant(program, PROGRAMS)}"
    if not rest.strip():
        return f"{program!r} stands alone, and a pilot knows a command by the blank in it; write for example 'ls -l'"
    if not (command.isascii() and command.isprintable()) or ";" in command:
        return "is more than a program and plain arguments; no shell ever sees it"
    if own := [part.strip() for part in command.split(",") if part.strip() in WORDS]:
        return f"holds {own[0]!r}, which is an order of the server's own"
    if len(command) > LONGEST:
        return f"has {len(command)} characters; there is room for {LONGEST}"
    return ""
