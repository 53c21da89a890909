"""The remarks of a queue, its field ``catchall``: flags and values in one line of text, by many hands.

Items stand between blanks. A comma ends an item too, if that is a flag or if the next item is a ``name=value``. A
value may be quoted to hold blanks and commas. Names are the same in any case.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Final, Self

from attrs import frozen

from pilot_core.infosys.casting import as_flag
from pilot_core.infosys.wire import REMARKS
from pilot_core.model.queue import Queue

_VALUE: Final = r"""(?:"[^"]*"|'[^']*'|(?!,\s*\w+=)[^\s])*"""
_ITEM: Final = re.compile(rf"(?P<name>\w+)=(?P<value>{_VALUE})|(?P<flag>[^\s,=]+)")
_QUOTED: Final = re.compile(r""""([^"]*)"|'([^']*)'""")
ALIKE: Final = 0.85
"""So much alike are a word and what it was meant to be; others write remarks of their own there."""
log = logging.getLogger(__name__)


@frozen
class Catchall:
    """What the remarks say: ``flag("name")``, ``value("name")``."""

    flags: frozenset[str] = frozenset()
    values: Mapping[str, str] = {}

    @classmethod
    def of(cls, queue: Queue) -> Self:
        """The remarks of this queue."""
        return cls.read(str(queue.params.get("catchall", "")))

    @classmethod
    def read(cls, text: str) -> Self:
        """Flags and values; of a value that stands twice the first counts."""
        flags: set[str] = set()
        values: dict[str, str] = {}
        for item in _ITEM.finditer(text):
            if item["flag"]:
                flags.add(item["flag"].lower())
            else:
                values.setdefault(item["name"].lower(), _unquoted(item["value"]))
        return cls(frozenset(flags), values)

    def flag(self, name: str, default: bool = False) -> bool:
        """Whether a flag stands there, or what ``name=true`` or ``name=false`` says."""
        if name.lower() in self.flags:
            return True
        try:
            return as_flag(self.values[name.lower()])
        except (KeyError, ValueError):
            return default

    def value(self, name: str, default: str = "") -> str:
        """The text after ``name=``, without its quotes."""
        return self.values.get(name.lower(), default)


def warn_of_misspelt(text: str, what: str) -> None:
    """Name the words that are nearly one of those which mean something."""
    from difflib import get_close_matches

    said = Catchall.read(text)
    for word in sorted((said.flags | said.values.keys()) - REMARKS.keys()):
        for near in get_close_matches(word, REMARKS, n=1, cutoff=ALIKE):
            log.warning("%s: catchall: %r means nothing; did you mean %r?", what, word, near)


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda quoted: quoted[1] if quoted[1] is not None else quoted[2], text.rstrip(","))
