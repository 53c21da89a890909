"""The word that was probably meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, if one is like it at all."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return close[0] if close else None


def meant(word: str, known: Iterable[str]) -> str:
    """End a sentence about an unknown ``word``: ``"; did you mean 'x'?"``, or nothing."""
    guess = nearest(word, known)
    return f"; did you mean {guess!r}?" if guess else ""
