"""What a report tells of a job: typed values, made from records that anybody may have written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from pilot_core.redact import MASK

LONGEST_TEXT: Final = 20_000
MOST_ITEMS: Final = 2_000
LARGEST: Final = 1e18
OWN_FIELDS: Final = frozenset({"file", "described", "broken"})
"""What a message that came from a file holds beside the fields of a server."""


@frozen(kw_only=True)
class Span:
    """A stretch of a job's life."""

    name: str
    phase: str
    at: float
    lasted_s: float
    open: bool = False
    """Whether it had not ended when it was last heard of."""


@frozen(kw_only=True)
class Sample:
    """What a payload had used at a moment."""

    at: float
    cpu_s: float = 0.0
    rss_b: float = 0.0
    pss_b: float = 0.0
    read_b: float = 0.0
    written_b: float = 0.0
    processes: float = 0.0
    disk_b: float = 0.0
    more: Mapping[str, float] = field(factory=dict)


@frozen(kw_only=True)
class File:
    """A file of a job, and what became of it."""

    name: str
    direction: str
    state: str
    size_b: float | None = None
    checksum: str = ""
    speed_b_s: float | None = None
    took_s: float | None = None
    url: str = ""
    tool: str = ""


@frozen(kw_only=True)
class Fault:
    """Something that went wrong, whose fault it is and what to do."""

    number: str
    acronym: str
    sentence: str
    detail: str
    party: str
    advice: str
    reported: bool
    kind: str = ""
    evidence: str = ""
    said: str = ""
    remedy: str = ""
    retry: str = ""


@frozen(kw_only=True)
class Account:
    """Everything that is known of one job."""

    id: str
    source: str
    name: str = ""
    attempt: str = ""
    state: str = ""
    open: bool = False
    node: str = ""
    began: float | None = None
    lasted_s: float = 0.0
    spans: tuple[Span, ...] = ()
    usage: tuple[Sample, ...] = ()
    totals: Mapping[str, float] = field(factory=dict)
    files: tuple[File, ...] = ()
    faults: tuple[Fault, ...] = ()
    command: tuple[str, ...] = ()
    ended: str = ""
    facts: Mapping[str, str] = field(factory=dict)
    notes: Mapping[str, str] = field(factory=dict)
    environment: Mapping[str, str] = field(factory=dict)
    plugins: Mapping[str, str] = field(factory=dict)
    extras: Mapping[str, str] = field(factory=dict)
    unused: Mapping[str, str] = field(factory=dict)
    """Fields of the message whose values are found nowhere in the job that was made of it."""
    message: str = ""
    log: str = ""
    said: Mapping[str, str] = field(factory=dict)
    remarks: tuple[str, ...] = ()
    """What could not be read, and what else should be known of this report."""


# --- reading what may be anything ---


def text(value: object, most: int = LONGEST_TEXT) -> str:
    """Any JSON value as a text, cut where it is too long."""
    if value is None:
        return ""
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return said if len(said) <= most else f"{said[:most]} … ({len(said)} characters)"


def number(value: object) -> float | None:
    """A number that can be drawn, or none."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST
    return float(value) if fits else None  # type: ignore[arg-type]


def table(value: object) -> Mapping[str, Any]:
    """A JSON object, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """The objects in a JSON list."""
    return [each for each in items(value) if isinstance(each, Mapping)]


def items(value: object) -> list[Any]:
    """What is in a JSON list, up to a bound."""
    return list(value[:MOST_ITEMS]) if isinstance(value, (list, tuple)) else []


def texts(value: object) -> dict[str, str]:
    """A JSON object as names and texts."""
    return {str(name): text(each) for name, each in list(table(value).items())[:MOST_ITEMS]}


def numbers(value: object) -> dict[str, float]:
    """What of a JSON object are numbers."""
    known = ((str(name), number(each)) for name, each in list(table(value).items())[:MOST_ITEMS])
    return {name: each for name, each in known if each is not None}


# --- the parts of an account ---


def spans_of(phases: object) -> tuple[Span, ...]:
    """The phases of a record."""
    return tuple(
        Span(
            name=text(each.get("phase")),
            phase=text(each.get("phase")),
            at=at,
            lasted_s=number(each.get("lasted_s")) or 0,
        )
        for each in rows(phases)
        if (at := number(each.get("at"))) is not None
    )


def samples_of(lines: Iterable[bytes]) -> tuple[Sample, ...]:
    """The samples in a history, in the order of time; lines that are none are passed over."""
    known = {sample.at: sample for line in lines if (sample := _sample(line)) is not None}
    return tuple(known[at] for at in sorted(known))


def _sample(line: bytes) -> Sample | None:
    try:
        told = table(json.loads(line))
    except (ValueError, RecursionError):
        return None
    plain = {name: value for name, value in numbers(told).items() if name in Sample.__annotations__}
    return Sample(**plain, more=numbers(told.get("more"))) if "at" in plain else None


def faults_of(record: Mapping[str, Any]) -> tuple[Fault, ...]:
    """The errors of a record, the reported one first."""
    reported = table(record.get("error"))
    everything = [reported] * bool(reported) + [
        each for each in rows(record.get("errors")) if not _same(each, reported)
    ]
    faults = tuple(_fault(each, number == 0 and bool(reported)) for number, each in enumerate(everything))
    failure = table(record.get("failure"))
    return (evolve(faults[0], **_found(failure)), *faults[1:]) if reported and failure else faults


def _found(failure: Mapping[str, Any]) -> dict[str, Any]:
    """What was found out about the reported error."""
    seen, advice = table(failure.get("evidence")), table(failure.get("advice"))
    more = [f"{name} x {by:g}" for name in ("memory", "time") if (by := number(advice.get(f"{name}_factor")) or 1) > 1]
    counts = [] if advice.get("counts", True) else ["this attempt does not count"]
    return {
        "kind": text(failure.get("class")),
        "party": text(failure.get("fault")),
        "evidence": f"{text(seen.get('file'))}, line {text(seen.get('line'))}" if seen else "",
        "said": text(seen.get("text")),
        "remedy": text(failure.get("remedy")),
        "retry": ", ".join((text(advice.get("where")), *more, *counts)),
    }


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in ("number", "detail"))


def _fault(wire: Mapping[str, Any], reported: bool) -> Fault:
    names = ("number", "acronym", "sentence", "detail", "party", "advice")
    return Fault(**{name: text(wire.get(name)) for name in names}, reported=reported)


def files_of(record: Mapping[str, Any], asked: Mapping[str, Any], still: bool) -> tuple[File, ...]:
    """The files that were moved, then those that were not, or not yet while there is ``still`` time."""
    moved = [_moved(each) for each in rows(record.get("files"))]
    known = {(file.name, file.direction) for file in moved}
    left = {text(name) for name in items(record.get("left_in_workdir"))}
    waiting = (file for file in _asked(asked, left, " yet" * still) if (file.name, file.direction) not in known)
    return (*moved, *waiting)


_STATES = {"out": "stored", "direct": "read where it lies"}


def _moved(receipt: Mapping[str, Any]) -> File:
    direction = text(receipt.get("direction"))
    return File(
        name=text(receipt.get("lfn")),
        direction=direction,
        state=_STATES.get(direction, "fetched"),
        size_b=number(receipt.get("size_b")),
        checksum=text(receipt.get("checksum")),
        speed_b_s=number(receipt.get("speed_b_s")),
        took_s=number(receipt.get("took_s")),
        url=text(receipt.get("url")),
        tool=text(receipt.get("tool")),
    )


def _asked(asked: Mapping[str, Any], left: set[str], yet: str) -> Iterator[File]:
    inputs = [(each, "in", f"not fetched{yet}") for each in rows(asked.get("inputs"))]
    outputs = [(each, "out", f"not stored{yet}") for each in rows([*items(asked.get("outputs")), asked.get("log")])]
    for each, direction, state in (*inputs, *outputs):
        name = text(each.get("lfn"))
        kept = "left in the work directory" if direction == "out" and name in left else state
        yield File(name=name, direction=direction, state=kept, size_b=number(each.get("size_b")))


def ended(outcome: Mapping[str, Any]) -> str:
    """How the payload ended, in words."""
    from pilot_core.model.payload import Outcome

    signal, code = number(outcome.get("signal")), number(outcome.get("exit_code"))
    if signal is None and code is None:
        return text(outcome.get("note"))
    return str(Outcome(exit_code=None if code is None else int(code), signal=None if signal is None else int(signal)))


def unused_in(message: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, str]:
    """Fields of a message that say something which the job does not say."""
    known = {*_leaves(asked), "", "NULL"} - {MASK}
    others = {name: each for name, each in message.items() if name not in OWN_FIELDS}
    return texts({name: each for name, each in others.items() if not _is_known(each, known)})


def _is_known(value: object, known: set[str]) -> bool:
    return all(leaf in known or set(leaf.split(",")) <= known for leaf in _leaves(value))


def _leaves(value: object) -> Iterator[str]:
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, Mapping):
            pending += each.values()
        elif isinstance(each, (list, tuple)):
            pending += each
        elif each is not None:
            yield text(each)
