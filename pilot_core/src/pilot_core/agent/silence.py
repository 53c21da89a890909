"""A server that does not answer: since when, why, and when it is asked for work again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import uniform

from attrs import define

from pilot_core.clock import Clock
from pilot_core.errors import PilotError
from pilot_core.machine import events as e

FIRST_S = 1.0


@define(eq=False)
class Silence:
    """What is known of it; lives in the loop's thread."""

    clock: Clock
    longest_s: float
    post: Callable[[e.Event], object]
    since: float | None = None
    why: PilotError | None = None
    due: float | None = None
    """When work is asked for again, after a request that had no answer."""
    soon: bool = False
    """Whether that request cannot have arrived."""
    pause_s: float = 0.0

    def begin(self, why: PilotError) -> None:
        """Something had no answer."""
        self.since = self.clock.mono() if self.since is None else self.since
        self.why = why

    def end(self) -> None:
        """Something was answered: a request for work that cannot have arrived is repeated now."""
        self.since = self.why = None
        if self.due is not None and self.soon:
            self.due = None
            self.post(e.Hinted(answers=True))

    def judge(self, answer: e.Answered | PilotError) -> e.Answered:
        """What comes of a request for work, answered or not."""
        if isinstance(answer, PilotError):
            return self.ask_later(answer)
        self.since = self.why = self.due = None
        self.pause_s = 0.0
        return answer

    def ask_later(self, why: PilotError) -> e.Answered:
        """A request for work had no answer: when the next one comes, never with those of all others.

        One that cannot have arrived is soon repeated, then later each time; those that come sooner than they could are
        not counted, but for the first. For one that may have arrived the server may have reserved a job.
        """
        self.begin(why)
        self.soon = why.facts.get("sent") is False
        counts = not self.soon or self.pause_s in (0.0, self.longest_s)
        self.pause_s = min(self.pause_s * 2 or FIRST_S, self.longest_s) if self.soon else self.longest_s
        again_s = self.pause_s * uniform(1, 2 if self.soon else 3)
        self.due = self.clock.mono() + again_s
        return e.Answered(error=why, again_s=again_s, counts=counts)

    def told(self) -> Mapping[str, object] | None:
        """As a status shows it; nothing while the server answers."""
        if self.since is None:
            return None
        now = self.clock.mono()
        asks_s = None if self.due is None else max(self.due - now, 0.0)
        return {"silent_s": now - self.since, "why": str(self.why), "asks_again_s": asks_s}
