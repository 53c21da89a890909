"""What a server hears of the pilot itself: that it began and ended, and which node it is on.

Nothing depends on these reports. Each is told once, in at most two attempts; that one was not taken is logged once.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, define, frozen

from pilot_core import __version__
from pilot_core.builtin.panda.answers import Envelope, failure, refusal_of
from pilot_core.builtin.panda.dialects import LEGACY, Dialect
from pilot_core.builtin.panda.options import PandaOptions
from pilot_core.builtin.panda.updating import Identity
from pilot_core.builtin.panda.words import Words, count, fitted, line
from pilot_core.sdk import Code, PilotError, PilotOptions, Queue, Settings

if TYPE_CHECKING:
    from pilot_core.sdk.node import Gpu, NodeFacts
    from pilot_core.sdk.web import Web

ATTEMPTS: Final = 2
ENDED_S: Final = 5.0
"""So long the last report may keep a pilot that is about to exit."""
MIB: Final = 1 << 20
GIB: Final = 1 << 30
RUNTIMES: Final = ("apptainer", "singularity", "podman", "docker", "shifter", "ch-run", "sarus", "podman-hpc")
WITH_AVX2: Final = ("x86-64-v3", "x86-64-v4")
"""Levels of processors that have what the server's accounting asks for."""
STATUS_CALL: Final = "update_worker_status"
OLD_PATH: Final = "/server/panda/updateWorkerPilotStatus"
OLD_NAMES: Final = {"worker_id": "workerID", "harvester_id": "harvesterID", "status": "status", "node_id": "node_id"}
log = logging.getLogger(__name__)


def fraction(value: object) -> float | None:
    """A number from 0 on that is written with a fraction, as the server wants it."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if good and isinstance(value, (int, float)) else None


STATUS: Final[Words] = {
    "worker_id": line(128),
    "harvester_id": line(128),
    "status": line(10),
    "node_id": line(80),
}
NODE: Final[Words] = {
    **dict.fromkeys(("site", "host_name", "cpu_model", "panda_queue"), line(128)),
    **dict.fromkeys(("n_logical_cpus", "n_sockets", "cores_per_socket", "threads_per_core"), count(10**6)),
    **dict.fromkeys(("cpu_architecture", "cpu_architecture_level"), line(20)),
    "clock_speed": fraction,
    "total_memory": count(10**9),
    "total_local_disk": count(10**9),
}
GPU: Final[Words] = {
    **dict.fromkeys(("site", "host_name", "vendor", "model"), line(128)),
    "count": count(10**4),
    "vram": count(10**9),
    **dict.fromkeys(("architecture", "framework", "framework_version", "driver_version"), line(20)),
}


@frozen(kw_only=True)
class Worker:
    """What a server knows this pilot by: its node, and the harvester that started it, if any did."""

    queue: str
    node: str
    harvester: str = ""
    number: int | None = None

    @property
    def host(self) -> str:
        """The node without the slot."""
        return self.node.rpartition("@")[2]


def identity_of(settings: Settings) -> Identity:
    """Who this pilot is to the server."""
    import socket

    from pilot_core.sdk.node import batch_job

    options = settings.of(PandaOptions)
    around = None if options.batch_id else batch_job()
    host = options.node or socket.gethostname()
    return Identity(
        site=settings.of(PilotOptions).queue,
        node=f"{options.slot}@{host}" if options.slot else host,
        pilot="|".join((options.log_url or "unknown", options.version_tag, __version__)),
        batch=options.batch_id or (around.value if around else ""),
        scheduler=options.scheduler_id,
    )


@frozen(kw_only=True)
class Report:
    """One message: the name of its call, its words and what they say."""

    call: str
    words: Words
    vital: frozenset[str]
    """Without these the server takes no such message."""
    values: Mapping[str, object]


def site_of(queue: Queue, names: Sequence[str]) -> str:
    """The site of a queue by the first of these facts that names one, else the queue's own name."""
    told = (queue.params.get(name) for name in names)
    return next((site for site in told if isinstance(site, str) and site), queue.name)


def status_report(worker: Worker, status: str) -> Report | None:
    """That the pilot began or ended; nothing where no harvester waits to hear it."""
    if not worker.harvester or worker.number is None:
        return None
    values = {"worker_id": worker.number, "harvester_id": worker.harvester, "status": status, "node_id": worker.node}
    vital = frozenset({"worker_id", "harvester_id", "status"})
    return Report(call=STATUS_CALL, words=STATUS, vital=vital, values=values)


def node_report(worker: Worker, site: str, facts: NodeFacts) -> Report:
    """What the node is."""
    cpu = facts.cpu
    values = {
        "site": site,
        "host_name": worker.host,
        "cpu_model": cpu.model or cpu.architecture or "unknown",
        "panda_queue": worker.queue,
        "n_logical_cpus": cpu.logical,
        "n_sockets": cpu.sockets,
        "cores_per_socket": cpu.cores_per_socket,
        "threads_per_core": cpu.threads_per_core,
        "cpu_architecture": cpu.architecture,
        "cpu_architecture_level": _level(cpu.level),
        "clock_speed": cpu.clock_mhz,
        "total_memory": _in(MIB, facts.memory_b),
        "total_local_disk": _in(GIB, facts.disk_b),
    }
    vital = frozenset({"site", "host_name", "cpu_model"})
    return Report(call="update_worker_node", words=NODE, vital=vital, values=values)


def gpu_reports(worker: Worker, site: str, facts: NodeFacts) -> tuple[Report, ...]:
    """Which GPUs the node has, one report for each kind."""
    vital = frozenset({"site", "host_name", "vendor", "model", "count"})
    own = {"site": site, "host_name": worker.host}
    told = ({**own, **_gpu_values(gpu)} for gpu in facts.gpus)
    return tuple(Report(call="update_worker_node_gpu", words=GPU, vital=vital, values=values) for values in told)


def in_job_report(report: Mapping[str, object], worker: Worker, site: str, facts: NodeFacts) -> dict[str, object]:
    """A payload's report with the node in it, for a pilot that tells no server. One that says nothing stays so."""
    if not report:
        return {}
    node, gpus = node_report(worker, site, facts), gpu_reports(worker, site, facts)
    told = {"worker_node": fitted(node.words, node.values)}
    return {**report, **told, **({"worker_node_gpus": [fitted(g.words, g.values) for g in gpus]} if gpus else {})}


def cpu_fields(facts: NodeFacts) -> dict[str, object]:
    """What an update says of the processors, as far as they have been looked up; asks nobody."""
    cpu = facts.told().get("cpu")
    if not isinstance(cpu, Mapping):
        return {}
    level = cpu.get("level")
    unit = f"s+{cpu['model']}{'+AVX2' * (level in WITH_AVX2)}" if "model" in cpu else None
    return {"cpu_consumption_unit": unit, "cpu_architecture_level": _level(level) if isinstance(level, str) else None}


class NodeReports:
    """Tells the server of this pilot. Calls come from worker threads.

    ``dialects`` says in which the server is spoken to: first the likely one, then another that it may want instead.
    ``site_facts`` are the facts of a queue that name its site.
    """

    def __init__(
        self,
        web: Web,
        worker: Worker,
        dialects: Callable[[], tuple[Dialect, ...]],
        site_facts: Sequence[str] = (),
        limit_s: float = 60.0,
    ) -> None:
        self._web = web
        self._worker = worker
        self._dialects = dialects
        self._site_facts = site_facts
        self._limit_s = limit_s
        self._speaking = threading.Lock()
        self._said: set[str] = set()
        self._complained = False

    def started(self, queue: Queue, facts: NodeFacts) -> dict[str, object]:
        """The pilot is about to ask for work; returns what is known of the node then, as JSON."""
        with self._speaking:
            welcome = self._status("started", self._limit_s)
        if welcome and self._is_new("node"):
            site = site_of(queue, self._site_facts)
            self._tell(node_report(self._worker, site, facts), self._limit_s)
            for report in gpu_reports(self._worker, site, facts):
                self._tell(report, self._limit_s)
        programs = [asdict(program) for program in facts.programs(RUNTIMES)]
        return {**facts.told(), **({"containers": programs} if programs else {})}

    def ended(self) -> None:
        """The last job is over."""
        with self._speaking:
            self._status("finished", min(self._limit_s, ENDED_S))

    def _status(self, status: str, limit_s: float) -> bool:
        report = status_report(self._worker, status)
        return report is None or not self._is_new(status) or self._tell(report, limit_s)

    def _is_new(self, what: str) -> bool:
        said = what in self._said
        self._said.add(what)
        return not said

    def _tell(self, report: Report, limit_s: float) -> bool:
        """Tell it; false if the server will hear nothing from this pilot."""
        telling = _Telling(report, self._worker.queue, fitted(report.words, report.values), [*self._dialects()])
        trouble: PilotError | None = None
        for _ in range(ATTEMPTS):
            try:
                trouble = telling.attempt(self._web, limit_s)
            except PilotError as error:
                trouble = error
            if trouble is None or trouble.facts.get("permanent"):
                break
        if trouble is not None:
            self._complain(report, trouble)
        return trouble is None or trouble.code is not Code.NOPROXY

    def _complain(self, report: Report, trouble: PilotError) -> None:
        level = logging.DEBUG if self._complained else logging.WARNING
        log.log(level, "%s did not arrive, and the work goes on without it: %s", report.call, trouble)
        self._complained = True


@define
class _Telling:
    """A report under way: how it is to be said next."""

    report: Report
    queue: str
    fields: dict[str, object]
    dialects: list[Dialect]

    def attempt(self, web: Web, limit_s: float) -> PilotError | None:
        """Say it once; why it was not taken."""
        dialect = self.dialects[0]
        if dialect is LEGACY and self.report.call != STATUS_CALL:
            return None
        path, how = self._old() if dialect is LEGACY else (f"/api/v1/pilot/{self.report.call}", {"json": self.fields})
        answer = web.call("POST", path, limit_s=limit_s, **how)
        if len(self.dialects) > 1 and dialect.disowned(answer):
            del self.dialects[0]
            return failure("the server is of another generation")
        return self._judged(dialect.read(answer))

    def _judged(self, envelope: Envelope) -> PilotError | None:
        if envelope.success:
            return None
        if envelope.rejected in self.fields.keys() - self.report.vital:
            del self.fields[envelope.rejected]
            return failure(envelope.message)
        return refusal_of(envelope.message) or failure(envelope.message or "the server gives no reason")

    def _old(self) -> tuple[str, dict[str, Any]]:
        from urllib.parse import urlencode

        named = {OLD_NAMES[name]: value for name, value in self.fields.items()}
        form = urlencode({"site": self.queue, **named}).encode()
        return OLD_PATH, {"data": form, "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


def _level(level: str) -> str:
    """A level of processors as the server writes it."""
    return level.replace("x86-64", "x86_64")


def _in(unit_b: int, size_b: int | None) -> int | None:
    return None if size_b is None else size_b // unit_b


def _gpu_values(gpu: Gpu) -> dict[str, object]:
    return {
        "vendor": gpu.vendor,
        "model": gpu.model,
        "count": gpu.count,
        "vram": _in(MIB, gpu.vram_b),
        "architecture": gpu.architecture,
        "framework": gpu.framework,
        "framework_version": gpu.framework_version,
        "driver_version": gpu.driver_version,
    }
