"""The batch system's number of the pilot's job is what a server hears, whatever the pilot's own resource is."""

from __future__ import annotations

import pytest

from pilot_core.builtin.panda.node import identity_of
from pilot_core.builtin.panda.options import PandaOptions
from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.sdk.node import batch_job


def identity(**options):
    return identity_of(Schema((*CORE, PandaOptions)).merge(Layer(Rank.SITE, "test", {"panda": options})))


@pytest.mark.parametrize(
    ("variables", "number", "by"),
    [
        ({"SLURM_JOB_ID": "4711"}, "4711", "$SLURM_JOB_ID"),
        ({"PBS_JOBID": "12.server"}, "12.server", "$PBS_JOBID"),
        ({"LSB_JOBID": "7"}, "7", "$LSB_JOBID"),
        ({"KUBERNETES_SERVICE_HOST": "h", "K8S_JOB_ID": "grid-job-1"}, "grid-job-1", "$K8S_JOB_ID"),
        ({"KUBERNETES_SERVICE_HOST": "h", "SLURM_JOB_ID": "5"}, "5", "$SLURM_JOB_ID"),
    ],
)
def test_the_innermost_batch_system_tells_it(job, variables, number, by):
    job(variables)
    told = batch_job()
    assert (told.value, told.by) == (number, by)
    assert identity().batch == number


def test_htcondors_is_in_the_jobs_ad(job):
    here = job({})
    (here / ".job.ad").write_text("ClusterId = 42\nProcId = 3\n")
    (here / ".machine.ad").write_text("Cpus = 1\n")
    job({"_CONDOR_JOB_AD": here / ".job.ad", "_CONDOR_MACHINE_AD": here / ".machine.ad"})
    assert identity().batch == "42.3"


def test_whoever_starts_the_pilot_knows_better(job):
    job({"SLURM_JOB_ID": "4711"})
    assert identity(batch_id="ce.example.org#1").batch == "ce.example.org#1"


def test_outside_of_batch_systems_there_is_none(job):
    job({})
    assert batch_job() is None
    assert identity().batch == ""
