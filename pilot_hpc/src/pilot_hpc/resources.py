"""What the slot or allocation is and how long it lasts, as the batch system around the pilot tells.

Variables and files are read; where they do not tell, one cheap command of the batch system is run, with a limit.
Nobody grants more than affinity and control group do, so the tighter of both holds.
"""

from __future__ import annotations

import os
import socket
import time
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final

from attrs import frozen

from pilot_core.sdk import Allotment, Resource, Resources, SlotOptions, Told, option
from pilot_core.sdk.io import as_slot, granted, time_left_s
from pilot_core.sdk.node import output_of
from pilot_hpc.reading import among, attributes, clock_s, hosts, resource_set, size_b, tasks_of_nodes, whole

COMMAND_S: Final = 10.0
MIB: Final = 1 << 20


class BatchSystem(Resource):
    """A resource that a batch system grants. ``mark`` is the variable that its jobs have."""

    mark: ClassVar[str]
    keeps: ClassVar[tuple[str, ...]] = ()
    """Variables that its commands need."""

    @classmethod
    def probe(cls) -> str | None:
        """Its jobs are known by a variable."""
        return None if os.environ.get(cls.mark) else f"${cls.mark} is not set, so this is no job of {cls.name}"

    @classmethod
    def job(cls) -> Told[str] | None:
        """The value of that variable."""
        return variable(cls.mark)

    @abstractmethod
    def told(self) -> Allotment:
        """What the batch system tells, without the time."""

    def left(self) -> Told[float] | None:
        """How long the slot lasts, asked anew."""
        return None

    def slot(self, workdir: Path) -> Resources:
        """What node and batch system both grant; the section ``slot`` overrules them."""
        return as_slot(granted(workdir).within(self.told()), self.settings.of(SlotOptions))

    def time_left_s(self) -> float | None:
        """Until the batch system or the features of the job end it, whichever is sooner."""
        left = self.left()
        told = (time_left_s(), left.value if left else None)
        return min((max(each, 0.0) for each in told if each is not None), default=None)

    def allotted(self, workdir: Path) -> Allotment:
        """Node and batch system together."""
        both = self.told().within(granted(workdir))
        return Allotment(system=Told(self.name, f"${self.mark}"), left_s=self.left()).within(both)

    def _said(self, *argv: str) -> str:
        return output_of(argv, os.environ, COMMAND_S, keep=self.keeps)


def variable(name: str) -> Told[str] | None:
    """What a variable says, if it is set."""
    value = os.environ.get(name, "")
    return Told(value, f"${name}") if value else None


def number(*names: str) -> Told[int] | None:
    """The first of these variables that is a number of things that there are."""
    found = ((whole(os.environ.get(name)), name) for name in names)
    return next((Told(value, f"${name}") for value, name in found if value), None)


def listed(name: str) -> Told[tuple[str, ...]] | None:
    """A variable's list, if it has anything in it."""
    values = tuple(each for each in os.environ.get(name, "").split(",") if each)
    return Told(values, f"${name}") if values else None


def times(amount: Told[int] | None, factor: int, parts: int = 1) -> Told[int] | None:
    """An amount times a factor, or one of so many parts of it."""
    return Told(max(1, amount.value * factor // parts), amount.by) if amount else None


class Slurm(BatchSystem):
    """A job of Slurm, or one task of its step; ``squeue`` knows how long it lasts."""

    name = "slurm"
    order = 30
    mark = "SLURM_JOB_ID"
    keeps = ("SLURM_CONF", "SLURM_CLUSTERS")

    def told(self) -> Allotment:
        """From its variables. The tasks of a step on one node share what the step has there."""
        on_node, tasks = number("SLURM_CPUS_ON_NODE"), self._tasks_here()
        per_core = times(number("SLURM_MEM_PER_CPU"), on_node.value if on_node else 1)
        on_all = times(number("SLURM_MEM_PER_NODE") or per_core, MIB) or self._asked_memory()
        nodes = variable("SLURM_JOB_NODELIST")
        return Allotment(
            job=self.job(),
            queue=variable("SLURM_JOB_PARTITION"),
            nodes=Told(hosts(nodes.value), nodes.by) if nodes else None,
            cores=(number("SLURM_CPUS_PER_TASK") if tasks > 1 else None) or times(on_node, 1, tasks),
            memory_b=times(on_all, 1, tasks),
            gpus=listed("SLURM_STEP_GPUS") or listed("SLURM_JOB_GPUS"),
        )

    def left(self) -> Told[float] | None:
        """What ``squeue`` says now; without it, until the end that was planned at the start."""
        if (left_s := clock_s(self._squeue("%L"))) is not None:
            return Told(left_s, "squeue")
        end = number("SLURM_JOB_END_TIME")
        return Told(end.value - time.time(), end.by) if end else None

    def _asked_memory(self) -> Told[int] | None:
        """What the job asked for on a node; before 23.02 no variable of a step tells. All of a node has no number."""
        found = size_b(self._squeue("%m"))
        return Told(found, "squeue") if found else None

    def _squeue(self, what: str) -> str:
        return self._said("squeue", "-h", "-j", os.environ[self.mark], "-o", what)

    def _tasks_here(self) -> int:
        """How many tasks of our step run on this node; a batch script is one."""
        tasks = tasks_of_nodes(os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
        node = int(os.environ.get("SLURM_NODEID", "0") or 0)
        return tasks[node] if node < len(tasks) else 1


class Pbs(BatchSystem):
    """A job of PBS Pro, OpenPBS or Torque; ``qstat`` knows its limits."""

    name = "pbs"
    order = 30
    mark = "PBS_JOBID"
    keeps = ("PBS_CONF_FILE", "PBS_DEFAULT", "PBS_EXEC", "PBS_SERVER")

    def told(self) -> Allotment:
        """From its variables and the file of its nodes, where each core or task has a line."""
        lines = self._node_lines()
        nodes = tuple(dict.fromkeys(lines))
        memory = attributes(self._status).get("Resource_List.mem", "")
        total_b = size_b(memory)
        counted = Told(lines.count(among(nodes, socket.gethostname())), "$PBS_NODEFILE") if lines else None
        return Allotment(
            job=self.job(),
            queue=variable("PBS_QUEUE"),
            nodes=Told(nodes, "$PBS_NODEFILE") if nodes else None,
            cores=number("NCPUS", "PBS_NUM_PPN") or counted,
            memory_b=Told(total_b // max(len(nodes), 1), "qstat") if total_b else None,
        )

    def left(self) -> Told[float] | None:
        """What remains, or the limit less what is used."""
        said = attributes(self._ask())
        if (remaining := whole(said.get("Walltime.Remaining"))) is not None:
            return Told(float(remaining), "qstat")
        limit_s = clock_s(said.get("Resource_List.walltime", ""))
        used_s = clock_s(said.get("resources_used.walltime", "")) or 0.0
        return Told(limit_s - used_s, "qstat") if limit_s is not None else None

    @cached_property
    def _status(self) -> str:
        return self._ask()

    def _ask(self) -> str:
        return self._said("qstat", "-f", os.environ[self.mark])

    @staticmethod
    def _node_lines() -> list[str]:
        try:
            return Path(os.environ.get("PBS_NODEFILE", os.devnull)).read_text(errors="replace").split()
        except OSError:
            return []


class Lsf(BatchSystem):
    """A job of LSF; ``bjobs`` knows its limits."""

    name = "lsf"
    order = 30
    mark = "LSB_JOBID"
    keeps = ("LSF_BINDIR", "LSF_ENVDIR", "LSF_LIBDIR", "LSF_SERVERDIR")

    def told(self) -> Allotment:
        """From its variables; the list of hosts has a number of cores after each."""
        words = os.environ.get("LSB_MCPU_HOSTS", "").split()
        cores = {name: int(count) for name, count in zip(words[::2], words[1::2], strict=False) if count.isdecimal()}
        here = cores.get(among(tuple(cores), socket.gethostname()))
        memory_b = size_b(self._status[1])
        return Allotment(
            job=self.job(),
            queue=variable("LSB_QUEUE"),
            nodes=Told(tuple(cores), "$LSB_MCPU_HOSTS") if cores else None,
            cores=Told(here, "$LSB_MCPU_HOSTS") if here else number("LSB_DJOB_NUMPROC"),
            memory_b=Told(memory_b, "bjobs") if memory_b else None,
        )

    def left(self) -> Told[float] | None:
        """``bjobs`` says it in hours and minutes, and a letter for how it knows."""
        left_s = clock_s(self._ask()[0].partition(" ")[0] + ":00")
        return Told(left_s, "bjobs") if left_s is not None else None

    @cached_property
    def _status(self) -> tuple[str, str]:
        return self._ask()

    def _ask(self) -> tuple[str, str]:
        form = "time_left memlimit delimiter='|'"
        left, _, memory = self._said("bjobs", "-noheader", "-o", form, os.environ[self.mark]).partition("|")
        return left.strip(), memory.strip()


class Flux(BatchSystem):
    """A job of Flux, or an instance of Flux that is all ours: ``flux`` tells its set of resources."""

    name = "flux"
    order = 20
    mark = "FLUX_URI"
    keeps = ("FLUX_URI", "FLUX_JOB_ID", "FLUX_CONNECTOR_PATH", "FLUX_EXEC_PATH", "FLUX_MODULE_PATH")

    @classmethod
    def job(cls) -> Told[str] | None:
        """An instance of Flux that is all ours need not be a job."""
        return variable("FLUX_JOB_ID")

    def told(self) -> Allotment:
        """From the set of resources; the tasks on one node share it."""
        job = self.job()
        argv = ("flux", "job", "info", job.value, "R") if job else ("flux", "resource", "R")
        found, by = resource_set(self._said(*argv)), " ".join(("flux", *argv[1:3]))
        here = among(found.nodes, socket.gethostname())
        cores = Told(found.cores[here], by) if found.cores.get(here) else None
        return Allotment(
            job=job,
            nodes=Told(found.nodes, by) if found.nodes else None,
            cores=times(cores, 1, self._tasks_here()),
            gpus=Told(found.gpus[here], by) if found.gpus.get(here) else None,
        )

    def left(self) -> Told[float] | None:
        """In seconds; a job without a limit has an answer that is no number."""
        said = self._said("flux", "job", "timeleft").strip()
        return Told(float(said), "flux job timeleft") if said.replace(".", "", 1).isdecimal() else None

    @staticmethod
    def _tasks_here() -> int:
        tasks, nodes = number("FLUX_JOB_SIZE"), number("FLUX_JOB_NNODES")
        return -(-tasks.value // nodes.value) if tasks and nodes else 1


class HTCondor(BatchSystem):
    """A job of HTCondor: its ads lie in its directory."""

    name = "htcondor"
    order = 10
    mark = "_CONDOR_MACHINE_AD"

    @classmethod
    def job(cls) -> Told[str] | None:
        """Cluster and process, as its ad has them."""
        job = cls._ad("_CONDOR_JOB_AD")
        return Told(f"{job['ClusterId']}.{job.get('ProcId', '0')}", "job ad") if "ClusterId" in job else None

    def told(self) -> Allotment:
        """The slot as the machine's ad has it."""
        machine = self._ad(self.mark)
        gpus = tuple(each.strip() for each in machine.get("AssignedGPUs", "").split(",") if each.strip())
        return Allotment(
            job=self.job(),
            nodes=Told((machine["Machine"],), "machine ad") if machine.get("Machine") else None,
            cores=_amount(machine, "Cpus", 1),
            memory_b=_amount(machine, "Memory", MIB),
            disk_b=_amount(machine, "Disk", 1024),
            gpus=Told(gpus, "machine ad: AssignedGPUs") if gpus else None,
        )

    def left(self) -> Told[float] | None:
        """Until the job has had its time, or the glide-in that is the machine ends."""
        job, machine = self._ad("_CONDOR_JOB_AD"), self._ad(self.mark)
        began = whole(job.get("JobCurrentStartDate")) or self._written() or time.time()
        limits = ((name, whole(job.get(name))) for name in ("AllowedJobDuration", "AllowedExecuteDuration"))
        ends = [Told(began + limit_s, f"job ad: {name}") for name, limit_s in limits if limit_s]
        if glidein := whole(machine.get("GLIDEIN_ToDie")):
            ends.append(Told(float(glidein), "machine ad: GLIDEIN_ToDie"))
        soonest = min(ends, key=lambda end: end.value, default=None)
        return Told(soonest.value - time.time(), soonest.by) if soonest else None

    @staticmethod
    def _ad(name: str) -> Mapping[str, str]:
        try:
            return attributes(Path(os.environ.get(name, os.devnull)).read_text(errors="replace"))
        except OSError:
            return {}

    @classmethod
    def _written(cls) -> int | None:
        """When the machine's ad was put there, which is right before the job begins."""
        try:
            return int(Path(os.environ[cls.mark]).stat().st_mtime)
        except OSError:
            return None


def _amount(ad: Mapping[str, str], name: str, unit: int) -> Told[int] | None:
    found = whole(ad.get(name))
    return Told(found * unit, f"machine ad: {name}") if found else None


@frozen(kw_only=True)
class KubernetesOptions:
    """Where a pod finds what its own description says."""

    section = "kubernetes"

    podinfo: Path = option(
        Path("/etc/podinfo"),
        help="The folder where the downward API puts cpu_limit, cpu_request (in cores), mem_limit and mem_request (in "
        "bytes).",
    )


class Kubernetes(BatchSystem):
    """A pod. Nobody tells a pod how long it lasts, but for the features of the job."""

    name = "kubernetes"
    order = 60
    mark = "KUBERNETES_SERVICE_HOST"
    options = KubernetesOptions

    @classmethod
    def job(cls) -> Told[str] | None:
        """The name of the batch job that the pod is for, else its own."""
        return variable("K8S_JOB_ID") or variable("HOSTNAME")

    def told(self) -> Allotment:
        """Its limits, else what it asked for."""
        return Allotment(
            job=self.job(),
            cores=self._file("cpu_limit") or self._file("cpu_request"),
            memory_b=self._file("mem_limit") or self._file("mem_request"),
        )

    def _file(self, name: str) -> Told[int] | None:
        path = self.settings.of(KubernetesOptions).podinfo / name
        try:
            found = whole(path.read_text(errors="replace"))
        except OSError:
            return None
        return Told(found, str(path)) if found else None


class Arc(BatchSystem):
    """A job of ARC: the batch system that ARC gave it to tells the rest, if there is one."""

    name = "arc"
    order = 40
    mark = "GRID_GLOBAL_JOBID"

    def told(self) -> Allotment:
        """ARC's own name for the job, and what the batch system tells."""
        own = Allotment(job=self.job())
        return own.within(self._below.told()) if self._below else own

    def left(self) -> Told[float] | None:
        """As the batch system tells."""
        return self._below.left() if self._below else None

    @cached_property
    def _below(self) -> BatchSystem | None:
        return next((each(self.settings) for each in (HTCondor, Slurm, Pbs, Lsf) if each.probe() is None), None)
