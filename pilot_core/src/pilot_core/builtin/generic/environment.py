"""The payload's environment as a profile changes it, before any set-up script has its say."""

from __future__ import annotations

import re
from typing import Final

from attrs import field, frozen

from pilot_core.builtin.generic.words import Reader, Text, Values
from pilot_core.sdk import Patch
from pilot_core.sdk.wire import Fields

PATH: Final = ":"
VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@frozen(kw_only=True)
class Environment:
    """What is set, put before and after what is there, and taken out."""

    set: dict[str, Text] = field(factory=dict)
    prepend: dict[str, Text] = field(factory=dict)
    append: dict[str, Text] = field(factory=dict)
    unset: tuple[str, ...] = ()


def read_environment(fields: Fields, reader: Reader) -> Environment:
    """The changes in a profile."""
    inner = fields.fields("environment")
    if inner is None:
        return Environment()
    tables = {name: _table(inner, reader, name) for name in ("set", "prepend", "append")}
    unset = inner.texts("unset", "a list of variables")
    inner.refuse_unknown()
    return Environment(**tables, unset=unset)


def _table(fields: Fields, reader: Reader, name: str) -> dict[str, Text]:
    table = reader.table(fields, name)
    for variable in table:
        if not VARIABLE.fullmatch(variable):
            fields.problem(f"{name}.{variable}", "cannot name a variable, which takes letters, digits and '_'")
    return table


def patches(environment: Environment, values: Values) -> list[Patch]:
    """The changes for one job."""
    return [
        *map(Patch.unset, environment.unset),
        *(Patch.set(name, text.fill(values)) for name, text in environment.set.items()),
        *(Patch.prepend(name, text.fill(values), between=PATH) for name, text in environment.prepend.items()),
        *(Patch.append(name, text.fill(values), between=PATH) for name, text in environment.append.items()),
    ]
