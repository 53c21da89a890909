"""HTML in which every text is escaped, because only ``Markup`` is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final

VOID: Final = frozenset({"meta", "br", "hr"})
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Controls, lone surrogates, and what turns the direction of writing: none of them belongs in a report unspelt."""


class Markup(str):
    """A piece of HTML."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """A text as HTML; what cannot be seen is spelt out."""
    if isinstance(text, Markup):
        return text
    return Markup(escape(_UNSEEN.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)))


def joined(parts: Iterable[str]) -> Markup:
    """Texts and pieces of HTML, one after the other."""
    return Markup("".join(map(escaped, parts)))


def tag(name: str, /, *content: str, **attributes: str) -> Markup:
    """An element. Attributes are written ``class_`` where Python has a word of its own, ``data_x`` for ``data-x``.

    An attribute without a value is left out.
    """
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value)
    told = "".join(f' {key}="{escaped(value)}"' for key, value in given)
    return Markup(f"<{name}{told}>" if name in VOID else f"<{name}{told}>{joined(content)}</{name}>")
