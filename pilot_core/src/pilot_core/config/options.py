"""One option, declared once, in one attrs field.

A section is a frozen attrs class with a ``section`` name. From its fields come defaults, environment names,
flags, checks of files, and the rows of the manual::

    @frozen
    class Staging:
        section = "staging"

        timeout_s: int = option(3600, help="Longest time for one file.", unit="s", job=True)

Annotations are read at run time, so a section's module imports the types that its fields name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, get_type_hints

from attrs import NOTHING, field, fields, frozen

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Collection, Iterable

    from attrs import AttrsInstance

T = TypeVar("T")
_KEY = "pilot_core.option"
_UNITS = ("", "s", "b")


@frozen
class _Declared:
    help: str
    unit: str
    env: str | None
    flag: str | None
    job: bool
    choices: tuple[str, ...]
    least: float | None
    place: bool


class Section(Protocol):
    """A frozen attrs class of options."""

    __attrs_attrs__: ClassVar[Any]

    @property
    def section(self) -> str: ...


@frozen
class Option:
    """What is known about one option: a row of ``--help`` and of the manual."""

    section: str
    name: str
    type: Any
    default: object
    help: str
    unit: str
    env: str
    flag: str | None
    job: bool
    choices: tuple[str, ...]
    least: float | None = 0
    place: bool = False

    @property
    def path(self) -> str:
        """Its name in files, in ``--set`` and in messages: ``section.name``."""
        return f"{self.section}.{self.name}"


def option(
    default: T,
    *,
    help: str,
    unit: str = "",
    env: str | None = None,
    flag: str | None = None,
    job: bool = False,
    choices: Collection[str] | None = None,
    least: float | None = 0,
    place: bool = False,
    validator: Callable[[Any, Any, T], object] | None = None,
) -> T:
    """Declare an option as the value of an attrs field.

    ``unit`` is ``s`` or ``b`` where "10 min" or "2 GB" may be written. ``env`` replaces the derived
    ``PILOT_<SECTION>_<NAME>``. ``flag`` is a name of its own beside ``--set section.name=value``.
    Only with ``job=True`` may a job set it. A number is never less than ``least``. ``place`` marks a text that is a
    URL or a path: relative ones, like those of type ``Path``, are seen from where they were written.
    """
    if unit not in _UNITS:
        raise TypeError(f"unit {unit!r} is not one of {_UNITS}")
    if isinstance(default, (list, set)):
        raise TypeError("a default is a tuple, not a list or a set")
    declared = _Declared(help, unit, env, flag, job, tuple(choices or ()), least, place)
    frozen_default: Any = MappingProxyType(dict(default)) if isinstance(default, Mapping) else default
    made: Any = field(default=frozen_default, validator=validator, metadata={_KEY: declared})
    return made  # type: ignore[no-any-return]


def name_of(section: type[Section]) -> str:
    """What the section is called in files and messages."""
    return str(section.section)


def fields_of(section: type[Section]) -> tuple[Option, ...]:
    """The options of a section in the order of declaration."""
    types = get_type_hints(section)
    return tuple(_describe(section, attribute, types) for attribute in fields(_attrs(section)))


def _attrs(section: type[Section]) -> type[AttrsInstance]:
    return section


def _describe(section: type[Section], attribute: Any, types: Mapping[str, object]) -> Option:
    declared = attribute.metadata.get(_KEY)
    if declared is None or attribute.default is NOTHING:
        raise TypeError(f"{section.__qualname__}.{attribute.name} is declared without option()")
    return Option(
        section=name_of(section),
        name=attribute.name,
        type=types[attribute.name],
        default=attribute.default,
        help=declared.help,
        unit=declared.unit,
        env=declared.env or f"PILOT_{name_of(section)}_{attribute.name}".upper(),
        flag=declared.flag,
        job=declared.job,
        choices=declared.choices,
        least=declared.least,
        place=declared.place,
    )


def add_flags(parser: ArgumentParser, options: Iterable[Option]) -> None:
    """Give ``parser`` the flags that options have of their own, and ``--set``."""
    parser.add_argument(
        "--set", dest="set", action="append", default=[], metavar="SECTION.NAME=VALUE", help="Set any option."
    )
    for each in options:
        if each.flag and each.type is bool:
            parser.add_argument(each.flag, dest=each.path, action="store_const", const="true", help=each.help)
            parser.add_argument(
                f"--no-{each.flag.lstrip('-')}",
                dest=each.path,
                action="store_const",
                const="false",
                help=None,
            )
        elif each.flag:
            parser.add_argument(each.flag, dest=each.path, metavar=each.name.upper(), help=each.help)


def flags_given(arguments: Namespace, options: Iterable[Option]) -> dict[str, str]:
    """What the flags of ``add_flags`` were given: path to text, unread."""
    given = vars(arguments)
    return {each.path: given[each.path] for each in options if given.get(each.path) is not None}
