"""Outputs by pattern: found on the disk when the payload is over, and given names, GUIDs and places.

The outputs of a job that are patterns themselves, ``regex|...``, are found in the same way. What a payload may make
under no name that was told before is never stored without one of these rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from posixpath import basename
from uuid import NAMESPACE_URL, uuid5

from attrs import evolve, frozen

from pilot_core.builtin.generic import REGEX
from pilot_core.builtin.generic.names import found, matching, read_pattern
from pilot_core.builtin.generic.places import place_of, read_destination
from pilot_core.builtin.generic.words import NOTHING, OF_FILE, Reader, Text, Values, values_of_file
from pilot_core.sdk import FileSpec, Job, Queue, Replica
from pilot_core.sdk.io import Inside
from pilot_core.sdk.wire import Fields

Fitting = Mapping[str, tuple[str, ...]]
"""Paths by the pattern that fits them."""


@frozen(kw_only=True)
class OutputRule:
    """For the files that fit: what they are called in storage, what is said of them, and where they go."""

    match: str
    name: Text
    dataset: Text = NOTHING
    scope: Text = NOTHING
    endpoint: Text = NOTHING
    destination: Text = NOTHING
    optional: bool = False
    always: bool = False


def read_outputs(fields: Fields, reader: Reader) -> tuple[OutputRule, ...]:
    """The rules in a profile; the first that fits a file counts."""
    reader = reader.with_fields(OF_FILE)
    items = fields.items("outputs", "a list of rules")
    return tuple(_read(fields.inner(place, raw), reader) for place, raw in items)


def _read(fields: Fields, reader: Reader) -> OutputRule:
    rule = OutputRule(
        match=read_pattern(fields),
        name=reader.text(fields, "name", "{name}"),
        dataset=reader.text(fields, "dataset"),
        scope=reader.text(fields, "scope"),
        endpoint=reader.text(fields, "endpoint"),
        destination=read_destination(fields, reader),
        optional=fields.flag("optional"),
        always=fields.flag("always"),
    )
    fields.refuse_unknown()
    return rule


def selected(rules: Sequence[OutputRule], job: Job, queue: Queue, folder: Inside, values: Values) -> list[FileSpec]:
    """The outputs that are there and those that should be, each once: what the job names, then what rules find."""
    wanted = [file.lfn for file in job.outputs if file.lfn.startswith(REGEX)]
    there = found(folder, {*wanted, *(rule.match for rule in rules)})
    taken = {file.local for file in (*job.inputs, *job.outputs)}
    there = {pattern: tuple(path for path in paths if path not in taken) for pattern, paths in there.items()}
    plain = [file.local for file in job.outputs if file.lfn not in wanted]
    named = matching([rule.match for rule in rules], plain)
    files: dict[str, FileSpec] = {}
    for file in (*_of_job(job, there), *_of_rules(rules, there, named, values)):
        files.setdefault(file.local, file)
    ruled = {path: rule for rule in reversed(rules) for path in (*there[rule.match], *named[rule.match])}
    return [_identified(_ruled(file, ruled.get(file.local), queue, values), job) for file in files.values()]


def _of_job(job: Job, there: Fitting) -> Iterator[FileSpec]:
    """What the job names; a pattern that fits nothing stays, as an output that is not there."""
    for file in job.outputs:
        fitting = there.get(file.lfn, ())
        if not fitting:
            yield file
        yield from (evolve(file, lfn=name, guid="", replicas=_renamed(file, name)) for name in fitting)


def _renamed(file: FileSpec, name: str) -> tuple[Replica, ...]:
    """The places of a pattern, for one of the files that fit it."""
    ended = [place for place in file.replicas if place.url.endswith(file.lfn)]
    return tuple(evolve(place, url=place.url.removesuffix(file.lfn) + name) for place in ended)


def _of_rules(rules: Sequence[OutputRule], there: Fitting, named: Fitting, values: Values) -> Iterator[FileSpec]:
    for rule in rules:
        if not (there[rule.match] or named[rule.match] or rule.optional):
            yield FileSpec(lfn=rule.match.replace("/", "|"), path=rule.match, always=rule.always)
        for path in there[rule.match]:
            name = rule.name.fill({**values, **values_of_file(FileSpec(lfn=basename(path)), None)})
            yield FileSpec(lfn=name, path="" if name == path else path)


def _ruled(file: FileSpec, rule: OutputRule | None, queue: Queue, values: Values) -> FileSpec:
    """The file with what its rule says of it; what the job says of it counts more."""
    if rule is None:
        return file
    known = {**values, **values_of_file(file, None)}
    file = evolve(
        file,
        dataset=file.dataset or rule.dataset.fill(known),
        scope=file.scope or rule.scope.fill(known),
        endpoint=file.endpoint or rule.endpoint.fill(known),
        always=file.always or rule.always,
    )
    if file.replicas or not rule.destination.parts:
        return file
    return evolve(file, replicas=(place_of(rule.destination, file, queue, values),))


def _identified(file: FileSpec, job: Job) -> FileSpec:
    """The file with a GUID, the same however often it is asked for."""
    made = str(uuid5(NAMESPACE_URL, f"{job.id}/{job.attempt}/{file.scope}:{file.lfn}")).upper()
    return file if file.guid else evolve(file, guid=made)
