"""Processes before, beside and after the payload."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen

from pilot_core.builtin.generic.setup import SetUp, set_up
from pilot_core.builtin.generic.words import NOTHING, Reader, Text, Values, fill_words
from pilot_core.sdk import Command, SideProcess
from pilot_core.sdk.wire import Fields

MOMENTS: Final = ("before", "with", "after")
LIMIT_S: Final = 3600.0


@frozen(kw_only=True)
class Process:
    """One of them."""

    name: str
    command: tuple[Text, ...]
    environment: dict[str, Text] = field(factory=dict)
    image: Text = NOTHING
    limit_s: float = LIMIT_S
    nothing_to_do: tuple[int, ...] = ()
    setup: bool = False
    """Whether the payload's set-up is done for it, too."""
    trusted: bool = False
    """Whether it runs on the node itself where payloads are isolated."""


Processes = dict[str, tuple[Process, ...]]


def read_processes(fields: Fields, reader: Reader) -> Processes:
    """The processes in a profile, by their moment."""
    inner = fields.fields("processes") or Fields({}, problems=fields.problems)
    read = {moment: tuple(_all(inner, reader, moment)) for moment in MOMENTS}
    inner.refuse_unknown()
    names = [process.name for processes in read.values() for process in processes]
    for name in sorted({name for name in names if names.count(name) > 1}):
        fields.problem("processes", f"{name!r} stands twice; a process has a name of its own")
    return read


def _all(fields: Fields, reader: Reader, moment: str) -> list[Process]:
    items = fields.items(moment, "a list of processes")
    return [_read(fields.inner(place, raw), reader, moment) for place, raw in items]


def _read(fields: Fields, reader: Reader, moment: str) -> Process:
    limit_s = fields.duration("limit") if moment != "with" else None
    process = Process(
        name=fields.text("name", required=True),
        command=reader.words(fields, "command", required=True),
        environment=reader.table(fields, "environment"),
        image=reader.text(fields, "image"),
        limit_s=LIMIT_S if limit_s is None else limit_s,
        nothing_to_do=_statuses(fields) if moment == "before" else (),
        setup=fields.flag("setup"),
        trusted=fields.flag("trusted"),
    )
    fields.refuse_unknown()
    return process


def _statuses(fields: Fields) -> tuple[int, ...]:
    from pilot_core.sdk.failures import numbers

    return numbers(fields, "nothing_to_do")


def made(processes: tuple[Process, ...], setup: SetUp, values: Values) -> list[SideProcess]:
    """The processes for one job."""
    return [_made(process, setup, values) for process in processes]


def _made(process: Process, setup: SetUp, values: Values) -> SideProcess:
    env = {name: text.fill(values) for name, text in process.environment.items()}
    command = Command(*fill_words(process.command, values), env=env)
    return SideProcess(
        name=process.name,
        command=set_up(setup, values, command) if process.setup else command,
        image=process.image.fill(values),
        trusted=process.trusted,
        limit_s=process.limit_s,
        enough=process.nothing_to_do,
    )
