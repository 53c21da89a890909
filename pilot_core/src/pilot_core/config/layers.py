"""Ranked sources become one frozen value per section, and every value remembers where it came from.

A later rank wins, and within one rank the layer given later. Nothing stops at the first fault: ``merge``
collects all problems with their places and raises them together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from attrs import field, frozen

from pilot_core.config.options import Option, Section, fields_of, name_of
from pilot_core.config.spelling import meant
from pilot_core.config.values import Unreadable, read_value, show_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

T = TypeVar("T")


class Rank(IntEnum):
    """Who may overrule whom: the higher wins."""

    DEFAULTS = 0
    EXPERIMENT = 1
    SITE = 2
    QUEUE = 3
    ENVIRONMENT = 4
    COMMAND_LINE = 5
    JOB = 6

    @property
    def title(self) -> str:
        """As people are told: ``command line``."""
        return self.name.lower().replace("_", " ")


_ALL_TEXT = frozenset({Rank.ENVIRONMENT, Rank.COMMAND_LINE})


@frozen
class Problem:
    """One thing wrong: in which source, at which path, and what would be right."""

    where: str
    path: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.text) if part)


class ConfigError(Exception):
    """Settings cannot be made; ``problems`` holds every reason."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@frozen
class Layer:
    """What one source says: section, then name, then the raw value."""

    rank: Rank
    where: str
    values: Mapping[str, object]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    base: str = ""
    """The directory from which its relative paths are seen."""


@frozen
class Sourced:
    """A value and its origin."""

    value: object
    layer: Rank
    where: str


@frozen
class Row:
    """A line of ``pilot config show --sources``."""

    path: str
    value: str
    layer: str
    where: str


@frozen
class Settings:
    """The merged values of one pilot or one job."""

    sections: Mapping[str, Section]
    sources: Mapping[str, Sourced]
    warnings: tuple[str, ...] = field(default=(), eq=False)

    def of(self, section: type[T], /) -> T:
        """The values of one section, typed."""
        name = getattr(section, "section", section.__name__)
        found = self.sections.get(name)
        if isinstance(found, section):
            return found
        raise LookupError(f"the section {name!r} is not part of these settings")

    def explain(self) -> tuple[Row, ...]:
        """Every option in order of declaration, with where its value came from."""
        return tuple(
            Row(path, show_value(each.value), each.layer.title, each.where) for path, each in self.sources.items()
        )


class Schema:
    """The options of all sections that are installed here, read once."""

    def __init__(self, sections: Iterable[type[Section]]) -> None:
        self.sections = tuple(sections)
        self.options = tuple(each for section in self.sections for each in fields_of(section))
        self._by_path = {each.path: each for each in self.options}
        self._names = {name_of(section) for section in self.sections}
        self._refuse_doubles()

    def _refuse_doubles(self) -> None:
        claims = Counter(f"section {name_of(section)!r}" for section in self.sections)
        claims.update(f"variable {each.env}" for each in self.options)
        claims.update(f"flag {each.flag}" for each in self.options if each.flag)
        if doubles := [claim for claim, count in claims.items() if count > 1]:
            owners = ", ".join(f"{each.__module__}.{each.__qualname__}" for each in self.sections)
            raise ConfigError(*(Problem("", claim, f"declared twice, among {owners}") for claim in doubles))

    def environment(self, environ: Mapping[str, str], *, also: Collection[str] = (), base: str = "") -> Layer:
        """The layer of environment variables; an empty one counts as not set.

        ``also`` names ``PILOT_*`` variables that others read. Any further one is worth a warning, no more.
        """
        values = _nest((each.path, environ[each.env]) for each in self.options if environ.get(each.env))
        known = {each.env for each in self.options} | set(also)
        unknown = sorted(name for name in environ if name.startswith("PILOT_") and name not in known)
        warnings = tuple(f"${name} is not known here{meant(name, known)}" for name in unknown)
        return Layer(Rank.ENVIRONMENT, "environment", values, warnings=warnings, base=base)

    def command_line(
        self, assignments: Iterable[str], flags: Mapping[str, str] | None = None, *, base: str = ""
    ) -> Layer:
        """The layer of ``--set section.name=value`` and of options' own flags, which win over ``--set``."""
        pairs, problems = [], []
        for written in assignments:
            path, sign, value = written.partition("=")
            if sign and path.count(".") == 1:
                pairs.append((path.strip(), value))
            else:
                problems.append(Problem("command line", f"--set {written}", "wants section.name=value"))
        pairs.extend((flags or {}).items())
        return Layer(Rank.COMMAND_LINE, "command line", _nest(pairs), tuple(problems), base=base)

    def merge(self, *layers: Layer) -> Settings:
        """Settings from layers in any order; ``ConfigError`` with all problems."""
        merging = _Merging(self._by_path, self._names)
        for layer in sorted(layers, key=lambda each: each.rank):
            merging.take(layer)
        sections = merging.build(self.sections)
        if merging.problems:
            raise ConfigError(*merging.problems)
        sources = {
            each.path: merging.given.get(each.path) or Sourced(each.default, Rank.DEFAULTS, "") for each in self.options
        }
        return Settings(MappingProxyType(sections), MappingProxyType(sources), tuple(merging.warnings))


@frozen
class _Merging:
    options: Mapping[str, Option]
    section_names: Collection[str]
    given: dict[str, Sourced] = field(factory=dict)
    problems: list[Problem] = field(factory=list)
    warnings: list[str] = field(factory=list)

    def take(self, layer: Layer) -> None:
        self.problems.extend(layer.problems)
        self.warnings.extend(layer.warnings)
        for section, values in layer.values.items():
            if section not in self.section_names and layer.rank is Rank.EXPERIMENT:
                continue  # a default for what is not used here
            if section not in self.section_names:
                hint = meant(str(section), self.section_names)
                self.warnings.append(f"{layer.where}: {section}: no section of a plugin that is installed here{hint}")
            elif isinstance(values, Mapping):
                for name, raw in values.items():
                    self.take_value(layer, f"{section}.{name}", raw)
            elif values is not None:
                self.problems.append(Problem(layer.where, section, f"wants a mapping of options, not {values!r}"))

    def take_value(self, layer: Layer, path: str, raw: object) -> None:
        option = self.options.get(path)
        if option is None:
            self.refuse_unknown(layer, path)
            return
        where = f"${option.env}" if layer.rank is Rank.ENVIRONMENT else layer.where
        if layer.rank is Rank.JOB and not option.job:
            self.problems.append(Problem(where, path, "a job may not set this option"))
            return
        try:
            value = read_value(option, raw, text=layer.rank in _ALL_TEXT, base=layer.base)
        except Unreadable as unreadable:
            self.problems.append(Problem(where, path, str(unreadable)))
        else:
            self.given[path] = Sourced(value, layer.rank, where)

    def refuse_unknown(self, layer: Layer, path: str) -> None:
        section, _, name = path.partition(".")
        names = [each.name for each in self.options.values() if each.section == section]
        problem = Problem(layer.where, path, f"no such option{meant(name, names)}")
        if layer.rank is Rank.QUEUE:
            self.warnings.append(str(problem))
        else:
            self.problems.append(problem)

    def build(self, sections: Iterable[type[Section]]) -> dict[str, Section]:
        return {name: made for section in sections for name, made in self.build_one(section)}

    def build_one(self, section: type[Section]) -> Iterator[tuple[str, Section]]:
        name = name_of(section)
        given = {path.partition(".")[2]: each for path, each in self.given.items() if path.startswith(f"{name}.")}
        try:
            yield name, section(**{key: each.value for key, each in given.items()})
        except (ValueError, TypeError) as refused:
            where = ", ".join(sorted({each.where for each in given.values()}))
            self.problems.append(Problem(where, name, str(refused.args[0] if refused.args else refused)))


def _nest(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    nested: dict[str, dict[str, object]] = {}
    for path, value in pairs:
        section, _, name = path.partition(".")
        nested.setdefault(section, {})[name] = value
    return dict(nested)


def read_yaml(path: Path) -> dict[str, object]:
    """The mapping in a YAML file; what is wrong with it is named by file, line and column."""
    import yaml

    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as unreadable:
        raise ConfigError(Problem(str(path), "", unreadable.strerror or str(unreadable))) from None
    except UnicodeDecodeError as not_text:
        raise ConfigError(Problem(str(path), "", f"not UTF-8 at byte {not_text.start}")) from None
    except yaml.MarkedYAMLError as broken:
        mark = broken.problem_mark
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        raise ConfigError(Problem(place, "", broken.problem or "not YAML")) from None
    except yaml.YAMLError as broken:
        raise ConfigError(Problem(str(path), "", str(broken).replace("\n", " "))) from None
    if read is None:
        return {}
    if not isinstance(read, dict) or not all(isinstance(key, str) for key in read):
        raise ConfigError(Problem(str(path), "", "wants a mapping from names to sections"))
    return read
