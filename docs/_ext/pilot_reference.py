"""Directives that write the reference from the code: each is a function that gives Markdown.

``pilot-hooks``, ``pilot-drivers``, ``pilot-options``, ``pilot-errors``, ``pilot-failures``, ``pilot-exit-codes``,
``pilot-commands`` and ``pilot-workflows``.
"""

from __future__ import annotations

import inspect
import re
from argparse import HelpFormatter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import groupby
from typing import Any, ClassVar

from docutils import nodes
from pilot_facts import KINDS, Installed, drivers_of, learn_codes, patterns, sections
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pilot_core.cli import mistakes
from pilot_core.cli.hooks import SHAPES, contract
from pilot_core.cli.legacy import BESIDES, TABLE
from pilot_core.cli.main import COMMANDS, SHARED
from pilot_core.cli.older import told
from pilot_core.cli.output import duration, size
from pilot_core.cli.parser import Parser
from pilot_core.config.options import Option, fields_of, name_of
from pilot_core.control.patterns import HARMLESS, Match, Pattern
from pilot_core.control.said import Line
from pilot_core.errors import ErrorCode, codes, owner
from pilot_core.machine.phases import Step
from pilot_core.model.failure import CLASSES, failure_of

MOMENTS = {
    "startup": "When the pilot starts and ends",
    "jobs": "When a job is asked for, judged and followed",
    "staging": "When files are brought and stored",
    "payload": "When the payload is prepared, runs and is judged",
    "reporting": "When a job is reported and its log is packed",
}
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(_cell(each) for each in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def fenced(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```"


def signature(function: Callable[..., Any], name: str) -> str:
    """How it is called, one argument a line where one line is too short."""
    found = inspect.signature(function)
    arguments = [str(each).replace("'", "") for each in found.parameters.values() if each.name not in ("self", "cls")]
    answer = "" if found.return_annotation is found.empty else f" -> {str(found.return_annotation).strip(chr(39))}"
    line = f"def {name}({', '.join(arguments)}){answer}"
    return line if len(line) <= 88 else f"def {name}(\n    " + ",\n    ".join(arguments) + f",\n){answer}"


# --- hooks ----------------------------------------------------------------------------------------------------------


def hooks() -> Iterator[str]:
    """Every hook, by the moment at which it is asked."""
    from pilot_core.agent.setup import SPECS

    specs = {name: value for module in SPECS for name, value in vars(module).items()}
    for moment, rows in groupby(contract().values(), key=lambda row: row["moment"]):
        yield f"## {MOMENTS[moment]}"
        for row in rows:
            yield f"(hook-{row['name']})=\n### {row['name']}"
            yield fenced("python", signature(specs[row["name"]], row["name"]))
            yield row["doc"]
            yield f"*{row['shape'].upper()}: {SHAPES[row['shape']]}. Since {row['since']}.*"


# --- drivers --------------------------------------------------------------------------------------------------------


def drivers() -> Iterator[str]:
    """Every kind of driver: what it must do, what it may do, and which there are."""
    for kind, abilities in KINDS.items():
        yield f"(driver-{kind})=\n## {kind}"
        for ability in abilities:
            yield f"**{ability.__name__}**: {inspect.getdoc(ability)}"
            yield from _methods(ability)
        yield "Those that are installed where this manual was made:"
        yield table(("name", "from", "what it is"), map(_installed, drivers_of(kind)))


def _methods(ability: type) -> Iterator[str]:
    for name, value in vars(ability).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            must = "required" if getattr(value, "__isabstractmethod__", False) else "optional"
            yield f"{fenced('python', signature(value, name))}\n\n{inspect.getdoc(value)} *({must})*"


def _installed(driver: Installed) -> tuple[str, str, str]:
    said = (inspect.getdoc(driver.found) or "").partition("\n")[0]
    options = getattr(driver.found, "options", None)
    more = f" Options: [`{name_of(options)}`](#options-{name_of(options)})." if options else ""
    return f"`{driver.name}`", driver.distribution, said + more


# --- options --------------------------------------------------------------------------------------------------------


def options() -> Iterator[str]:
    """Every option of every section, the core's first."""
    for section in sections():
        yield f"(options-{name_of(section)})=\n## {name_of(section)}"
        yield (inspect.getdoc(section) or "").partition("\n")[0]
        rows = [(f"`{each.path}`", _help(each), _default(each), _given(each)) for each in fields_of(section)]
        yield table(("option", "what it is", "default", "also as"), rows)


def _given(option: Option) -> str:
    """Its flag, and its variable if that has a name of its own."""
    derived = f"PILOT_{option.section}_{option.name}".upper()
    return ", ".join(f"`{each}`" for each in (option.flag, option.env) if each and each != derived)


def _default(option: Option) -> str:
    match option.default:
        case None | "" | () | Mapping():
            return "-"
        case bool() as on:
            return f"`{str(on).lower()}`"
        case tuple() as words:
            return f"`{', '.join(map(str, words))}`"
        case int() | float() as number if option.unit:
            return duration(float(number)) if option.unit == "s" else size(int(number))
        case value:
            return f"`{value}`"


def _help(option: Option) -> str:
    more = [f"One of {', '.join(f'`{each}`' for each in option.choices)}."] if option.choices else []
    more += ["A job may set it."] if option.job else []
    return " ".join((option.help, *more))


# --- errors and exit codes ------------------------------------------------------------------------------------------


def errors() -> Iterator[str]:
    """Every error code, by who owns it."""
    learn_codes()
    for name, rows in groupby(sorted(codes(), key=owner), key=owner):
        yield f"## Of {name}"
        yield table(("code", "acronym", "what happened", "whose fault", "what to do"), map(_error, rows))


def _error(row: ErrorCode) -> tuple[object, ...]:
    return f"`{row.number}`", f"`{row.acronym}`", row.sentence, row.party.value, row.retry.value


def failures() -> Iterator[str]:
    """The classes of failures, and the patterns by which they are known, the most telling first."""
    yield "## Classes"
    yield table(("class", "what it means"), ((f"`{name}`", meaning) for name, meaning in CLASSES.items()))
    yield "## Patterns of payloads"
    told = "The rank says which of several counts; a line of the log that has one of the texts is the evidence."
    yield f"{told} `{{name}}` is anything, `{{!name}}` one word; `^` and `$` are the ends of the line."
    rows = sorted(patterns(), key=lambda each: -each.rank)
    known = [row for row in rows if row.kind != HARMLESS]
    yield table(("class", "cause", "what to do", "whose fault", "code", "rank", "retry"), map(_pattern, known))
    yield "## Harmless lines"
    yield "A line that fits one of these is never the cause. So is one that its program marks as ordinary talk."
    quiet = ((f"`{row.kind}` ({row.name})", f"`{row.examples[0]}`") for row in rows if row.kind == HARMLESS)
    yield table(("class", "for example"), quiet)


def _pattern(row: Pattern) -> tuple[object, ...]:
    advice = failure_of(Match(row, row.forms[0], Line("", 1, ""), {}).error()).advice
    name = f"`{row.kind}` ({row.name})"
    return name, row.cause, row.remedy, row.fault.value, f"`{row.code.number}`", row.rank, advice


def exit_codes() -> Iterator[str]:
    """Every exit code that the command ``pilot`` has, and why."""
    ours = {
        0: ["The command did what it was asked. `pilot run --job`: the job finished."],
        1: ["It did not: a job failed, no pilot answers, another pilot works there."],
        mistakes.UNAVAILABLE: ["No dispatcher is where it should be, or it does not answer."],
        mistakes.USAGE: ["The command line, a setting or a job's description is wrong; the message says where."],
        mistakes.INTERNAL: ["An error in the pilot itself; please report it, with what `--debug` shows."],
    }
    for row in codes():
        if row.exit_code > 1:
            ours.setdefault(row.exit_code, []).append(f"{row.sentence} (`{row.number} {row.acronym}`).")
    yield table(("code", "why"), ((f"`{code}`", " ".join(ours[code])) for code in sorted(ours)))
    yield "`128 + n` says that the command was ended by signal `n`: `130` by Ctrl-C, `143` by SIGTERM."


# --- commands and workflows -----------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """Every command and all its arguments, as its help tells them."""
    for title, group in COMMANDS.items():
        yield f"## {title}"
        for name, line in group.items():
            parser = Parser(prog=f"pilot {name}", description=line, formatter_class=partial(HelpFormatter, width=92))
            import_module(f"pilot_core.cli.{SHARED.get(name, name.replace('-', '_'))}").describe(parser)
            told = COLOURS.sub("", parser.format_help()).strip()
            yield f"(command-{name})=\n### pilot {name}\n\n{fenced('text', told)}"


def older_options() -> Iterator[str]:
    """The older pilot's options and what they are here."""
    names = ((f"`{', '.join(row.names)}`" + (f" `{row.takes}`" if row.takes else ""), row) for row in TABLE)
    yield table(("option", "here"), ((name, told(row)) for name, row in names))


def older_differences() -> Iterator[str]:
    """What else is different."""
    yield table(("", "the older pilot", "here"), BESIDES)


def workflows() -> Iterator[str]:
    """The steps of the standard workflow, and how the others differ."""
    found = {driver.name: driver.found for driver in drivers_of("workflow")}
    standard = found.pop("standard")
    yield f"**standard**: {inspect.getdoc(standard)}"
    yield table(("step", "phase", "longest", "marks"), map(_step, standard.steps))
    for name, other in found.items():
        yield f"**{name}**: {inspect.getdoc(other)}"


def _step(step: Step) -> tuple[str, str, str, str]:
    longest = "-" if step.budget_s is None else duration(step.budget_s)
    marks = [mark for mark in ("always", "slot", "saves", "resumes") if getattr(step, mark)]
    return f"`{step.name}`", str(step.phase), longest, ", ".join(marks) or "-"


OLDER = (older_options, older_differences)


class Written(SphinxDirective):
    """A part of the manual that a function writes in Markdown."""

    write: ClassVar[Callable[[], Iterator[str]]]

    def run(self) -> list[nodes.Node]:
        """What was written, read; anew in each build, as the code may have changed."""
        self.env.note_reread()
        return self.parse_text_to_nodes("\n\n".join(type(self).write()), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Give Sphinx the directives."""
    for write in (hooks, drivers, options, errors, failures, exit_codes, commands, workflows, *OLDER):
        name = f"pilot-{write.__name__.replace('_', '-')}"
        app.add_directive(name, type(name, (Written,), {"write": staticmethod(write)}))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
