"""The log of a job: what is left out of its archive, and where that goes."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from pilot_core.builtin.generic.places import place_of, read_destination
from pilot_core.builtin.generic.words import NOTHING, OF_FILE, Reader, Text, Values
from pilot_core.sdk import FileSpec, Job, Queue, Replica
from pilot_core.sdk.wire import Fields


@frozen(kw_only=True)
class LogRule:
    """What a profile says of logs."""

    leave_out: tuple[str, ...] = ()
    destination: Text = NOTHING


def read_log(fields: Fields, reader: Reader) -> LogRule:
    """The rule in a profile."""
    inner = fields.fields("log")
    if inner is None:
        return LogRule()
    rule = LogRule(
        leave_out=inner.texts("leave_out", "a list of patterns"),
        destination=read_destination(inner, reader.with_fields(OF_FILE)),
    )
    inner.refuse_unknown()
    return rule


def log_place(
    rule: LogRule, job: Job, files: Sequence[FileSpec], queue: Queue, values: Values
) -> dict[str, list[Replica]]:
    """Where the log goes, if it is asked for and has no place of its own."""
    wanted = [file for file in files if job.log is not None and file.lfn == job.log.lfn and not file.replicas]
    if not rule.destination.parts:
        return {}
    return {file.lfn: [place_of(rule.destination, file, queue, values)] for file in wanted}
