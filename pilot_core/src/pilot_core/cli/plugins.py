"""``pilot plugins list`` and ``doctor``: what is installed, what would be used here, and why something would not."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import frozen

from pilot_core.cli.mistakes import warnings_of
from pilot_core.cli.output import answer, columns
from pilot_core.cli.parser import OneOf, Parser, add_json, add_sources, sources_of
from pilot_core.config.schema import Connection, PayloadOptions
from pilot_core.plugins.doctor import Row

if TYPE_CHECKING:
    from pilot_core.agent.setup import Setup, Sources

CHOICES = ("communicator", "workflow", "resource", "container", "launcher")
LISTS = ("copytools", "monitors")


@frozen
class Look:
    """What is installed, what of it a pilot would use, and why none would start if that is so."""

    rows: tuple[Row, ...]
    used: frozenset[tuple[str, str]]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    isolation: tuple[str, ...] = ()
    """What nothing here keeps a payload from."""
    shared: tuple[str, ...] = ()
    """Questions that several plugins answer."""

    def uses(self, row: Row) -> bool:
        """Whether a pilot started here would use it."""
        return (row.kind, row.name) in self.used

    def as_json(self) -> dict[str, object]:
        """Plain values for ``--json``."""
        rows = [{**row.as_json(), "used": self.uses(row)} for row in self.rows]
        told = {"problems": list(self.problems), "warnings": list(self.warnings), "isolation": list(self.isolation)}
        return {"plugins": rows, **told, "shared": list(self.shared)}


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot plugins``."""
    words = "list", "doctor"
    text = "List what is installed, or say what would be used here and why not."
    parser.add_argument("what", metavar="list|doctor", nargs="?", default="list", type=OneOf(*words), help=text)
    add_json(parser)
    add_sources(parser)


def run(arguments: Namespace) -> int:
    """Show what is installed; the doctor ends with 1 where no pilot would start."""
    look = look_around(sources_of(arguments))
    show = _diagnosis if arguments.what == "doctor" else _list
    answer(arguments.json, look.as_json(), "\n".join(show(look)))
    return 1 if arguments.what == "doctor" and look.problems else 0


def look_around(sources: Sources) -> Look:
    """Try to set a pilot up from these sources; where that fails, see at least what is installed."""
    from pilot_core.agent.setup import Sources, choose, prepare
    from pilot_core.config.layers import ConfigError
    from pilot_core.errors import PilotError
    from pilot_core.plugins.choose import CannotChoose
    from pilot_core.plugins.discover import Discovery
    from pilot_core.plugins.doctor import Doctor
    from pilot_core.plugins.drivers import NoSuchDriver
    from pilot_core.plugins.guard import PluginFailed

    discovery = Discovery()
    try:
        setup = prepare(sources, discovery)
    except (CannotChoose, ConfigError, NoSuchDriver, PilotError, PluginFailed) as broken:
        hooks, chosen = choose(Sources(), discovery)
        return Look(tuple(Doctor(discovery, hooks, chosen).rows()), frozenset(), tuple(str(broken).splitlines()))
    doctor = Doctor(discovery, setup.hooks, setup.chosen)
    told = tuple(warnings_of(setup)), tuple(_isolation(setup)), tuple(doctor.shared())
    return Look(tuple(doctor.rows()), _used(setup), (), *told)


def _used(setup: Setup) -> frozenset[tuple[str, str]]:
    registered = [each.plugin.name for each in setup.hooks.plugins()]
    one = [(kind, getattr(setup, kind).asked) for kind in CHOICES]
    several = [(kind.removesuffix("s"), each.asked) for kind in LISTS for each in getattr(setup, kind).usable]
    sources = [("info_source", name) for name in setup.settings.of(Connection).info_sources]
    loaded = [(kind, name) for kind in ("experiment", "plugin") for name in registered]
    one.append(("container", setup.isolation.asked))
    return frozenset((*one, *several, *sources, *loaded))


def _isolation(setup: Setup) -> Iterator[str]:
    """What payloads can do all the same, as the chosen drivers say."""
    from pilot_core.agent import hiding
    from pilot_core.agent.setup import NONE
    from pilot_core.control.hidden import COVERED

    wanted = hiding.is_wanted(setup.settings.of(PayloadOptions).isolation)
    why = hiding.unhidden(setup.settings) if wanted else ""
    bare = COVERED if wanted and not why else getattr(setup.isolation.driver, "lacks", "")
    if bare:
        yield f"a payload without an image can {bare}" + (f"; nothing is hidden from it, as {why}" if why else "")
    if setup.container.name != NONE and (lacks := getattr(setup.container.driver, "lacks", "")):
        yield f"a payload in an image can {lacks}"


def _list(look: Look) -> Iterator[str]:
    cells = ((r.kind, r.name, r.distribution, r.version, r.state, ", ".join(map(_short, r.hooks))) for r in look.rows)
    yield columns(("KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE", "HOOKS"), cells)


def _short(hook: str) -> str:
    return hook.removeprefix("pilot_")


def _diagnosis(look: Look) -> Iterator[str]:
    if look.problems:
        yield "no pilot would start here:"
        yield from (f"  {problem}" for problem in look.problems)
    else:
        yield "a pilot would start here"
    yield from (f"warning: {warning}" for warning in look.warnings)
    yield from (f"isolation: {lack}" for lack in look.isolation)
    yield from (f"several answers: {question}" for question in look.shared)
    yield ""
    yield columns(("", "KIND", "NAME", "STATE", "WHY"), _findings(look))


def _findings(look: Look) -> Iterable[tuple[str, ...]]:
    for row in look.rows:
        way_out = f"to install it: {row.install}" if row.install else ""
        mark = "used" if look.uses(row) else " "
        yield mark, row.kind, row.name, row.state, "; ".join(filter(None, (row.reason, way_out))) or " "
