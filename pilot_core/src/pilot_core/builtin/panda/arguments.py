"""What is hidden in a job's arguments: options for the pilot, which are cut out. No other byte is changed.

An option is one only where a word of the shell begins: never inside of quotes. Text that no shell can split, and text
that was encoded, is left as it is.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import define, field, frozen

from pilot_core.sdk.wire import oddity

QUEUE, STORAGE, OLD, IMAGE = (
    "--overwriteQueueData",
    "--overwriteStorageData",
    "--overwriteQueuedata",
    "--containerImage",
)
LONGEST_LITERAL: Final = 100_000
_HIDDEN: Final = re.compile(r"--overwrite|--containerImage|--accessmode=|--useLocalIO|<ZIP_MAP>")
_WORD: Final = re.compile(r"""(?:[^\s'"\\]++|\\.|'[^']*+'|"(?:[^"\\]|\\.)*+")++""", re.DOTALL)
_PIECE: Final = re.compile(r"""[^'"\\]++|\\.|'[^']*+'|"(?:[^"\\]|\\.)*+\"""", re.DOTALL)
_ESCAPED: Final = re.compile(r'\\([\\"$`])')
_BLANK: Final = re.compile(r"\s*")
_OPENED: Final = re.compile(rf"({QUEUE}|{STORAGE}|{OLD})(?:=|\s+)\{{")
_LITERAL: Final = re.compile(r"""'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|[{}]|[^{}'"]++""", re.DOTALL)
_ZIP_MAP: Final = re.compile(r"(')?<ZIP_MAP>(.*?)</ZIP_MAP>(?(1)')", re.DOTALL)
log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Hidden:
    """Arguments without what was hidden in them, and what that was."""

    parameters: str
    image: str = ""
    access: str = ""
    """How inputs are to be read, ``copy`` or ``direct``, if the arguments want one of them."""
    queue: Mapping[str, object] = field(factory=dict)
    """Facts of the queue that the job wants to change for itself; which it may is decided elsewhere."""
    archives: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """For each archive the patterns of the outputs to be packed into it."""


def uncover(parameters: str, *, keeps_image: bool = False) -> Hidden:
    """Find the options in arguments. ``keeps_image`` says that the program wants to see the image, too."""
    if not _HIDDEN.search(parameters):
        return Hidden(parameters=parameters)
    archives: dict[str, tuple[str, ...]] = {}
    if block := _ZIP_MAP.search(parameters):
        archives = _archives(block[2])
        parameters = _without(parameters, [block.span()])
    reading = _Reading(parameters, keeps_image)
    if not reading.read():
        log.warning("no options are taken from arguments that no shell can split: they stay as they are")
        return Hidden(parameters=parameters, archives=archives)
    return Hidden(
        parameters=_without(parameters, reading.cuts),
        image=reading.image,
        access=reading.access,
        queue=reading.queue,
        archives=archives,
    )


@frozen
class _Word:
    start: int
    end: int
    text: str
    """What the shell makes of it."""


@define
class _Reading:
    text: str
    keeps_image: bool
    cuts: list[tuple[int, int]] = field(factory=list)
    image: str = ""
    access: str = ""
    queue: dict[str, object] = field(factory=dict)
    endless: bool = False
    """Whether braces were met that are never closed."""

    def read(self) -> bool:
        """Read the words one after another; false if the text has no end of words."""
        place = 0
        while (place := _blank_end(self.text, place)) < len(self.text):
            word = self._bare_literal(place) or _word_at(self.text, place)
            if word is None:
                return False
            place = self._take(word).end
        return True

    def _take(self, word: _Word) -> _Word:
        """Take a word for what it is; the last word that belongs to it."""
        name, sign, value = word.text.partition("=")
        if word.text.startswith("--accessmode="):
            self.access = value if value in ("copy", "direct") else self.access
        elif name == "--useLocalIO":
            self.access = "copy"
        elif name in (QUEUE, STORAGE, OLD, IMAGE):
            last = word if sign else self._following(word)
            told = self._obey(name, value if sign else last.text if last is not word else "")
            if told and not (name == IMAGE and self.keeps_image):
                self.cuts.append((word.start, last.end))
            return last
        return word

    def _following(self, word: _Word) -> _Word:
        following = _word_at(self.text, _blank_end(self.text, word.end))
        return word if following is None or following.text.startswith("-") else following

    def _obey(self, name: str, value: str) -> bool:
        """Do what an option says; false if it is none, after all."""
        if name == IMAGE:
            if not value or any(each.isspace() for each in value):
                return False
            self.image = value
        elif name == QUEUE:
            self.queue |= _literal(name, value)
        elif name == STORAGE and _literal(name, value):
            log.warning("%s is not obeyed: a job changes no storage", name)
        return True

    def _bare_literal(self, place: int) -> _Word | None:
        """An option whose dictionary stands there without quotes, blanks and all."""
        opened = None if self.endless else _OPENED.match(self.text, place)
        if opened is None:
            return None
        end = _closing(self.text, opened.end() - 1)
        self.endless = not end
        if not end or (end < len(self.text) and not self.text[end].isspace()):
            return None
        return _Word(place, end, f"{opened[1]}={self.text[opened.end() - 1 : end]}")


def _literal(name: str, text: str) -> Mapping[str, object]:
    """A dictionary as JSON or as Python writes it; an empty one, if it makes no sense."""
    from ast import literal_eval

    for read in (json.loads, literal_eval):
        try:
            value = read(text) if len(text) <= LONGEST_LITERAL else None
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(value, dict) and not oddity(value):
            return value
    log.warning("%s is not obeyed: %.200r is no dictionary", name, text)
    return {}


def _archives(text: str) -> dict[str, tuple[str, ...]]:
    pairs = (each.partition(":") for each in text.split())
    return {name: tuple(filter(None, patterns.split(","))) for name, _, patterns in pairs if name and patterns}


# --- words ------------------------------------------------------------------------------------------------------------


def _blank_end(text: str, place: int) -> int:
    blank = _BLANK.match(text, place)
    return blank.end() if blank else place


def _word_at(text: str, place: int) -> _Word | None:
    """The word that begins here; ``None`` if it never ends, or there is none."""
    found = _WORD.match(text, place)
    if found is None or (found.end() < len(text) and not text[found.end()].isspace()):
        return None
    return _Word(place, found.end(), "".join(map(_bare, _PIECE.findall(found[0]))))


def _bare(piece: str) -> str:
    match piece[0]:
        case "'":
            return piece[1:-1]
        case '"':
            return _ESCAPED.sub(r"\1", piece[1:-1].replace("\\\n", ""))
        case "\\":
            return piece[1:].removeprefix("\n")
    return piece


def _closing(text: str, place: int) -> int:
    """Where the braces that open here are closed; 0 if they are not, or do not open here."""
    depth = 0
    for piece in _pieces(text, place):
        depth += {"{": 1, "}": -1}.get(piece[0], 0)
        if depth == 0:
            return piece.end() if piece[0] == "}" else 0
    return 0


def _pieces(text: str, place: int) -> Iterator[re.Match[str]]:
    while piece := _LITERAL.match(text, place):
        yield piece
        place = piece.end()


def _without(text: str, cuts: list[tuple[int, int]]) -> str:
    """A text without some parts of it, and without the blank that parted each from what follows."""
    for start, end in reversed(cuts):
        after = _blank_end(text, end)
        text = text[:start] + text[after:] if after < len(text) else text[: max(start - 1, 0)]
    return text
