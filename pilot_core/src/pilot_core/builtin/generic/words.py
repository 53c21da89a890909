"""Words of a profile, with named fields of the job in them: ``--run={run}``.

What a field stands for is put in as it is and never read again, so that nothing a job says becomes another field, a
second word or shell text.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Final

from attrs import frozen

from pilot_core.sdk import Code, FileSpec, Job, PilotError, Queue
from pilot_core.sdk.wire import Fields, meant

LISTS: Final = ("arguments", "inputs", "outputs")
"""Fields of a job that stand for any number of words."""
TEXTS: Final = (
    *("attempt", "cores", "disk_mb", "gpus", "id", "image", "label", "memory_mb", "parameters", "program"),
    *("queue", "task", "wall_s", "workdir"),
)
OF_FILE: Final = ("dataset", "endpoint", "name", "scope", "storage")
"""Fields of one file, where a profile speaks of files."""
Values = Mapping[str, str | tuple[str, ...] | None]


@frozen
class Text:
    """A text in parts: what is said as it is, and the field after it, if one is."""

    parts: tuple[tuple[str, str], ...] = ()

    @property
    def alone(self) -> str:
        """The field that is all of the text, if one is."""
        return self.parts[0][1] if len(self.parts) == 1 and not self.parts[0][0] else ""

    @property
    def names(self) -> frozenset[str]:
        """The fields in it."""
        return frozenset(name for _, name in self.parts if name)

    def fill(self, values: Values) -> str:
        """The text for one job."""
        return "".join(said + (_one(name, values) if name else "") for said, name in self.parts)

    def __str__(self) -> str:
        return "".join(said + (f"{{{name}}}" if name else "") for said, name in self.parts)


NOTHING: Final = Text()


def fill_words(words: Iterable[Text], values: Values) -> tuple[str, ...]:
    """Words for one job; a list that stands alone becomes as many words as it has."""
    return tuple(word for text in words for word in _filled(text, values))


def _filled(text: Text, values: Values) -> tuple[str, ...]:
    several = values.get(text.alone) if text.alone else None
    return several if isinstance(several, tuple) else (text.fill(values),)


def _one(name: str, values: Values) -> str:
    value = values.get(name)
    if isinstance(value, str):
        return value
    told = f"the profile wants {{{name}}}, of which the job says nothing that can be used"
    raise PilotError(Code.SETUPFAILURE, told, retry="never")


# --- reading ----------------------------------------------------------------------------------------------------------


@frozen
class Reader:
    """Reads words with the fields that they may name."""

    texts: frozenset[str] = frozenset(TEXTS)
    lists: frozenset[str] = frozenset(LISTS)

    def with_fields(self, names: Collection[str]) -> Reader:
        """The same, where more fields may be named."""
        return Reader(self.texts | {*names}, self.lists)

    def text(self, fields: Fields, name: str, default: str = "", *, required: bool = False) -> Text:
        """The text in a field of a document."""
        return self._read(fields, name, fields.text(name, default, required=required), lists=False)

    def words(self, fields: Fields, name: str, *, required: bool = False) -> tuple[Text, ...]:
        """The list of words in a field of a document."""
        places = [place for place, _ in fields.items(name, "a list of words")]
        written = fields.texts(name, "a list of words", lines=True)
        if required and not written:
            fields.problem(name, "is missing; write a list of words, the program first")
        read = zip(places, written, strict=False)
        return tuple(self._read(fields, place, word, lists=True) for place, word in read)

    def table(self, fields: Fields, name: str) -> dict[str, Text]:
        """The texts in a field of a document, by name."""
        inner = fields.fields(name)
        return {} if inner is None else {each: self.text(inner, each) for each in inner.names()}

    def _read(self, fields: Fields, place: str, written: str, *, lists: bool) -> Text:
        try:
            text = Text(tuple(_parts(written)))
        except ValueError as wrong:
            fields.problem(place, f"{wrong}; a field is written as {{name}}, a brace as {{{{ or }}}}")
            return Text()
        for name in sorted(text.names):
            if told := self._unfit(name, text, lists):
                fields.problem(place, told)
        return text

    def _unfit(self, name: str, text: Text, lists: bool) -> str:
        if name in self.lists:
            return "" if lists and text.alone == name else f"{{{name}}} is a list: it is a word of a command, by itself"
        if name in self.texts:
            return ""
        known = sorted(self.texts | (self.lists if lists else frozenset()))
        return f"there is no field {{{name}}}{meant(name, known) or '; there are ' + ', '.join(known)}"


def _parts(written: str) -> Iterator[tuple[str, str]]:
    for said, name, form, conversion in Formatter().parse(written):
        if form or conversion or name == "":
            raise ValueError(f"{{{name}}} is no plain field")
        yield said, name or ""


# --- a job's own ------------------------------------------------------------------------------------------------------


def values_of(job: Job, queue: Queue | None, workdir: Path | None, facts: Mapping[str, str]) -> Values:
    """What the fields stand for; ``None`` where the job says nothing."""
    needs = job.needs
    return {
        **facts,
        "attempt": str(job.attempt),
        "cores": str(needs.cores),
        "disk_mb": _mb(needs.disk_b),
        "gpus": str(needs.gpu_count),
        "id": job.id,
        "image": job.image or None,
        "label": job.label or None,
        "memory_mb": _mb(needs.memory_b),
        "parameters": job.parameters,
        "program": job.transformation or None,
        "queue": queue.name if queue else None,
        "task": job.task or None,
        "wall_s": f"{job.wall_limit_s:g}" if job.wall_limit_s else None,
        "workdir": str(workdir) if workdir else None,
        "arguments": _words(job),
        "inputs": tuple(file.local for file in job.inputs),
        "outputs": tuple(file.lfn for file in job.outputs),
    }


def values_of_file(file: FileSpec, storage: str | None, name: str = "") -> Values:
    """What the fields of one file stand for."""
    told = {"dataset": file.dataset, "endpoint": file.endpoint, "scope": file.scope, "storage": storage}
    return {"name": name or file.lfn, **{field: value or None for field, value in told.items()}}


def _mb(size_b: int | None) -> str | None:
    return None if size_b is None else str(size_b // 10**6)


def _words(job: Job) -> tuple[str, ...] | None:
    """All arguments; those that a server gives as shell text are the words that they are, and nothing is expanded."""
    try:
        return (*job.arguments, *shlex.split(job.parameters))
    except ValueError:
        return None
