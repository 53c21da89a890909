"""A job: what was asked, where it stands, what plugins added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, NewType, TypeVar, cast

from attrs import field, frozen

from pilot_core.errors import PilotError, merge
from pilot_core.model.files import Checkpoint, FileSpec, Leaving, Receipt
from pilot_core.model.payload import Command, Outcome, Usage, Verdict
from pilot_core.model.queue import Resources

T = TypeVar("T")

Phase = NewType("Phase", str)
"""The name of a stretch of a job's life; workflows name their own, the core's are these."""

ACCEPTED = Phase("accepted")
STAGE_IN = Phase("stage_in")
RUNNING = Phase("running")
STAGE_OUT = Phase("stage_out")
FINISHED = Phase("finished")
FAILED = Phase("failed")


@frozen
class JobKey(Generic[T]):
    """A typed name under which a plugin keeps its own facts in ``job.extras``; begin it with the plugin's name."""

    name: str


class JobExtras(Mapping[JobKey[object], object]):
    """What plugins added to a job, by their own typed keys; JSON values only, as the journal keeps them."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, key: JobKey[T]) -> T:
        return cast("T", self._values[key.name])

    def get(self, key: JobKey[T], default: T | None = None) -> T | None:
        """The fact under ``key``, or ``default`` where no plugin set one."""
        return cast("T | None", self._values.get(key.name, default))

    def __iter__(self) -> Iterator[JobKey[object]]:
        return (JobKey(name) for name in self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobExtras) and self._values == other._values

    def __hash__(self) -> int:
        return hash(frozenset(self._values))

    def plain(self) -> dict[str, object]:
        """The facts under their keys' names, as the journal writes them."""
        return dict(self._values)


@frozen(kw_only=True)
class Job:
    """One attempt at one job. The first group never changes; only the machine makes a job with a new second group."""

    id: str
    name: str = ""
    """What people call it."""
    attempt: int = 0
    transformation: str = ""
    arguments: tuple[str, ...] = ()
    parameters: str = ""
    """Arguments as shell text, where a server gives them so; no byte of it is changed."""
    environment: Mapping[str, str] = field(factory=dict)
    inputs: tuple[FileSpec, ...] = ()
    outputs: tuple[FileSpec, ...] = ()
    log: FileSpec | None = None
    checkpoint: Checkpoint | None = None
    needs: Resources = field(factory=Resources)
    wall_limit_s: float | None = None
    looping_limit_s: float | None = None
    image: str = ""
    task: str = ""
    label: str = ""
    options: Mapping[str, object] = field(factory=dict)
    """Options that the job sets for itself, by ``section.name``; only those that a job may set."""
    origin: str = ""
    """Where the description came from (a path, an address), to name it in messages."""
    extras: JobExtras = field(factory=JobExtras)

    phase: Phase = ACCEPTED
    errors: tuple[PilotError, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    leaving: Mapping[str, Leaving] = field(factory=dict)
    """Outputs that were ready to be stored, by name."""
    devices: tuple[str, ...] = ()
    command: Command | None = None
    outcome: Outcome | None = None
    usage: Usage = field(factory=Usage)
    notes: Mapping[str, object] = field(factory=dict)
    times: Mapping[str, float] = field(factory=dict)
    """When each phase began, by the wall clock."""

    @property
    def error(self) -> PilotError | None:
        """The one error that is reported, chosen from all by rule."""
        return merge(self.errors)

    @property
    def verdict(self) -> Verdict:
        """What the job counts as, were it over now."""
        return Verdict.FAILED if self.errors else Verdict.FINISHED

    @property
    def stored(self) -> frozenset[str]:
        """Names of the outputs that are safe."""
        return frozenset(r.lfn for r in self.receipts if r.direction == "out")

    @property
    def directory(self) -> str:
        """The name of the job's own directory below the work directory."""
        return f"PanDA_Pilot-{self.id}"
