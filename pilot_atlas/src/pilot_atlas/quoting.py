"""Words in a text for the shell, exchanged where they stand: each in the quotes that are around it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Final

_PIECE: Final = re.compile(r"""'[^']*+'|"(?:[^"\\]|\\.)*+"|\\.|[^'"\\]++""", re.DOTALL)
_IN_DOUBLE: Final = re.compile(r'[\\"$`]')
_PART_OF_A_NAME: Final = r"[\w.+-]"


def exchange(text: str, names: Mapping[str, str]) -> str:
    """The text with other names; a text in which quotes do not close stays as it is."""
    pieces = _PIECE.findall(text)
    if not names or "".join(pieces) != text:
        return text
    either = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    known = re.compile(f"(?<!{_PART_OF_A_NAME})(?:{either})(?!{_PART_OF_A_NAME})")
    return "".join(_exchanged(piece, known, names) for piece in pieces)


def _exchanged(piece: str, known: re.Pattern[str], names: Mapping[str, str]) -> str:
    return known.sub(lambda found: _quoted(names[found[0]], piece[0]), piece)


def _quoted(word: str, around: str) -> str:
    """A word as it must be written within these quotes, or within none."""
    match around:
        case "'":
            return word.replace("'", "'\\''")
        case '"':
            return _IN_DOUBLE.sub(r"\\\g<0>", word)
    return shlex.quote(word)


def words_of(text: str) -> tuple[str, ...]:
    """The words that the shell would make of plain text; none if it could not."""
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return ()


def values_of(text: str, option: str) -> Iterator[str]:
    """What is given to an option, in one word with it or in the next."""
    words = words_of(text)
    for number, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name == option and sign:
            yield value
        elif word == option and number + 1 < len(words):
            yield words[number + 1]
