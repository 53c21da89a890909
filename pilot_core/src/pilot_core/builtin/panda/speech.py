"""Saying something to a server in a dialect that it understands, which is found out once.

A server of the other generation says so in a way of its own, having done nothing: 404 where there is no ``/api/``, and
"is forbidden" for a call of old. Nothing else, no trouble of any kind, changes the dialect, nor does the lack of a call
that a server can do without.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from pilot_core.builtin.panda.answers import Answer, Envelope
from pilot_core.builtin.panda.dialects import KNOWN, LEGACY, OUTCOME, V1, VITAL, WORDS, Dialect
from pilot_core.builtin.panda.words import fitted

if TYPE_CHECKING:
    from pilot_core.sdk.web import Answer as WebAnswer
    from pilot_core.sdk.web import Web

log = logging.getLogger(__name__)


class Speech:
    """A server that is spoken to, by several threads at once. ``dialect`` is a name, or ``auto`` to find it out."""

    def __init__(self, web: Web, dialect: str, limit_s: float) -> None:
        self._web = web
        self._limit_s = limit_s
        self._dialect = LEGACY if dialect == LEGACY.name else V1
        self._others = {V1.name: LEGACY, LEGACY.name: V1} if dialect == "auto" else {}
        self._turning = threading.Lock()
        self._untaken: set[tuple[str, str]] = set()

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The dialect that is spoken, and the other one if that may still be the right one."""
        other = self._others.get(self._dialect.name)
        return (self._dialect, *([other] if other is not None else []))

    def say(self, call: str, values: Mapping[str, object], *, repeat: bool) -> Envelope:
        """Say something; again at once, if the server refused all of it for fields that it can do without."""
        wanted = self._taken(call, values)
        while True:
            sent = fitted(WORDS[call], wanted)
            envelope = self._say(call, sent, repeat)
            refused = _refused(call, sent.keys() - _vital(values), envelope)
            if not refused:
                return envelope
            wanted = {name: value for name, value in wanted.items() if name not in refused}
            log.warning("left out from now on, as the server says %.300s: %s", envelope.message, ", ".join(refused))
            self._untaken.update((call, name) for name in refused)

    def _taken(self, call: str, values: Mapping[str, object]) -> dict[str, object]:
        """What there is to say, without what the server does not know, but for what matters most."""
        untaken = {name for of, name in self._untaken if of == call} - _vital(values)
        return {name: value for name, value in values.items() if name not in untaken}

    def say_all(self, updates: Sequence[Mapping[str, object]], harvester: str) -> list[Envelope] | None:
        """Send several updates at once; ``None`` if they were refused as a whole."""
        bodies = [fitted(WORDS["update"], self._taken("update", each)) for each in updates]
        dialect, answer = self._post("updates", lambda dialect: dialect.write_all(bodies, harvester), repeat=True)
        return dialect.read_all(answer)

    def inquire(self, call: str, asked: Mapping[str, object]) -> WebAnswer:
        """Ask for what a server may keep for the pilot. Who has no such call may be of either generation."""
        for dialect in self.dialects:
            how = dialect.inquire(asked)
            answer = self._web.call(path=dialect.calls[call], limit_s=self._limit_s, repeat=True, **how)
            if not dialect.disowned(answer):
                break
        return answer

    def _say(self, call: str, body: Mapping[str, object], repeat: bool) -> Envelope:
        dialect, answer = self._post(call, lambda dialect: dialect.write(body), repeat)
        return dialect.read(answer)

    def _post(self, call: str, write: Callable[[Dialect], dict[str, Any]], repeat: bool) -> tuple[Dialect, Answer]:
        while True:
            dialect = self._dialect
            path, written = dialect.calls[call], write(dialect)
            answer = self._web.call("POST", path, limit_s=self._limit_s, repeat=repeat, **written)
            if call not in WORDS or not self._turned(dialect, answer):
                return dialect, answer

    def _turned(self, spoken: Dialect, answer: Answer) -> bool:
        """Whether to say it again in the other dialect. Each way is gone once, so nobody is sent back and forth."""
        with self._turning:
            if answer.status == 200 and spoken is V1:
                self._others.pop(V1.name, None)
            if not spoken.disowned(answer):
                return False
            if self._dialect is not spoken:
                return True
            other = self._others.pop(spoken.name, None)
            if other is None:
                return False
            log.warning("the server does not speak %s; it is spoken to in %s from now on", spoken.name, other.name)
            self._dialect = other
            return True


def _vital(values: Mapping[str, object]) -> AbstractSet[str]:
    """The fields that a message is not said without."""
    return VITAL | OUTCOME.get(str(values.get("job_status")), frozenset())


def _refused(call: str, sent: AbstractSet[str], envelope: Envelope) -> list[str]:
    """What to leave out of these: the field that is named or, if none is, all that not every server knows."""
    name = envelope.rejected
    if name in sent:
        return [name]
    return sorted(sent - KNOWN[call]) if envelope.misunderstood and not name else []
