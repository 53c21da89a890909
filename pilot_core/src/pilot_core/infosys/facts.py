"""What ranked sources tell of a queue, put together, with who told each fact."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from attrs import field, frozen

from pilot_core.errors import Code, PilotError
from pilot_core.infosys.casting import as_mapping, is_nothing
from pilot_core.infosys.timed import begin
from pilot_core.infosys.wire import JOINED, WANTED
from pilot_core.spec.drivers import InfoSource

log = logging.getLogger(__name__)


@frozen
class Origin:
    """Who told something: a source, from which document, and how old that is."""

    source: str
    document: str = ""
    age_s: float | None = None

    def __str__(self) -> str:
        known = (self.document, "" if self.age_s is None else age(self.age_s))
        told = ", ".join(each for each in known if each)
        return f"{self.source} ({told})" if told else self.source


@frozen
class Told:
    """All facts of one queue, under the documents' names, and the origin of each; a row of a table is ``table.row``."""

    facts: dict[str, object] = field(factory=dict)
    origins: dict[str, Origin] = field(factory=dict)
    tellers: list[str] = field(factory=list)

    def add(self, facts: Mapping[str, object], origin: Origin) -> None:
        """Take what a source of lesser rank knows beyond this. Nothing is no fact."""
        self.tellers.append(origin.source)
        for name, value in facts.items():
            if name in JOINED and (rows := _rows(value)) is not None:
                self._join(name, rows, origin)
            elif not _is_null(value) and name not in self.facts:
                self.facts[name] = value
                self.origins[name] = origin

    def _join(self, name: str, rows: Mapping[str, object], origin: Origin) -> None:
        known = self.facts.setdefault(name, {})
        if isinstance(known, dict):
            fresh = {row: value for row, value in rows.items() if row not in known and not _is_null(value)}
            known.update(fresh)
            self.origins.update({f"{name}.{row}": origin for row in fresh})

    def whence(self, name: str) -> str:
        """Who told a fact, as the end of a sentence, or nothing."""
        return f", says {self.origins[name]}" if name in self.origins else ""


def ask(name: str, sources: Sequence[InfoSource]) -> Told:
    """Ask all sources, the best first. One that does not know or does not answer is passed over, if another tells.

    Facts that are there but wrong are not: whoever wrote them meant them to hold. Nobody is asked after a source that
    is enough, if nothing is wanting by then.
    """
    told = Told()
    failures: list[tuple[str, PilotError]] = []
    for rank, source in enumerate(sources):
        begin(name, sources[rank:])
        try:
            facts = source.queue(name)
        except PilotError as error:
            if error.code is Code.QUEUEDATANOTOK:
                raise
            failures.append((source.name, error))
            continue
        if facts is not None:
            told.add(facts, origin_of(source, name))
        if source.enough() and told.facts.keys() >= WANTED:
            break
    if failures and not told.tellers:
        raise _nobody(name, failures)
    for source_name, failed in failures:
        if failed.code is not Code.QUEUEDATA:
            log.warning("queue %s: source %s did not tell: %s", name, source_name, failed.detail)
    return told


def origin_of(source: InfoSource, name: str) -> Origin:
    """Where a source has from what it just told of a queue or a storage."""
    return Origin(source.name, *source.whence(name))


def let_rest(sources: Iterable[InfoSource]) -> None:
    """Let sources give back what they hold between questions: connections stay with no server for nothing."""
    for source in sources:
        source.rest()


def age(age_s: float) -> str:
    """``40 s old``, ``12 min old``, ``7 h old``, ``3 d old``."""
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if age_s >= 2 * unit_s:
            return f"{age_s / unit_s:.0f} {unit} old"
    return f"{max(age_s, 0):.0f} s old"


def _nobody(name: str, failures: Sequence[tuple[str, PilotError]]) -> PilotError:
    if len(failures) == 1:
        return failures[0][1]
    told = "; ".join(f"{source}: {error.detail}" for source, error in failures)
    permanent = any(bool(error.facts.get("permanent")) for _, error in failures)
    return PilotError(Code.QUEUEDATA, f"no source tells of queue {name!r}: {told}", permanent=permanent)


def _is_null(value: object) -> bool:
    return value != "" and is_nothing(value)


def _rows(value: object) -> Mapping[str, object] | None:
    """The rows of a table, which may be a text; ``None`` if it is none, for the cast to complain about."""
    try:
        return as_mapping(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
