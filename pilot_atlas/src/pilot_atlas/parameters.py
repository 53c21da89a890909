"""A job's arguments, changed for inputs that its payload reads where they lie. Pure."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterator, Mapping

from pilot_atlas.job import is_analysis, is_build
from pilot_atlas.quoting import exchange, values_of
from pilot_core.sdk import Job


def directly_read(job: Job) -> Mapping[str, str]:
    """Inputs that were not brought, by name, and where they lie."""
    return {each.lfn: each.url for each in job.receipts if each.direction == "direct"}


def parameters_of(job: Job) -> str:
    """The arguments, with what the payload must know of such inputs."""
    direct = directly_read(job)
    if not direct:
        return job.parameters
    if is_analysis(job):
        return " ".join(filter(None, (job.parameters, "--usePFCTurl --directIn", _guids(job))))
    return exchange(job.parameters, direct)


def _guids(job: Job) -> str:
    """The option that names the GUIDs of the inputs that the arguments name."""
    named = [] if is_build(job) else list(_inputs_named(job.parameters))
    known = {file.lfn: file.guid for file in job.inputs}
    guids = [known[name] for name in named if known.get(name)]
    return f'--inputGUIDs "{guids}"' if guids else ""


def _inputs_named(parameters: str) -> Iterator[str]:
    for value in values_of(parameters, "-i"):
        try:
            names = literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        yield from (name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
