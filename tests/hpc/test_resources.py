"""What each batch system tells of slot and allocation, by what the real ones were recorded to say."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest

from pilot_core.plugins.discover import Discovery
from pilot_core.plugins.drivers import Drivers, one_resource
from pilot_core.plugins.guard import Guard
from pilot_core.testing.contracts.drivers import ResourceContract
from pilot_hpc.resources import Arc, Flux, HTCondor, Kubernetes, Lsf, Pbs, Slurm

HERE = socket.gethostname()
CORES = len(os.sched_getaffinity(0))
MIB = 1 << 20

SLURM = {"SLURM_JOB_ID": "2", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_PARTITION": "main"}
SQUEUE = {"-h -j 2 -o %L": "6:59\n", "-h -j 2 -o %m": "1000M\n"}


def values(allotment, *names):
    return tuple((told := getattr(allotment, name)) and told.value for name in names)


@pytest.mark.parametrize("driver", [Slurm, Pbs, Lsf, Flux, HTCondor, Kubernetes, Arc], ids=lambda each: each.name)
def test_who_is_no_job_says_so_and_who_is_tells_what_there_is(driver, job, make):
    here = job({})
    assert driver.probe() == f"${driver.mark} is not set, so this is no job of {driver.name}"
    job({driver.mark: "7"})
    assert driver.probe() is None
    slot = make(driver).slot(here)
    assert (slot.cores, slot.gpus) == (CORES, ())
    assert slot.memory_b > 0
    assert make(driver).time_left_s() is None
    assert make(driver).allotted(here).system.value == driver.name


def test_a_site_knows_better(job, make):
    here = job({**SLURM, "SLURM_MEM_PER_NODE": 4})
    assert make(Slurm).slot(here).memory_b == 4 * MIB
    slot = make(Slurm, slot={"cores": 64, "memory_b": "2 GB"}).slot(here)
    assert (slot.cores, slot.memory_b) == (64, 2 * 10**9)


def test_the_jobs_features_end_it_sooner_than_the_batch_system(job, make, monkeypatch):
    here = job(SLURM, squeue=SQUEUE)
    (here / "shutdowntime_job").write_text(f"{time.time() + 100:.0f}")
    monkeypatch.setenv("JOBFEATURES", str(here))
    assert 0 < make(Slurm).time_left_s() <= 101
    left = make(Slurm).allotted(here).left_s
    assert left.by == "$JOBFEATURES/shutdowntime_job"


# --- Slurm ----------------------------------------------------------------------------------------------------------


def test_slurm_a_batch_script_has_the_node(job, make):
    job({**SLURM, "SLURM_CPUS_ON_NODE": 128, "SLURM_MEM_PER_CPU": 300, "SLURM_TASKS_PER_NODE": "2(x2)"}, squeue=SQUEUE)
    told = make(Slurm).told()
    assert values(told, "job", "queue", "nodes", "cores") == ("2", "main", ("n1", "n2"), 128)
    assert (told.memory_b.value, told.memory_b.by) == (128 * 300 * MIB, "$SLURM_MEM_PER_CPU")
    assert make(Slurm).left().value == 419


STEP = {**SLURM, "SLURM_CPUS_ON_NODE": 128, "SLURM_STEP_ID": 0, "SLURM_STEP_TASKS_PER_NODE": "80,20"}


@pytest.mark.parametrize(
    ("more", "cores", "memory_mb"),
    [
        ({"SLURM_NODEID": 0, "SLURM_MEM_PER_NODE": 8000}, 1, 100),
        ({"SLURM_NODEID": 1, "SLURM_MEM_PER_NODE": 8000}, 6, 400),
        ({"SLURM_NODEID": 1, "SLURM_CPUS_PER_TASK": 4}, 4, 50),
        ({"SLURM_NODEID": 9}, 128, 1000),
    ],
    ids=["many", "few", "as asked", "a node of another step"],
)
def test_slurm_the_tasks_of_a_step_share_the_node(job, make, more, cores, memory_mb):
    job({**STEP, **more}, squeue=SQUEUE)
    assert values(make(Slurm).told(), "cores", "memory_b") == (cores, memory_mb * MIB)


def test_slurm_gpus_are_those_of_the_step_and_a_payloads_names_count_more(job, make):
    here = job({**SLURM, "SLURM_JOB_GPUS": "2,3"})
    assert make(Slurm).slot(here).gpus == ("2", "3")
    job({"SLURM_STEP_GPUS": "3", "SLURM_JOB_GPUS": "2,3"})
    assert make(Slurm).told().gpus.value == ("3",)
    job({"CUDA_VISIBLE_DEVICES": "0,1"})
    assert make(Slurm).slot(here).gpus == ("0", "1")


def test_slurm_without_its_command_ends_when_it_was_planned(job, make):
    job({**SLURM, "SLURM_JOB_END_TIME": int(time.time()) + 1000})
    left = make(Slurm).left()
    assert 900 < left.value <= 1000
    assert left.by == "$SLURM_JOB_END_TIME"


# --- PBS ------------------------------------------------------------------------------------------------------------

PBS_PRO = """\
Job Id: 1234.pbs
    Job_Name = pilot
    resources_used.cput = 00:10:00
    resources_used.walltime = 00:20:30
    job_state = R
    exec_host = n1/0*8+n2/0*8
    Resource_List.mem = 32gb
    Resource_List.ncpus = 16
    Resource_List.nodect = 2
    Resource_List.walltime = 02:00:00
    Variable_List = PBS_O_HOME=/home/pilot,PBS_O_LANG=C,
\tPBS_O_QUEUE=workq
"""
TORQUE = """\
Job Id: 77.torque
    Resource_List.walltime = 24:00:00
    resources_used.walltime = 01:00:00
    Walltime.Remaining = 82790
"""


def test_pbs_pro(job, make):
    here = job({"PBS_JOBID": "1234.pbs", "PBS_QUEUE": "workq", "NCPUS": 8}, qstat={"-f 1234.pbs": PBS_PRO})
    (here / "nodes").write_text("n1\nn2\n")
    job({"PBS_NODEFILE": here / "nodes"})
    told = make(Pbs).told()
    assert values(told, "job", "queue", "nodes", "cores") == ("1234.pbs", "workq", ("n1", "n2"), 8)
    assert told.memory_b.value == 16 << 30
    assert make(Pbs).time_left_s() == 5970


def test_torque_has_a_line_for_each_core(job, make):
    here = job({"PBS_JOBID": "77.torque"}, qstat={"-f 77.torque": TORQUE})
    (here / "nodes").write_text(f"n1\nn1\n{HERE}\n{HERE}\n{HERE}\n")
    job({"PBS_NODEFILE": here / "nodes"})
    assert values(make(Pbs).told(), "nodes", "cores") == (("n1", HERE), 3)
    assert make(Pbs).time_left_s() == 82790
    job({"PBS_NUM_PPN": 2})
    assert make(Pbs).told().cores.value == 2


# --- LSF ------------------------------------------------------------------------------------------------------------

BJOBS = "-noheader -o time_left memlimit delimiter='|' 501"


@pytest.mark.parametrize(("said", "left_s", "memory_b"), [("1:58 L|2 G\n", 7080, 2 << 30), ("-|-\n", None, None)])
def test_lsf(job, make, said, left_s, memory_b):
    variables = {"LSB_JOBID": "501", "LSB_QUEUE": "long", "LSB_MCPU_HOSTS": f"n1 4 {HERE} 2"}
    job(variables, bjobs={BJOBS: said})
    assert values(make(Lsf).told(), "queue", "nodes", "cores") == ("long", ("n1", HERE), 2)
    assert values(make(Lsf).told(), "memory_b") == (memory_b,)
    assert make(Lsf).time_left_s() == left_s


# --- Flux -----------------------------------------------------------------------------------------------------------

R = {
    "version": 1,
    "execution": {
        "R_lite": [{"rank": "0-1", "children": {"core": "0-7", "gpu": "0-3"}}],
        "nodelist": [f"n1,{HERE}"],
        "starttime": 1795289911,
        "expiration": 1795293511,
    },
}


def test_flux_an_instance_that_is_ours(job, make):
    job({"FLUX_URI": "local:///run/flux/local"}, flux={"resource R": json.dumps(R), "job timeleft": "3541.2\n"})
    told = make(Flux).told()
    assert values(told, "job", "nodes", "cores", "gpus") == (None, ("n1", HERE), 8, ("0", "1", "2", "3"))
    assert told.cores.by == "flux resource R"
    assert make(Flux).time_left_s() == 3541.2


def test_flux_the_tasks_of_a_job_share_a_node(job, make):
    variables = {"FLUX_URI": "local:///f", "FLUX_JOB_ID": "7", "FLUX_JOB_SIZE": 7, "FLUX_JOB_NNODES": 2}
    job(variables, flux={"job info 7 R": json.dumps(R), "job timeleft": "infinity\n"})
    assert values(make(Flux).told(), "job", "cores") == ("7", 2)
    assert make(Flux).time_left_s() is None


# --- HTCondor -------------------------------------------------------------------------------------------------------

MACHINE_AD = """\
AssignedGPUs = "GPU-1a2b, GPU-3c4d"
Cpus = 8
DetectedCpus = 128
Disk = 2048
Machine = "wn7.site.org"
Memory = 16384
Name = "slot1_3@wn7.site.org"
Start = (MY.Cpus > 0 && TARGET.RequestCpus <= MY.Cpus)
TotalCpus = 128.0
"""


@pytest.fixture
def ads(job):
    """Writes both ads of a job."""

    def write(job_ad, machine_ad=MACHINE_AD):
        here = job({})
        (here / ".job.ad").write_text(job_ad)
        (here / ".machine.ad").write_text(machine_ad)
        return job({"_CONDOR_JOB_AD": here / ".job.ad", "_CONDOR_MACHINE_AD": here / ".machine.ad"})

    return write


def test_htcondor_the_machines_ad_is_the_slot(ads, make):
    here = ads("ClusterId = 12\nProcId = 3\n")
    told = make(HTCondor).told()
    assert values(told, "job", "nodes", "cores") == ("12.3", ("wn7.site.org",), 8)
    assert values(told, "memory_b", "disk_b") == (16384 * MIB, 2048 * 1024)
    assert make(HTCondor).slot(here).gpus == ("GPU-1a2b", "GPU-3c4d")
    assert make(HTCondor).left() is None


@pytest.mark.parametrize(
    ("job_ad", "machine_ad", "by"),
    [
        ("AllowedJobDuration = 1000\nJobCurrentStartDate = {now}\n", "", "job ad: AllowedJobDuration"),
        ("AllowedExecuteDuration = 1000\n", "", "job ad: AllowedExecuteDuration"),
        ("AllowedJobDuration = 9000\n", "GLIDEIN_ToDie = {end}\n", "machine ad: GLIDEIN_ToDie"),
    ],
)
def test_htcondor_time_counts_from_the_start_and_a_glide_in_may_end_before(ads, make, job_ad, machine_ad, by):
    now = int(time.time())
    ads(job_ad.format(now=now), MACHINE_AD + machine_ad.format(end=now + 1000))
    left = make(HTCondor).left()
    assert left.by == by
    assert 900 < left.value <= 1001


def test_htcondor_ads_that_are_gone_tell_nothing(job, make):
    here = job({"_CONDOR_MACHINE_AD": "/nowhere", "_CONDOR_JOB_AD": "/nowhere"})
    assert make(HTCondor).slot(here).cores == CORES
    assert make(HTCondor).time_left_s() is None


# --- Kubernetes and ARC ---------------------------------------------------------------------------------------------


def test_kubernetes_limits_count_before_requests(job, make):
    here = job({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "pilot-x7"})
    (here / "cpu_request").write_text("1\n")
    (here / "mem_request").write_text("1000000\n")
    (here / "mem_limit").write_text("2000000\n")
    told = make(Kubernetes, kubernetes={"podinfo": str(here)}).told()
    assert values(told, "job", "cores", "memory_b") == ("pilot-x7", 1, 2_000_000)
    assert told.cores.by == str(here / "cpu_request")


def test_arc_asks_the_batch_system_below(job, make):
    here = job({"GRID_GLOBAL_JOBID": "https://ce:443/rest/1.0/jobs/x", **SLURM, "SLURM_CPUS_ON_NODE": 1}, squeue=SQUEUE)
    told = make(Arc).told()
    assert values(told, "job", "queue", "cores") == ("https://ce:443/rest/1.0/jobs/x", "main", 1)
    assert make(Arc).time_left_s() == 419
    assert make(Arc).allotted(here).system.value == "arc"


# --- which one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marks", "name"),
    [
        ((), "node"),
        (("SLURM_JOB_ID",), "slurm"),
        (("SLURM_JOB_ID", "FLUX_URI"), "flux"),
        (("SLURM_JOB_ID", "_CONDOR_MACHINE_AD", "KUBERNETES_SERVICE_HOST"), "htcondor"),
        (("GRID_GLOBAL_JOBID", "PBS_JOBID"), "pbs"),
        (("GRID_GLOBAL_JOBID", "KUBERNETES_SERVICE_HOST"), "arc"),
        (("KUBERNETES_SERVICE_HOST",), "kubernetes"),
    ],
    ids=lambda each: each if isinstance(each, str) else "-".join(each),
)
def test_auto_is_the_innermost(job, marks, name):
    job(dict.fromkeys(marks, "1"))
    assert one_resource(Drivers(Discovery(), Guard()), "auto").name == name


# --- the contract, in a job about which nothing more is told ---------------------------------------------------------


class InJob(ResourceContract):
    """A driver where it belongs; without GPUs, commands or files."""

    @pytest.fixture(autouse=True)
    def _job(self, job):
        job({self.driver.mark: "7"})


class TestSlurm(InJob):
    driver = Slurm


class TestPbs(InJob):
    driver = Pbs


class TestLsf(InJob):
    driver = Lsf


class TestFlux(InJob):
    driver = Flux


class TestHTCondor(InJob):
    driver = HTCondor


class TestKubernetes(InJob):
    driver = Kubernetes


class TestArc(InJob):
    driver = Arc
