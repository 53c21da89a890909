"""What is done in the shell that becomes the payload: scripts that are sourced there, and commands such as ``module``.

A set-up is structure: every word of it is quoted, the payload's words are the shell's own arguments, and nothing of
either is ever read as shell text. The step that is under way has a sign, so that if it fails it is not taken for the
payload. No signal is caught here: who does that seems to listen to the warning before a stop, as a payload may.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_core.builtin.generic.words import Reader, Text, Values, fill_words
from pilot_core.sdk import Code, Command, Outcome, PilotError
from pilot_core.sdk.io import Inside
from pilot_core.sdk.wire import Fields

SIGN: Final = ".setup"
SHOWN_B: Final = 20
SOURCE: Final = "source"
EVAL: Final = "eval"
RUN: Final = "run"
KINDS: Final = (SOURCE, EVAL, RUN)
"""Read a script in the shell itself; do what a program prints; run a command, which may be one of the shell's own."""
SHELL: Final = "/bin/bash"
BEGIN: Final = (
    "pilot_here=$PWD",
    f'pilot_at() {{ printf %s "$1" >"$pilot_here/{SIGN}"; }}',
    'pilot_eval() { pilot_said=$("$@") && eval "$pilot_said"; }',
    'pilot_source() { pilot_script=$1; shift; . "$pilot_script"; }',
)
END: Final = ("pilot_at", 'cd "$pilot_here" && exec "$@"')


@frozen(kw_only=True)
class Step:
    """One step, by its kind and with its words; and whether the payload is lost without it."""

    kind: str
    words: tuple[Text, ...]
    optional: bool = False

    def __str__(self) -> str:
        return " ".join(map(str, (*([] if self.kind == RUN else [self.kind]), *self.words)))


@frozen(kw_only=True)
class SetUp:
    """All steps, for this shell, which a profile names by ``shell``."""

    interpreter: str = SHELL
    steps: tuple[Step, ...] = ()


def read_setup(fields: Fields, reader: Reader) -> SetUp:
    """The set-up in a profile."""
    steps = tuple(_read(fields.inner(place, raw), reader) for place, raw in fields.items("setup", "a list of steps"))
    return SetUp(interpreter=fields.text("shell", SHELL), steps=steps)


def _read(fields: Fields, reader: Reader) -> Step:
    """A script or a command may stand by itself, with ``arguments`` or all words in one list."""
    kinds = [kind for kind in KINDS if fields.value(kind) is not None]
    if len(kinds) != 1:
        fields.problem(SOURCE, f"a step has one of {', '.join(KINDS)}, and this one {len(kinds) or 'none'} of them")
    kind = kinds[0] if kinds else RUN
    plain = isinstance(fields.value(kind), str)
    words = (reader.text(fields, kind),) if plain else reader.words(fields, kind, required=bool(kinds))
    step = Step(kind=kind, words=(*words, *reader.words(fields, "arguments")), optional=fields.flag("optional"))
    fields.refuse_unknown()
    return step


def set_up(setup: SetUp, values: Values, command: Command) -> Command:
    """The command with its set-up before it, in one shell."""
    if not setup.steps:
        return command
    text = shell_text([(step, fill_words(step.words, values)) for step in setup.steps])
    return Command(setup.interpreter, "-c", text, "set-up", *command.argv, env=command.env)


def shell_text(steps: Sequence[tuple[Step, Sequence[str]]]) -> str:
    """The steps for a shell, whose own arguments are what it becomes in the end."""
    lines = (_line(number, step, words) for number, (step, words) in enumerate(steps, 1))
    return "\n".join((*BEGIN, *lines, *END))


def _line(number: int, step: Step, words: Sequence[str]) -> str:
    done = [*words] if step.kind == RUN else [f"pilot_{step.kind}", *words]
    if step.kind == SOURCE and "/" not in words[0]:
        done[1] = f"./{words[0]}"  # the job's own, and not sought on the path
    return f"pilot_at {number}; {shlex.join(done)} || {'true' if step.optional else 'exit'}"


def setup_problem(setup: SetUp, outcome: Outcome, workdir: Path) -> list[PilotError]:
    """The step that failed, if the payload was never begun."""
    if not setup.steps or outcome.clean:
        return []
    try:
        with Inside(workdir) as folder, folder.open_read(SIGN) as file:
            number = int(file.read(SHOWN_B))
    except (OSError, ValueError):
        return []
    step = f": {setup.steps[number - 1]}" if 1 <= number <= len(setup.steps) else ""
    told = f"step {number} of the payload's set-up failed ({outcome}){step}"
    return [PilotError(Code.SETUPFAILURE, told, cause=told, trf=outcome.transform_code)]
