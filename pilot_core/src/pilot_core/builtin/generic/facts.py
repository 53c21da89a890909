"""Facts of an experiment's own that its jobs bring along: what a server's job holds under names of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

from pilot_core.sdk import Code, Job, JobKey, PilotError
from pilot_core.sdk.wire import Fields

FACTS: Final[JobKey[Mapping[str, str]]] = JobKey("profile.facts")


@frozen(kw_only=True)
class Fact:
    """One of them: its name in the profile, its name in the job, and what it is where the job has none."""

    name: str
    source: str
    default: str | None = None


def read_facts(fields: Fields, taken: frozenset[str]) -> tuple[Fact, ...]:
    """The facts in a profile; a plain text is the name in the job."""
    inner = fields.fields("facts")
    return () if inner is None else tuple(_read(inner, name, taken) for name in inner.names())


def _read(fields: Fields, name: str, taken: frozenset[str]) -> Fact:
    if not name.isidentifier() or name in taken:
        why = "is a field of every job" if name in taken else "cannot name a field"
        fields.problem(name, f"{why}; choose another name, of letters, digits and '_'")
    value = fields.value(name)
    if isinstance(value, str):
        return Fact(name=name, source=value)
    inner = fields.inner(name, value)
    default = inner.text("default") if inner.value("default") is not None else None
    fact = Fact(name=name, source=inner.text("from", name), default=default)
    inner.refuse_unknown()
    return fact


def facts_in(facts: tuple[Fact, ...], wire: Mapping[str, object]) -> dict[str, str]:
    """What a job says of them, and what counts where it says nothing."""
    said = {fact.name: _plain(wire.get(fact.source)) or fact.default for fact in facts}
    return {name: value for name, value in said.items() if value is not None}


def _plain(value: object) -> str:
    """A text or a number as a text; anything else is nothing that a command could be told."""
    fits = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return str(value) if fits else ""


def missing(facts: tuple[Fact, ...], job: Job) -> Iterator[PilotError]:
    """Why a job cannot be run: it says nothing of what it must."""
    known = job.extras.get(FACTS) or {}
    for fact in facts:
        if fact.name not in known:
            told = f"the job has no {fact.source!r}, which the profile calls {fact.name}"
            yield PilotError(Code.SETUPFAILURE, told, retry="never")
