"""A range of quanta in the words of a job's command: ready for whoever runs ranges of events. Pure.

A job of many quanta names in its arguments a pseudo input, ``label:file``. A range of it comes with the name
``prefix:label:file`` and the number of the first quantum, from 1 on. The decoder that the workflow service ships
understands ``label:file^number``; a map of the order, which the command may hold, names the quantum itself.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Final, Self

from attrs import frozen

from pilot_core.sdk import Code, PilotError

Order = Mapping[str, Mapping[str, str]]
"""What stands for the quanta of a label, by their numbers in the whole task, from 0 on."""
MAP: Final = "RUBIN_ES_MAP="
_WORD: Final = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")


@frozen
class Quanta:
    """One range: a pseudo input, and which of its quanta."""

    label: str
    file: str
    first: int

    @classmethod
    def of(cls, lfn: str, first: int) -> Self:
        """Read a range as the server names it."""
        parts = lfn.split(":")
        if len(parts) < 2 or first < 1:
            raise PilotError(Code.ESFATAL, f"{lfn!r} from {first} on is no range of quanta")
        return cls(parts[-2], parts[-1], first)

    @property
    def token(self) -> str:
        """How the job's command names the pseudo input."""
        return f"{self.label}:{self.file}"

    @property
    def index(self) -> str:
        """The number of its first quantum in the whole task, from 0 on."""
        base = self.file.split("_")[1:2]
        if not base or not base[0].isdecimal():
            raise PilotError(Code.ESFATAL, f"{self.file!r} holds no number of its first quantum")
        return str(int(base[0]) + self.first - 1)

    def named(self, order: Order) -> str:
        """What takes the place of the token."""
        quanta = order.get(self.label)
        if not quanta:
            return f"{self.token}^{self.first}"
        if self.index not in quanta:
            raise PilotError(Code.ESFATAL, f"the order of {self.label} has no quantum {self.index}")
        return quanta[self.index]


def parameters_of(parameters: str, quanta: Quanta, order: Order | None = None) -> str:
    """The arguments of a job for one range of it; what is encoded in them stays so."""

    def fill(text: str) -> str:
        known = order if order is not None else order_in(text)
        whole = re.compile(re.escape(quanta.token) + r"(?![\w^])")
        return whole.sub(lambda _: quanta.named(known), text)

    return _in_encoded(fill(parameters), fill)


def order_in(text: str) -> Order:
    """The map that a command holds, if it does."""
    _, found, rest = text.partition(MAP)
    try:
        told = json.JSONDecoder().raw_decode(rest.lstrip("'\""))[0] if found else {}
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    tables = {str(label): each for label, each in told.items() if isinstance(each, dict)}
    return {label: {str(index): str(name) for index, name in each.items()} for label, each in tables.items()}


def _in_encoded(text: str, change: Callable[[str], str]) -> str:
    """The text, with words of it changed that are base64 of other text."""

    def changed(word: re.Match[str]) -> str:
        plain = _decoded(word[0])
        new = change(plain) if plain is not None else plain
        return word[0] if new is None or new == plain else b64encode(new.encode()).decode()

    return _WORD.sub(changed, text)


def _decoded(word: str) -> str | None:
    """The text that a word encodes; ``None`` if that would not encode to the same word."""
    try:
        data = b64decode(word, validate=True)
        return data.decode() if b64encode(data).decode() == word else None
    except ValueError:
        return None
