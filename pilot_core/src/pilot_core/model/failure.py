"""A failure as one record: of which class, whose fault, by what cause, seen where, and what a retry should do.

An error carries what was found out about it in its facts; ``failure_of`` reads them, and where they say nothing the
error's code does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from attrs import asdict, field, frozen

from pilot_core.errors import OF_CLASS, Code, ErrorCode, Party, PilotError, Retry, Stage

CLASSES: Final[Mapping[str, str]] = {
    "memory": "memory was asked for that was not there",
    "disk": "a disk, or a quota on one, was full",
    "limits": "a limit on files, processes or file sizes was reached",
    "time": "time was used up",
    "crash": "a program crashed by a signal or stopped itself",
    "software": "a program, library, module or release is missing or does not fit",
    "program": "a program failed by its own doing: an exception, a syntax error, a wrong argument",
    "input": "something to be read is missing or damaged",
    "access": "permission was denied on this node",
    "network": "another machine could not be reached",
    "credentials": "a certificate, proxy, token or key was missing, refused or not trusted",
    "storage": "a storage or its catalogue failed",
    "database": "a database could not be used",
    "container": "the container runtime failed",
    "node": "the node's hardware or file systems failed",
    "parallel": "the launcher of parallel processes failed or lost one",
    "stopped": "somebody ended the job",
    "pilot": "the pilot failed",
    "plugin": "a plugin failed",
    "server": "the server failed, or took the job away",
    "unknown": "nothing says what happened",
}
"""Every class of failures, and what it means."""

_CLASS_OF: Final = {code.number: kind for kind, codes in OF_CLASS.items() for code in codes}
_OF_PARTIES: Final = {
    Party.STORAGE: "storage",
    Party.SITE: "node",
    Party.SERVER: "server",
    Party.PILOT: "pilot",
    Party.PLUGIN: "plugin",
    Party.PAYLOAD: "unknown",
    Party.NOBODY: "stopped",
}
MORE: Final = 1.5
"""By how much a request grows whose limit was reached."""
_MORE_TIME: Final = frozenset({Code.REACHEDMAXTIME.number})
MOST_FACTOR: Final = 10.0


class Where(StrEnum):
    """Where a retry has a chance."""

    SAME = "same site"
    OTHER = "other site"
    NEVER = "never"


_WHERE: Final = {Retry.ELSEWHERE: Where.OTHER, Retry.COUNTED: Where.NEVER, Retry.NEVER: Where.NEVER}


@frozen(kw_only=True)
class Advice:
    """What a retry should do: where, with how much more memory and time, and whether this attempt counts."""

    where: Where = Where.SAME
    counts: bool = True
    memory_factor: float = 1.0
    time_factor: float = 1.0
    text: str = ""

    def __str__(self) -> str:
        factors = (("memory", self.memory_factor), ("time", self.time_factor))
        more = [f"{name} x {factor:g}" for name, factor in factors if factor > 1]
        return ", ".join((self.where.value, *more, *([] if self.counts else ["this attempt does not count"])))


@frozen(kw_only=True)
class Evidence:
    """The line that says so; a negative number counts from the end of the file."""

    file: str
    line: int
    text: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line > 0 else f"line {-self.line} from the end"
        return f"{self.file}, {place}"


@frozen(kw_only=True)
class Failure:
    """What is known of one failure."""

    kind: str
    fault: Party
    code: int
    acronym: str
    cause: str
    remedy: str
    pattern: str = ""
    evidence: Evidence | None = None
    tail: str = ""
    also: str = ""
    """Other patterns that fitted."""
    advice: Advice = field(factory=Advice)

    def to_wire(self) -> dict[str, object]:
        """The JSON form, in which nothing is left out."""
        wire = {"class" if name == "kind" else name: value for name, value in asdict(self).items()}
        return wire | {"fault": self.fault.value, "advice": {**wire["advice"], "where": self.advice.where.value}}

    def words(self) -> dict[str, str]:
        """What of it a server can be told in pairs; ``told_in`` reads them."""
        advice = self.advice
        said = {"failure": self.kind, "fault": self.fault.value, "retry": advice.where.name.lower()}
        factors = {"memoryFactor": advice.memory_factor, "timeFactor": advice.time_factor}
        said |= {name: f"{value:g}" for name, value in factors.items() if value != 1}
        return said if advice.counts else said | {"counts": "0"}


TOLD: Final = frozenset({"failure", "fault", "retry", "memoryFactor", "timeFactor", "counts"})
"""The names of these pairs."""


def told_in(words: Mapping[str, str]) -> dict[str, object] | None:
    """The class, the fault and the advice in a server's pairs, or nothing if there are none of them."""
    kind, fault, where = words.get("failure"), words.get("fault"), words.get("retry", "").upper()
    if kind not in CLASSES or where not in Where.__members__:
        return None
    return {
        "class": kind,
        "fault": fault if fault in {each.value for each in Party} else "",
        "where": Where[where].value,
        "counts": words.get("counts") != "0",
        "memory_factor": factor(_number(words.get("memoryFactor")), 1.0),
        "time_factor": factor(_number(words.get("timeFactor")), 1.0),
    }


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def failure_of(error: PilotError) -> Failure:
    """The record of what an error says."""
    code, facts = error.code, error.facts
    retry = _one_of(Retry, str(facts.get("retry", "")).upper()) or code.retry
    fault = next((each for each in Party if each.value == facts.get("fault")), code.party)
    return Failure(
        kind=str(facts["class"]) if facts.get("class") in CLASSES else class_of(code),
        fault=fault,
        code=code.number,
        acronym=code.acronym,
        cause=str(facts.get("cause") or error.detail or code.sentence),
        remedy=str(facts.get("remedy") or retry.value),
        pattern=str(facts.get("pattern", "")),
        evidence=_evidence(facts),
        tail=str(facts.get("tail", "")),
        also=str(facts.get("also", "")),
        advice=advice_of(code, retry, facts),
    )


def class_of(code: ErrorCode) -> str:
    """The class of failures that a code alone tells."""
    if code.stage is Stage.STOP:
        return "stopped"
    return _CLASS_OF.get(code.number) or _OF_PARTIES[code.party]


def advice_of(code: ErrorCode, retry: Retry, facts: Mapping[str, object]) -> Advice:
    """What to do about a code; facts may know of factors."""
    memory = MORE if class_of(code) == "memory" else 1.0
    time = MORE if code.number in _MORE_TIME else 1.0
    return Advice(
        where=_WHERE.get(retry, Where.SAME),
        counts=retry is not Retry.UNCOUNTED,
        memory_factor=factor(facts.get("memory_factor"), memory),
        time_factor=factor(facts.get("time_factor"), time),
        text=retry.value,
    )


def factor(value: object, default: float) -> float:
    """By how much a request may grow; what makes no sense is the default."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= MOST_FACTOR
    return float(value) if fits else default  # type: ignore[arg-type]


def _one_of(kind: type[Retry], name: str) -> Retry | None:
    return kind.__members__.get(name)


def _evidence(facts: Mapping[str, Any]) -> Evidence | None:
    file, line = facts.get("file"), facts.get("line")
    if not isinstance(file, str) or not isinstance(line, int):
        return None
    return Evidence(file=file, line=line, text=str(facts.get("said", "")))
