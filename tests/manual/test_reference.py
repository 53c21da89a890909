"""Nothing that the code has is missing from the manual, and nothing that the manual names is missing from the code."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib import import_module
from importlib.metadata import distributions
from pathlib import Path
from pkgutil import iter_modules

import pytest

import pilot_core.spec
from pilot_core.builtin.failures import pilot_payload_patterns
from pilot_core.cli.main import COMMANDS, SHARED
from pilot_core.cli.mistakes import EXIT_CODES, INTERNAL, Usage
from pilot_core.cli.parser import Parser
from pilot_core.config.options import fields_of
from pilot_core.config.schema import CORE
from pilot_core.control.patterns import read_patterns
from pilot_core.errors import codes
from pilot_core.machine.course import Stand
from pilot_core.machine.job import RULES
from pilot_core.model.failure import CLASSES
from pilot_core.spec import drivers
from pilot_core.spec.markers import Hook

from .snippets import DOCS

Page = Callable[[str], "Reader"]


class Reader(HTMLParser):
    """What a page says: its words in code, the ends of links into it, its drawing, all its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.codes: list[str] = []
        self.text = ""
        self.boxes = self.arrows = 0
        self._in_code = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        self.boxes += tag == "rect"
        self.arrows += "marker-end" in given
        if tag == "code":
            self._in_code = True
            self.codes.append("")

    def handle_endtag(self, tag):
        self._in_code = self._in_code and tag != "code"

    def handle_data(self, data):
        self.text += data
        if self._in_code:
            self.codes[-1] += data


@pytest.fixture(scope="session")
def page(built: Path) -> Page:
    return lambda name: Reader((built / f"{name}.html").read_text())


def hooks() -> Iterator[Hook]:
    for module in iter_modules(pilot_core.spec.__path__):
        yield from filter(is_hook, vars(import_module(f"pilot_core.spec.{module.name}")).values())


def is_hook(value: object) -> bool:
    return hasattr(value, "shape") and getattr(value, "__name__", "").startswith("pilot_")


def sentence(doc: str | None) -> str:
    """What a docstring says first, as a page shows it."""
    return " ".join((doc or "").partition("\n\n")[0].replace("``", "").split())


def anchor(kind: str, name: str) -> str:
    return f"{kind}-{name}".replace("_", "-")


def driver_points():
    every = (point for installed in distributions() for point in installed.entry_points)
    return [each for each in every if each.group.startswith("pilot_core.") and each.group not in PLUGINS]


PLUGINS = ("pilot_core.experiment", "pilot_core.plugin")


# --- what the code has ------------------------------------------------------------------------------------------------


def test_every_hook(page):
    told = page("reference/hooks")
    found = list(hooks())
    assert len(found) > 20
    for hook in found:
        assert anchor("hook", hook.__name__) in told.ids
        assert sentence(inspect.getdoc(hook)) in " ".join(told.text.split())
        assert all(f"{argument}:" in told.text for argument in inspect.signature(hook).parameters)


def test_every_kind_of_driver_and_what_it_must_do(page):
    told = page("reference/drivers")
    kinds = [each for each in vars(drivers).values() if inspect.isclass(each) and issubclass(each, drivers.Driver)]
    for kind in kinds:
        if kind is not drivers.Driver:
            assert f"{kind.__name__}:" in told.text
            assert [name for name in kind.__abstractmethods__ if f"def {name}(" not in told.text] == []


def test_every_driver_that_is_installed(page):
    told = page("reference/drivers")
    for point in driver_points():
        assert anchor("driver", point.group.removeprefix("pilot_core.")) in told.ids
        assert point.name in told.codes


def test_every_option(page):
    told = page("reference/options")
    sections = {*CORE, *filter(None, (getattr(point.load(), "options", None) for point in driver_points()))}
    options = [option for section in sections for option in fields_of(section)]
    assert len(options) > 60
    for option in options:
        assert option.path in told.codes
        assert option.flag is None or option.flag in told.codes
        assert anchor("options", option.section) in told.ids


def test_every_error_code(page):
    told = page("reference/errors")
    for row in codes():
        assert str(row.number) in told.codes
        assert row.acronym in told.codes
        assert row.retry.value in told.text


def test_every_class_and_pattern_of_failures(page):
    told = page("reference/failures")
    assert CLASSES.keys() <= set(told.codes)
    for path in pilot_payload_patterns():
        for row in read_patterns(path):
            assert f"({row.name})" in told.text
            assert row.remedy in told.text


def test_every_exit_code(page):
    told = page("reference/exit-codes")
    for code in {0, 1, INTERNAL, *EXIT_CODES.values(), *(row.exit_code for row in codes())}:
        assert str(code) in told.codes
    for row in codes():
        assert row.exit_code == 1 or f"{row.number} {row.acronym}" in told.codes


def test_every_command_with_all_its_arguments(page, capsys):
    told = page("reference/commands")
    for name in (name for group in COMMANDS.values() for name in group):
        assert anchor("command", name) in told.ids
        assert f"usage: pilot {name} " in told.text
    assert "--until-done" in told.text


def test_the_machine_is_drawn_whole(page):
    told = page("concepts")
    assert [event.__name__ for _, event in RULES if event.__name__ not in told.codes] == []
    assert told.boxes == len(Stand)
    assert told.arrows >= 15


# --- what the manual names --------------------------------------------------------------------------------------------

PAGES = sorted(path for path in DOCS.rglob("*.md"))


def named(pattern: str) -> Iterator[tuple[str, str]]:
    for path in PAGES:
        yield from ((str(path.relative_to(DOCS)), found) for found in re.findall(pattern, path.read_text()))


def test_every_hook_that_a_page_names_exists():
    known = {hook.__name__ for hook in hooks()} | {"pilot_kit", "pilot_core"}
    assert [each for each in named(r"(?:`|#hook-)(pilot_[a-z_]+)[`)]") if each[1] not in known] == []


def test_every_option_that_a_page_names_exists():
    sections = {*CORE, *filter(None, (getattr(point.load(), "options", None) for point in driver_points()))}
    known = {section.section: {option.path for option in fields_of(section)} for section in sections}
    assert [
        each
        for each in named(r"`(?:--set )?([a-z_]+\.[a-z_]+)[`=]")
        if each[1] not in known.get(each[1].partition(".")[0], {each[1]})
        and not each[1].endswith((".yaml", ".json", ".py", ".txt", ".log", ".stdout", ".stderr"))
    ] == []


def test_every_command_that_a_page_names_exists():
    known = {name for group in COMMANDS.values() for name in group} | {"COMMAND"}
    assert [each for each in named(r"(?:^    |`|\$ )pilot ([a-zA-Z-]+)") if each[1].strip("-") not in known] == []


def typed() -> Iterator[tuple[str, str, bool]]:
    """Page, command line, whether it must be a whole one."""
    yield from ((*each, True) for each in named(r"(?m)^    (pilot [a-z].*?)(?: +#.*)?$"))
    yield from ((*each, False) for each in named(r"`(pilot [a-z][^`]*)`") if "--help" not in each[1])


@pytest.mark.parametrize(("where", "line", "whole"), list(dict.fromkeys(typed())))
def test_every_command_line_that_a_page_names_is_understood(where, line, whole):
    """Words in capitals stand for something: here for a number, which is a name and a path, too."""
    words = re.sub(r"\b[A-Z]{1,5}\b|\.\.\.", "1", line.replace("[", "").replace("]", "")).replace("HOST:PORT", "h:1")
    _, command, *rest = shlex.split(words)
    parser = Parser(prog=f"pilot {command}")
    import_module(f"pilot_core.cli.{SHARED.get(command, command.replace('-', '_'))}").describe(parser)
    try:
        parser.read(rest, command=command)
    except Usage as wrong:
        if whole or not re.search(r"are required|expected one argument", str(wrong)):
            pytest.fail(f"{where}: {line}: {wrong}")


def test_every_page_has_a_place_in_the_tree(built):
    contents = (built / "index.html").read_text() + (built / "decisions" / "index.html").read_text()
    for path in PAGES:
        link = path.relative_to(DOCS).with_suffix(".html").name
        assert link == "index.html" or link in contents
