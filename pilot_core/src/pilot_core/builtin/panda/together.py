"""What several threads have to say at the same time, said in one message.

Nobody waits for company: what comes while a message is under way makes up the next one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from attrs import define, field

from pilot_core.builtin.panda.answers import Envelope
from pilot_core.sdk import PilotError

BROKE: Final = 500
"""What a server answers that broke over what it read; others of the kind come from those before it."""
Values: TypeAlias = Mapping[str, object]


@define(eq=False)
class _Wish:
    """One thing to say: its thread is told when it was said, or when it is to speak for all that wait."""

    values: Values
    turn: threading.Event = field(factory=threading.Event)
    said: bool = False
    answer: Envelope | PilotError | None = None
    """Without an answer of its own, it has to be said alone."""


class Together:
    """Says up to ``most`` things at once. ``all_of_them`` answers in order, or ``None`` if all of it was refused."""

    def __init__(
        self,
        alone: Callable[[Values], Envelope],
        all_of_them: Callable[[Sequence[Values]], Sequence[Envelope] | None],
        most: int,
    ) -> None:
        self._alone = alone
        self._all_of_them = all_of_them
        self._most = most
        self._changing = threading.Lock()
        self._waiting: deque[_Wish] = deque()
        self._speaking = False

    def say(self, values: Values) -> Envelope:
        """Say something, with whatever else there is to say."""
        wish = _Wish(values)
        with self._changing:
            self._waiting.append(wish)
            if not self._speaking:
                self._speaking = True
                wish.turn.set()
        wish.turn.wait()
        if not wish.said:
            self._speak()
        if isinstance(wish.answer, PilotError):
            raise wish.answer
        return wish.answer or self._alone(values)

    def _speak(self) -> None:
        """Speak for those that have waited longest, oneself the first of them; then let the next one speak."""
        with self._changing:
            said = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            self._say_all(said)
        finally:
            with self._changing:
                self._speaking = bool(self._waiting)
                following = self._waiting[0] if self._waiting else None
            if following is not None:
                following.turn.set()
            for wish in said:
                wish.said = True
                wish.turn.set()

    def _say_all(self, said: Sequence[_Wish]) -> None:
        try:
            answers = [self._alone(said[0].values)] if len(said) == 1 else self._all_of_them([w.values for w in said])
        except PilotError as error:
            if len(said) > 1 and _may_be_about_one(error):
                return
            for wish in said:
                wish.answer = error
            return
        if answers is not None and len(answers) == len(said):
            for wish, answer in zip(said, answers, strict=True):
                wish.answer = None if answer.misunderstood and len(said) > 1 else answer


def _may_be_about_one(error: PilotError) -> bool:
    """Whether one thing among those that were said may be to blame, and the others would be taken without it."""
    return bool(error.facts.get("permanent")) or error.facts.get("status") == BROKE
