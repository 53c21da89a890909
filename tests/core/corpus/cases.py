"""The labelled failures: real output of real tools (made.yaml, made again by make.py) and forms that were written down.

Noise is what tools say beside the point (noise.yaml). A third of cases and of kinds of noise is held out of the writing
of patterns, by a digest of the name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import yaml
from attrs import evolve, frozen

from pilot_core.builtin import failures
from pilot_core.config.layers import Schema
from pilot_core.config.schema import CORE
from pilot_core.control.payload import PayloadControl
from pilot_core.errors import merge
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.cgroup import Groups
from pilot_core.model.failure import Failure, failure_of
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome
from pilot_core.model.queue import Queue
from pilot_core.plugins.hooks import Hooks, Tier
from pilot_core.redact import Redactor
from pilot_core.spec import payload
from pilot_core.spec.work import Task

HERE = Path(__file__).parent


@frozen(kw_only=True)
class Case:
    """One failure: what it is, and what was seen of it."""

    name: str
    kind: str
    source: str
    real: bool
    exit: int
    stdout: str
    stderr: str

    @property
    def held_out(self) -> bool:
        """Whether nobody looked at it when patterns were written."""
        return _held_out(self.name)

    @property
    def outcome(self) -> Outcome:
        return Outcome(exit_code=self.exit) if self.exit >= 0 else Outcome(signal=-self.exit)


@frozen(kw_only=True)
class Noise:
    """What a tool says beside the point, by default among a payload's complaints."""

    name: str
    source: str
    text: str
    stream: str = "stderr"

    @property
    def held_out(self) -> bool:
        """Whether nobody looked at it when what is harmless was written down."""
        return _held_out(self.name)

    def beside(self, case: Case, place: str) -> Case:
        """A case with this noise at one of the ``PLACES``."""
        said, own = getattr(case, self.stream).splitlines(), self.text.splitlines()
        own += TALK if place == "long before" else []
        at = {"between": len(said) // 2, "after": len(said)}.get(place, 0)
        return evolve(case, **{self.stream: "\n".join([*said[:at], *own, *said[at:]])})


PLACES: Final = ("long before", "before", "between", "after")
"""Where noise stands in a log: ordinary talk or nothing is between it and the failure, or it is within or behind it."""
TALK: Final = [f"event {number} has 12 tracks" for number in range(200)]


def _held_out(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % 3 == 0


def cases() -> list[Case]:
    """Every case, by name."""
    found = [_case(each, real=file == "made") for file in ("made", "written") for each in _load(file)]
    return sorted(found, key=lambda case: case.name)


def noises() -> list[Noise]:
    """Every kind of noise, by name."""
    return sorted((Noise(**each) for each in _load("noise")), key=lambda noise: noise.name)


def _load(file: str) -> list[dict[str, str]]:
    return yaml.load((HERE / f"{file}.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # type: ignore[no-any-return]


def _case(raw: Mapping[str, str], *, real: bool) -> Case:
    return Case(
        name=raw["name"],
        kind=raw["class"],
        source=f"{raw['tool']}: {raw['command']}" if real else raw["after"],
        real=real,
        exit=int(raw.get("exit", 1)),
        stdout=raw.get("stdout", ""),
        stderr=raw.get("stderr", ""),
    )


class Judge:
    """Payload Control with the core's patterns, in a directory of its own."""

    def __init__(self, workdir: Path) -> None:
        hooks = Hooks(payload)
        hooks.register(failures, "failures", tier=Tier.CORE, distribution="pilot-core", version="0")
        hooks.seal()
        self._workdir = workdir
        none = SimpleNamespace()
        groups = Groups(None, None)
        self._control = PayloadControl(hooks, none, none, {}, Redactor(), lambda: groups)  # type: ignore[arg-type]

    def failure(self, case: Case) -> Failure:
        """What is made of a case."""
        (self._workdir / "payload.stdout").write_text(case.stdout)
        (self._workdir / "payload.stderr").write_text(case.stderr)
        task = Task(
            job=Job(id="1", outcome=case.outcome),
            queue=Queue(name="q"),
            settings=Schema(CORE).merge(),
            workdir=self._workdir,
            control=self._workdir,
            cancel=CancelFlag(),
            stored=lambda _: None,
        )
        error = merge(self._control.diagnose(task).errors)
        assert error is not None
        return failure_of(error)


@frozen(kw_only=True)
class Score:
    """How well one class is told: of how many cases, how many are found, how many are claimed."""

    kind: str
    cases: int
    claimed: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.claimed if self.claimed else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.cases if self.cases else 1.0


def scores(judged: Iterable[tuple[Case, str]]) -> list[Score]:
    """The score of each class, the last for all together; who says nothing claims nothing."""
    pairs = [(case.kind, said) for case, said in judged]
    true, claimed = Counter(kind for kind, _ in pairs), Counter(said for _, said in pairs)
    right = Counter(kind for kind, said in pairs if kind == said)
    each = [
        Score(kind=kind, cases=true[kind], claimed=claimed[kind], right=right[kind]) for kind in sorted(true | claimed)
    ]
    total = sum(n for kind, n in claimed.items() if kind != "unknown")
    known = sum(n for kind, n in right.items() if kind != "unknown")
    cases = sum(n for kind, n in true.items() if kind != "unknown")
    return [*each, Score(kind="all that is known", cases=cases, claimed=total, right=known)]
