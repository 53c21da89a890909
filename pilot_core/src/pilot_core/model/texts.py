"""What programs printed, as text."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """A text without what a terminal would obey and no database stores; tabs and line ends stay."""
    if text.isprintable():
        return text
    text = _CONTROL.sub("", _ESCAPE.sub("", text.replace("\r\n", "\n")))
    return text.encode(errors="replace").decode()
