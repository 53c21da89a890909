"""Who holds a job, and what a word about it does to it. Pure: no store, no clock.

A lease is a job in the hands of one pilot under one attempt number. The number grows each time the job is handed out
anew, so whoever held it before speaks with an older number and changes nothing; until then a pilot that fell silent may
come back and go on. A job ends once: it is over by the first final word of its present attempt, or by the dispatcher's
own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from attrs import frozen

from pilot_core.errors import Code, NoSuchCode, Party, Retry, code

WAITING: Final = "activated"
SENT: Final = "sent"
STARTING: Final = "starting"
RUNNING: Final = "running"
HOLDING: Final = "holding"
TRANSFERRING: Final = "transferring"
FINISHED: Final = "finished"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
CHECKPOINTED: Final = "checkpointed"
"""How an attempt ended that is gone on with in the next."""

LEASED: Final = (SENT, STARTING, RUNNING, HOLDING, TRANSFERRING)
OVER: Final = (FINISHED, FAILED, CANCELLED)
STATES: Final = (WAITING, *LEASED, *OVER)
SPOKEN: Final = (STARTING, RUNNING, HOLDING, TRANSFERRING, FINISHED, FAILED)
"""What a pilot may say of a job."""

NOTHING: Final = "NULL"
SOONEST_S: Final = 3.0
HEARD_A_SECOND: Final = 10
"""So many heartbeats of all pilots together, as long as none comes as seldom as its queue says."""
STOP: Final = "tobekilled"
KNOWN: Final = "alreadydone"

SILENT: Final = 100
UNANSWERED: Final = 102
MISSING_OUTPUT: Final = Code.MISSINGOUTPUTFILE.number

MOST_ATTEMPTS: Final = 20
"""From this attempt on a job that loses its slot is put back no more: it may be what costs its pilots their slots."""


@frozen(kw_only=True)
class Lease:
    """How a job stands with whoever holds it."""

    state: str
    attempt: int
    batch_id: str = ""
    kill: bool = False
    debug: bool | None = None
    """``None``: never asked for. ``False``: asked for and taken back."""
    lost: int = 0
    spared: int = 0
    """The attempts before somebody last put the job back by hand; they count no more."""
    said: str = ""
    """The final word of this attempt's pilot."""
    asked: str = ""
    """The command by which somebody looks at the job."""
    adrift: bool = False
    """Whether the job waits because its pilot fell silent, and nobody has had it since."""
    carried: str = ""
    """The one that its pilot's last reply carried: what comes next is what that printed."""

    @property
    def held(self) -> bool:
        """Whether a pilot has the job, or had it last and may come back."""
        return self.state in LEASED or self.adrift

    @property
    def told(self) -> bool:
        """Whether the job is over by its pilot's final word."""
        return self.state in OVER and bool(self.said)

    @property
    def holds(self) -> bool:
        """Whether PanDA would call the job held."""
        return self.state == HOLDING or self.told

    @property
    def worn_out(self) -> bool:
        """Whether the job has had all attempts that a lost slot is forgiven for."""
        return self.attempt - self.spared >= MOST_ATTEMPTS

    @property
    def command(self) -> str:
        """What its pilot is told with each reply."""
        words = [] if self.debug is None else ["debug" if self.debug else "debugoff"]
        last = STOP if self.kill else self.asked
        return ",".join([*words, last] if last else words) or NOTHING


@frozen(kw_only=True)
class Word:
    """What a pilot says of a job."""

    status: str
    attempt: int
    batch_id: str = ""
    error_code: int = 0
    again: bool = False
    """Whether a job that failed is to begin again."""
    missing: Collection[str] = ()
    """Outputs that must be there and were not reported."""

    @property
    def final(self) -> bool:
        """Whether the pilot is done with the job."""
        return self.status in (FINISHED, FAILED)


@frozen(kw_only=True)
class Ruling:
    """What a word does. ``state`` is the job's from now on, ``None`` if the word is not taken."""

    command: str
    state: str | None = None
    heard: bool = False
    """Whether the holder of the lease has spoken, so that the lease lives on."""
    double: bool = False
    """Whether another incarnation of the pilot spoke."""
    newer: int | None = None
    """The attempt that has the job, or waits for a pilot, in place of the one that was spoken of."""


def rule(lease: Lease, word: Word) -> Ruling:
    """What a word does to a job; the first rule that fits decides."""
    return next(does(lease, word) for _, fits, does in RULES if fits(lease, word))


def _stop(lease: Lease, word: Word) -> Ruling:
    """It is not this pilot's job, or no pilot's."""
    return Ruling(command=STOP, newer=lease.attempt if lease.attempt > word.attempt else None)


def _know(lease: Lease, word: Word) -> Ruling:
    return Ruling(command=KNOWN)


def _leave(lease: Lease, word: Word) -> Ruling:
    """Nothing is changed. The lease lives on, but not by a second body's word."""
    alone = not two_bodies(lease.batch_id, word.batch_id)
    return Ruling(command=lease.command, heard=alone and lease.held)


def _part(lease: Lease, word: Word) -> Ruling:
    return Ruling(command=STOP, double=lease.held)


def _take(lease: Lease, word: Word) -> Ruling:
    state = _end(lease, word) if word.final else _onward(lease.state, word.status)
    return Ruling(command=lease.command, state=state, heard=True)


Rule = tuple[int, Callable[[Lease, Word], bool], Callable[[Lease, Word], Ruling]]
RULES: Final[tuple[Rule, ...]] = (
    (1, lambda lease, word: word.attempt != lease.attempt or not (lease.held or lease.told), _stop),
    (4, lambda lease, word: lease.holds and word.status == HOLDING, _leave),
    (5, lambda lease, word: lease.told and word.final, _know),
    (
        7,
        lambda lease, word: (lease.holds or lease.state == TRANSFERRING) and word.status in (STARTING, RUNNING),
        _leave,
    ),
    (8, lambda lease, word: two_bodies(lease.batch_id, word.batch_id), _part),
    (9, lambda lease, word: lease.told, _leave),
    (9, lambda lease, word: lease.held, _take),
)
"""PanDA's rules, by their numbers and in their order: when each fits, and what it does.

What PanDA would hold after a final word, until its adder has judged it, is judged here at once and over, but spoken of
as held. So nothing fits the rules 2, 3 and 6: they are for jobs that the adder has failed, transfers or merges.
"""


def two_bodies(known: str, told: str) -> bool:
    """Whether two batch jobs speak for one job; plain numbers are too weak a proof."""
    return bool(known and told) and known != told and not (known.isdigit() or told.isdigit())


def _onward(state: str, status: str) -> str:
    """How a held job stands after a word that is not final; it is not moved back."""
    back = (state, status) in ((RUNNING, STARTING), (HOLDING, TRANSFERRING))
    return state if back else status


def _end(lease: Lease, word: Word) -> str:
    """How the job stands after its pilot's final word; one that was evicted, or has another chance, waits again."""
    if word.status == FINISHED:
        return FAILED if word.missing else FINISHED
    if lease.kill:
        return CANCELLED
    return WAITING if (evicted(word.error_code) or word.again) and not lease.worn_out else FAILED


def evicted(number: int) -> bool:
    """Whether the site took the slot away, or the job goes on from a checkpoint. What others ended stays ended."""
    try:
        row = code(number)
    except NoSuchCode:
        return False
    return row.retry is Retry.UNCOUNTED and row.party in (Party.SITE, Party.NOBODY)


def heartbeat_s(held: int, most_s: float) -> float:
    """How often a pilot is to speak: where few jobs are held, soon, so that people see what runs and are obeyed."""
    return min(most_s, max(SOONEST_S, held / HEARD_A_SECOND))


def is_lost(silent_s: float, lost_after_s: float) -> bool:
    """Whether a holder that was silent for so long has lost its lease."""
    return silent_s >= lost_after_s


def after_loss(lease: Lease, retries: int) -> str:
    """How a job stands whose holder is lost."""
    if lease.kill:
        return CANCELLED
    return WAITING if lease.lost < retries else FAILED


def loss_code(state: str) -> int:
    """The dispatcher's number for a holder that went silent."""
    return UNANSWERED if state == SENT else SILENT


def why_not_cancelled(state: str) -> str:
    """Why a job cannot be cancelled, or nothing."""
    return f"it is {state} already" if state in OVER else ""


def why_not_retried(state: str) -> str:
    """Why a job cannot be put back, or nothing."""
    if state in (FAILED, CANCELLED):
        return ""
    told = "nothing is left to do" if state == FINISHED else "only failed and cancelled jobs are put back"
    return f"it is {state}: {told}"
