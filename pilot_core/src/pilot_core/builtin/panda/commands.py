"""What a server's reply to an update asks for, word by word, and what that comes to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen

from pilot_core.sdk import Code, PilotError, Reply

log = logging.getLogger(__name__)
KILLS: Final[Mapping[str, str]] = {
    "tobekilled": "the server says: tobekilled",
    "badattemptnr": "the server has begun another attempt at this job",
    "alreadydone": "the server has the last word on this job already",
}
DEBUG: Final = frozenset({"debug", "debugoff"})
KEEP: Final = "nocleanup"
SOFTLY: Final = "softkill"
WORDS: Final = frozenset({*KILLS, *DEBUG, KEEP, SOFTLY})


@frozen
class Wanted:
    """The words of a reply, and the one command in it by which somebody wants to look at the job."""

    words: tuple[str, ...] = ()
    order: str = ""


def wanted_in(command: object) -> Wanted:
    """What a command says. A part with a blank is an order, which goes on until the next known word, commas and all."""
    if not isinstance(command, str):
        if command is not None:
            log.warning("a command that is no text is not obeyed: %.80r", command)
        return Wanted()
    words: list[str] = []
    order: list[str] = []
    for part in (each.strip() for each in command.split(",")):
        if part in WORDS or (not order and " " not in part):
            words.append(part)
        else:
            order.append(part)
    return Wanted(tuple(word for word in words if word not in ("", "NULL")), ",".join(order).rstrip(","))


@frozen
class Pace:
    """How often updates are sent: of a job that somebody follows, of others, and what the server wants of this one."""

    debug_s: float
    usual_s: float
    told_s: float | None = None

    @property
    def followed_s(self) -> float:
        """For a job that somebody follows."""
        return min(self.debug_s, self.told_s or self.debug_s)


def superseded(reply: Reply, newer: int | None) -> Reply:
    """The same reply; a kill is for another attempt at the job, if the server says so."""
    if reply.stop is None or not newer:
        return reply
    return evolve(reply, stop=PilotError(Code.PANDAKILL, f"attempt {newer} is in its place", superseded=True))


def reply_to(words: tuple[str, ...], job: str, pace: Pace) -> Reply:
    """What a server's commands come to while a job runs. A kill wins over everything else."""
    for word in words:
        if why := KILLS.get(word):
            return Reply(stop=PilotError(Code.PANDAKILL, why))
    rest = [word for word in words if word not in DEBUG and word not in (KEEP, SOFTLY)]
    for word in rest:
        log.warning("job %s: the server's command %.80r is not obeyed", job, word)
    soft_stop = PilotError(Code.PREEMPTION, f"the server says: {SOFTLY}") if SOFTLY in words else None
    reply = Reply(soft_stop=soft_stop, notes={"commands": rest} if rest else {})
    if "debugoff" in words:
        return evolve(reply, debug=False, heartbeat_s=pace.told_s or pace.usual_s)
    if "debug" in words:
        return evolve(reply, debug=True, heartbeat_s=pace.followed_s)
    return evolve(reply, heartbeat_s=pace.told_s)
