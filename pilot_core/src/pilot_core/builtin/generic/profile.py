"""An experiment without code: one YAML file that says what its jobs need, read whole and checked at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from attrs import frozen

from pilot_core.builtin.generic.environment import Environment, read_environment
from pilot_core.builtin.generic.facts import Fact, read_facts
from pilot_core.builtin.generic.inputs import InputRule, read_inputs
from pilot_core.builtin.generic.logs import LogRule, read_log
from pilot_core.builtin.generic.outputs import OutputRule, read_outputs
from pilot_core.builtin.generic.processes import Processes, read_processes
from pilot_core.builtin.generic.settings import Defaults, read_defaults
from pilot_core.builtin.generic.setup import SetUp, read_setup
from pilot_core.builtin.generic.words import LISTS, NOTHING, OF_FILE, TEXTS, Reader, Text
from pilot_core.sdk.failures import End, read_ends
from pilot_core.sdk.wire import BadMessage, Fields, Problem, line_of, lines_of, parse_plain


@frozen(kw_only=True)
class Image:
    """The image that payloads run in: where the job names none, or whatever it names."""

    name: Text = NOTHING
    always: bool = False


@frozen(kw_only=True)
class Profile:
    """What an experiment says of its jobs."""

    path: Path
    about: str
    facts: tuple[Fact, ...]
    defaults: Defaults
    image: Image
    environment: Environment
    setup: SetUp
    command: tuple[Text, ...]
    processes: Processes
    inputs: tuple[InputRule, ...]
    input_list: str
    outputs: tuple[OutputRule, ...]
    log: LogRule
    ends: tuple[End, ...]
    patterns: int
    """How many failures of its own it knows."""


def read_profile(path: Path) -> Profile:
    """The profile in a file, or ``BadMessage`` with everything that is wrong with it and where."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadMessage([Problem("", error.strerror or str(error))], str(path)) from None
    fields = Fields(parse_plain(data, str(path)))
    profile = _read(path, fields) if not fields.problems else None
    if profile is None or fields.problems:
        raise BadMessage(_in_order(fields.problems, lines_of(data)), str(path))
    return profile


def _in_order(problems: Iterable[Problem], lines: Mapping[str, int]) -> list[Problem]:
    placed = sorted(((line_of(lines, each.path), each) for each in problems), key=lambda pair: pair[0])
    return [Problem(": ".join(filter(None, (f"line {line}", each.path))), each.text) for line, each in placed]


def _read(path: Path, fields: Fields) -> Profile:
    from pilot_core.sdk.failures import patterns_in

    facts = read_facts(fields, frozenset((*TEXTS, *LISTS, *OF_FILE)))
    reader = Reader().with_fields([fact.name for fact in facts])
    profile = Profile(
        path=path,
        about=fields.text("about"),
        facts=facts,
        image=_image(fields, reader),
        defaults=read_defaults(fields),
        environment=read_environment(fields, reader),
        setup=read_setup(fields, reader),
        command=reader.words(fields, "command"),
        processes=read_processes(fields, reader),
        inputs=read_inputs(fields, reader),
        input_list=fields.text("input_list"),
        outputs=read_outputs(fields, reader),
        log=read_log(fields, reader),
        ends=read_ends(fields),
        patterns=len(patterns_in(fields, "errors")),
    )
    fields.refuse_unknown()
    return profile


def _image(fields: Fields, reader: Reader) -> Image:
    inner = fields.fields("container")
    return Image() if inner is None else Image(name=reader.text(inner, "image"), always=inner.flag("always"))
