"""A whole pilot in process: ``PilotKit(plugins=[mine]).run(a_job(wire={"tag": "x"})).command.env``."""

from __future__ import annotations

import io
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from attrs import define, field, frozen

from pilot_core.agent.ending import Ending
from pilot_core.agent.recover import event_of, replay
from pilot_core.agent.run import run as run_pilot
from pilot_core.agent.setup import Setup, Sources, prepare
from pilot_core.builtin import generic
from pilot_core.clock import Clock
from pilot_core.errors import PilotError
from pilot_core.io.journal import read_back
from pilot_core.io.logs import TextFormatter
from pilot_core.io.process import Starter
from pilot_core.io.process_plain import PlainStarter
from pilot_core.machine.events import JobEvent
from pilot_core.model.job import Job
from pilot_core.model.payload import Command
from pilot_core.plugins.discover import EXPERIMENT, PLUGIN, PREFIX, Discovery
from pilot_core.plugins.hooks import CORE
from pilot_core.redact import Redactor
from pilot_core.spec.drivers import Driver, Letter
from pilot_core.testing.fakes import FakeCopyTool, FakeProcesses, KitCommunicator, Payload, Storage, url_of

DEFAULTS: Mapping[str, object] = {
    "pilot.communicator": "kit",
    "pilot.stop_s": 10,
    "data.copytools": ["kit"],
    "monitor.monitors": [],
    "slot.cores": 8,
    "slot.memory_b": 64 * 10**9,
    "slot.free_disk_b": 0,
}


def a_job(
    job_id: str = "1",
    command: Sequence[str] = ("true",),
    *,
    inputs: Sequence[str | Mapping[str, object]] = (),
    outputs: Sequence[str | Mapping[str, object]] = (),
    log: bool = False,
    wire: Mapping[str, object] | None = None,
    **described: object,
) -> dict[str, object]:
    """A raw job as the kit's communicator gives it. ``wire`` are fields of a server's, for ``pilot_job_extras``.

    Names of inputs and outputs are names in the kit's storage. Anything else is a key of a described job:
    ``needs={"cores": 2}``, ``environment={"A": "b"}``, ``options={...}``.
    """
    job = {
        "id": job_id,
        "command": list(command),
        "inputs": [{"source": url_of(each)} if isinstance(each, str) else each for each in inputs],
        "outputs": [_stored(each) if isinstance(each, str) else each for each in outputs],
        **({"log": _stored(f"{job_id}.log.tar.gz")} if log else {}),
        **described,
    }
    file = {"path": f"/kit/{job_id}.yaml", "origin": f"/kit/{job_id}.yaml"}
    return {**(wire or {}), "file": file, "described": {name: value for name, value in job.items() if value != []}}


def _stored(name: str) -> dict[str, object]:
    return {"name": name, "destination": url_of(name)}


@frozen
class HookCall:
    """One question or one piece of news, and what came of it."""

    hook: str
    given: Mapping[str, Any]
    answer: Any = None


@define(eq=False, repr=False)
class JobRun:
    """What became of one job. Its ``repr`` is the story in a line, ``story()`` all of it."""

    id: str
    job: Job | None = None
    """The job at its end; ``None`` if it was refused."""
    events: tuple[JobEvent, ...] = ()
    record: Mapping[str, Any] = field(factory=dict)
    reports: tuple[Mapping[str, Any], ...] = ()
    """The bodies of all its letters."""
    log: str = ""
    workdir: Path = Path()

    @property
    def trail(self) -> list[str]:
        """The phases that it went through, after ``accepted``."""
        return list(self.job.times)[1:] if self.job else ["refused"]

    @property
    def command(self) -> Command:
        """What was run for it."""
        assert self.job is not None, f"no such job was taken\n{self.log}"
        assert self.job.command is not None, f"nothing was run for {self!r}\n{self.story()}"
        return self.job.command

    @property
    def error(self) -> PilotError | None:
        """The error that was reported."""
        if self.job is not None:
            return self.job.error
        wire = next((report["error"] for report in self.reports if report.get("error")), None)
        return PilotError.from_wire(wire) if wire else None

    def __repr__(self) -> str:
        return f"<job {self.id}: {' -> '.join(self.trail)}{f': {self.error}' if self.error else ''}>"

    def story(self) -> str:
        """All that is known of it, for people."""
        ran = f"command: {self.job.command.argv}" if self.job and self.job.command else "no command"
        events = [f"  {type(event).__name__}" for event in self.events]
        return "\n".join((repr(self), ran, "events:", *events, "log:", self.log))


@define(eq=False, repr=False)
class Run:
    """What became of a pilot and its jobs. Of the only job, everything is here as well: ``run.trail``."""

    ending: Ending
    jobs: Mapping[str, JobRun]
    hook_calls: tuple[HookCall, ...]
    letters: tuple[Letter, ...]
    storage: Storage
    log: str
    root: Path

    def __getitem__(self, job: str) -> JobRun:
        return self.jobs[job]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(JobRun, name):
            raise AttributeError(f"a run has no {name!r}")
        if len(self.jobs) != 1:
            raise AttributeError(f"{self!r} had {len(self.jobs)} jobs: say which, run['1'].{name}")
        return getattr(next(iter(self.jobs.values())), name)

    def calls(self, hook: str) -> list[HookCall]:
        """The calls of one hook, in order."""
        return [call for call in self.hook_calls if call.hook == hook]

    def __repr__(self) -> str:
        told = f"exit code {self.ending.exit_code}"
        return f"<run: {told}; {', '.join(map(repr, self.jobs.values())) or 'no job'}>"

    def story(self) -> str:
        """All that is known of it, for people."""
        return "\n\n".join((repr(self), *(job.story() for job in self.jobs.values()), f"pilot's log:\n{self.log}"))


@define(eq=False, kw_only=True)
class PilotKit:
    """Makes pilots that see what they are given and nothing that happens to be installed, but for drivers.

    ``plugins`` are modules or objects; every one of them comes before the core. ``settings`` go by ``section.name``.
    ``files`` lie in a storage in memory that the copy tool "kit" moves them from and to. Payloads are faked, and end
    as ``outcome`` says, or are ``process="real"``. Work is done below ``tmp``, or below a directory of its own.
    """

    plugins: Sequence[object] = ()
    experiment: object | None = None
    settings: Mapping[str, object] = field(factory=dict)
    drivers: Mapping[str, Mapping[str, type[Driver]]] = field(factory=dict)
    process: Literal["fake", "real"] = "fake"
    outcome: Payload | Sequence[Payload] = field(factory=Payload)
    files: Mapping[str, bytes] = field(factory=dict)
    tmp: Path | None = None
    clock: Clock | None = None
    environ: Mapping[str, str] = field(factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    storage: Storage = field(init=False)
    communicator: type[KitCommunicator] = field(init=False)
    """The class of the kit's communicator for this kit: its ``replies`` may be ordered."""
    starter: Starter = field(init=False)
    runs: list[Run] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.storage = Storage(self.files)
        fresh: dict[str, object] = {"offers": [], "letters": [], "requests": [], "replies": []}
        self.communicator = type("Communicator", (KitCommunicator,), fresh)
        outcomes = (self.outcome,) if isinstance(self.outcome, Payload) else tuple(self.outcome)
        self.starter = PlainStarter() if self.process == "real" else FakeProcesses(*outcomes)

    def run(self, *jobs: Mapping[str, object]) -> Run:
        """Run a pilot for these jobs, from its start to its exit."""
        if self.tmp is None:
            self.tmp = Path(tempfile.mkdtemp(prefix="pilot-kit-"))
        root = self.tmp / f"pilot{len(self.runs)}"
        root.mkdir(parents=True)
        self.communicator.offers[:] = [json.loads(json.dumps(job)) for job in jobs]
        first, calls = len(self.communicator.letters), list[HookCall]()
        with _log() as log:
            setup = self.set_up(root, max(len(jobs), 1))
            record_calls(setup, calls)
            environ = dict(self.environ)
            ending = run_pilot(setup, root, self.starter, redactor=Redactor(), clock=self.clock, environ=environ)
        letters = tuple(self.communicator.letters[first:])
        run = Run(
            ending=ending,
            jobs={name: _job_run(name, root, letters) for name in map(_id_of, jobs)},
            hook_calls=tuple(calls),
            letters=letters,
            storage=self.storage,
            log=log.getvalue(),
            root=root,
        )
        self.runs.append(run)
        return run

    def set_up(self, root: Path, max_jobs: int = 1) -> Setup:
        """The pilot before it runs: plugins registered, settings read, drivers chosen."""
        site = root / "site.json"
        site.write_text(json.dumps(_nested({"pilot.max_jobs": max_jobs, **DEFAULTS, **self.settings})))
        names = {_name_of(plugin): plugin for plugin in self.plugins}
        tool = type("CopyTool", (FakeCopyTool,), {"storage": self.storage})
        discovery = (
            Discovery()
            .with_objects({PLUGIN: {"generic": generic}}, distribution=CORE)
            .with_objects({EXPERIMENT: {"kit": self.experiment or _Nothing()}, PLUGIN: names}, distribution="kit")
            .with_objects({f"{PREFIX}copytool": {"kit": tool}, f"{PREFIX}communicator": {"kit": self.communicator}})
            .with_objects({PREFIX + group.removeprefix(PREFIX): named for group, named in self.drivers.items()})
        )
        flags = {"bootstrap.plugins": ",".join(names) or "none", "bootstrap.experiment": "kit"}
        return prepare(Sources(site=site, environ={}, flags=flags), discovery)


class _Nothing:
    """An experiment that leaves everything to plugins and the core."""


def _name_of(plugin: object) -> str:
    return str(getattr(plugin, "__name__", type(plugin).__name__)).rpartition(".")[2]


def _nested(settings: Mapping[str, object]) -> dict[str, dict[str, object]]:
    nested: dict[str, dict[str, object]] = {}
    for path, value in settings.items():
        section, _, name = path.partition(".")
        nested.setdefault(section, {})[name] = value
    return nested


def record_calls(setup: Setup, calls: list[HookCall]) -> None:
    """Write down every hook that is asked from now on, and what comes of it."""
    for shape in ("first", "gather", "tell"):
        setattr(setup.hooks, shape, _Recorder(getattr(setup.hooks, shape), calls))


@frozen
class _Recorder:
    ask: Any
    calls: list[HookCall]

    def __call__(self, spec: Any, /, **given: Any) -> Any:
        answer: Any = None
        try:
            answer = self.ask(spec, **given)
        finally:
            self.calls.append(HookCall(spec.__name__, given, answer))
        return answer


@contextmanager
def _log() -> Iterator[io.StringIO]:
    """The pilot's log of everything within."""
    logger, text = logging.getLogger("pilot_core"), io.StringIO()
    handler, level = logging.StreamHandler(text), logger.level
    handler.setFormatter(TextFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _id_of(raw: Mapping[str, object]) -> str:
    described = raw.get("described")
    return str(described.get("id", "")) if isinstance(described, Mapping) else ""


def _job_run(job_id: str, root: Path, letters: Sequence[Letter]) -> JobRun:
    workdir = root / f"PanDA_Pilot-{job_id}"
    control = root / f"{workdir.name}.control"
    reports = tuple(letter.body for letter in letters if letter.job == job_id)
    if not (control / "journal").is_file():
        return JobRun(job_id, reports=reports, workdir=workdir)
    events = tuple(event_of(each) for each in read_back(control / "journal").records if "event" in each)
    course = replay(events)
    return JobRun(
        id=job_id,
        job=course.job if course else None,
        events=events,
        record=json.loads(_text(control / "record.json") or "{}"),
        reports=reports,
        log=_text(control / "pilot.log"),
        workdir=workdir,
    )


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
