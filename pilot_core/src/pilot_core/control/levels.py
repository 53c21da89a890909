"""How serious a line of a log is by its own word, in the forms that programs give it."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final


class Level(IntEnum):
    """A line that tells of ordinary work, one that warns, or one that says nothing of it or of an error."""

    CHAT = 0
    WARNING = 1
    PLAIN = 2


HEAD: Final = 120
"""A level stands so near to the beginning of a line."""
_CHAT: Final = "trace|debug|dump|verbose|info|information|notice|note"
_WARNING: Final = "warning|warn"
_LOUD: Final = "error|err|fatal|critical|severe|alert|emerg|abort|failure"
_LETTERS: Final = {"I": Level.CHAT, "D": Level.CHAT, "V": Level.CHAT, "W": Level.WARNING}
_GLOG: Final = re.compile(r"(?:[-\d]+[ T][\d:.,]+: )?([DEFIVW])(?:\d{4} [\d:.]+ +\d+)? \S+:\d+\] ")
_NAMED: Final = re.compile(
    rf"""(?x)
    (?<![^\s\[(<|:/-]) (?: (?P<chat>{_CHAT.upper()}) | (?P<warning>{_WARNING.upper()}) | (?P<loud>{_LOUD.upper()}) )
        (?![^\s\]):>|/-])
    | (?i: (?P<key>["\s]level"?\s*[=:]\s*"?) (?: (?P<key_chat>{_CHAT}) | (?P<key_warning>{_WARNING}) ) \b )
    | (?i: \b (?: (?P<said_chat>{_CHAT}) | \w* (?P<said_warning>{_WARNING}) | \w* (?P<said_loud>{_LOUD}|exception) )
        (?: \s*\] | \s*: | [ ]+\[ | [ ]in[ ]< ) )
    """
)
_GOES_ON: Final = re.compile(
    r"(?i)\b(?:retrying|(?:trying|try|tries) (?:again|(?:the )?next|another) |will (?:retry|try again)|trying again"
    r"|ignored|ignoring|skipped|skipping|falling back|using (?:the )?default)(?![\w(])"
)


def level_of(text: str) -> Level:
    """The level that a line names first, or else a warning where it says that the program goes on."""
    if found := _GLOG.match(text):
        return _LETTERS.get(found[1], Level.PLAIN)
    found = _NAMED.search(text, 0, HEAD)
    kind = found.lastgroup or "" if found else ""
    if kind.endswith("chat"):
        return Level.CHAT
    return Level.WARNING if kind.endswith("warning") or _GOES_ON.search(text) else Level.PLAIN
