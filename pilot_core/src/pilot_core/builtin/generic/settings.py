"""Other defaults of options: limits, servers and containers in plain words, and any option by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pilot_core.sdk.wire import Fields

Defaults = Mapping[str, Mapping[str, object]]
OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "limits": {
        "memory": "memory.limit_b",
        "time": "walltime.limit_s",
        "disk": "disk.limit_b",
        "output": "disk.output_b",
        "stdout": "payload.output_b",
        "looping": "looping.limit_s",
        "processes": "payload.nproc",
        "files": "payload.nofile",
        "log": "log.archive_b",
    },
    "servers": {
        "url": "connection.url",
        "info": "connection.info_sources",
        "log": "logstash.url",
        "programs": "generic.programs",
    },
    "container": {
        "runtime": "payload.container",
        "mounts": "container.mounts",
        "network": "container.network",
        "gpus": "container.gpus",
        "images": "container.images",
    },
}
"""What a profile calls an option, by the part of the profile that it stands in."""
ALSO: Final[Mapping[str, Mapping[str, object]]] = {
    "connection.url": {"pilot.communicator": "panda", "connection.info_sources": ["server", "file"]},
    "logstash.url": {"log.shippers": ["logstash"]},
}
"""What an option that names a server brings along, unless the profile says otherwise."""
SEVERAL: Final = frozenset({"connection.url", "generic.programs"})
READ_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {"container": ("image", "always")}
Given = tuple[Fields, str, str, object]


def read_defaults(fields: Fields) -> Defaults:
    """The defaults in a profile, each given once."""
    given: dict[str, object] = {}
    for part, name, option, value in (*_in_words(fields), *_by_name(fields)):
        if option in given:
            part.problem(name, f"sets {option}, which stands elsewhere in the profile, too; leave one out")
        given[option] = value
    for option, more in ALSO.items():
        given = {**more, **given} if option in given else given
    return _nested(given)


def _in_words(fields: Fields) -> Iterator[Given]:
    for part, known in OPTIONS.items():
        inner = fields.fields(part) or Fields({}, problems=fields.problems)
        for name, option in known.items():
            if (value := inner.value(name)) is not None:
                yield inner, name, option, _listed(option, value)
        for name in READ_ELSEWHERE.get(part, ()):
            inner.value(name)
        inner.refuse_unknown()


def _listed(option: str, value: object) -> object:
    """One address may stand by itself."""
    return [value] if option in SEVERAL and isinstance(value, str) else value


def _by_name(fields: Fields) -> Iterator[Given]:
    sections = fields.fields("settings") or Fields({}, problems=fields.problems)
    for section in sections.names():
        inner = sections.fields(section) or Fields({}, problems=fields.problems)
        yield from ((inner, name, f"{section}.{name}", inner.value(name)) for name in inner.names())


def _nested(given: Mapping[str, object]) -> Defaults:
    nested: dict[str, dict[str, object]] = {}
    for option, value in given.items():
        section, _, name = option.partition(".")
        nested.setdefault(section, {})[name] = value
    return nested
