"""ATLAS jobs as the server sends them, and what their transforms write."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from pilot_atlas.job import KEY, AtlasJob
from pilot_core.sdk import FileSpec, Job, JobExtras, Resources

PRODUCTION = {
    "swRelease": "Atlas-23.0.53",
    "homepackage": "AthSimulation/23.0.53",
    "cmtConfig": "x86_64-el9-gcc13-opt",
    "processingType": "simul",
    "resource_type": "MCORE",
    "prodUserID": "/DC=org/DC=example/OU=Users/CN=production manager",
    "jobDefinitionID": 0,
}
ANALYSIS = {
    "swRelease": "NULL",
    "homepackage": "AnalysisTransforms-AnalysisBase_25.2.40",
    "cmtConfig": "x86_64-el9-gcc13-opt",
    "processingType": "panda-client-1.5.80-jedi-run",
    "resource_type": "SCORE",
}


def a_job(wire: Mapping[str, object] = PRODUCTION, **given: object) -> Job:
    """A job with what ATLAS reads of this message."""
    steps = given.pop("steps", {})
    extras = {KEY.name: AtlasJob.read(wire).kept(), **({"panda.steps": steps} if steps else {})}
    job = Job(id="7100000001", task="40222333", attempt=1, transformation="Sim_tf.py", needs=Resources(cores=8))
    return evolve(job, extras=JobExtras({**extras, **given.pop("more", {})}), **given)


def analysis(url: str = "https://pandaserver.cern.ch:25443/trf/user/runGen-00-00-02", **given: object) -> Job:
    """A user's job."""
    return a_job(ANALYSIS, **{"transformation": url, "needs": Resources(cores=1), **given})


def outputs(*names: str, **more: object) -> tuple[FileSpec, ...]:
    return tuple(FileSpec(lfn=name, scope="s", guid=f"mine-{name}", **more) for name in names)


def job_report(**told: object) -> dict[str, object]:
    """A report of a transform to whom nothing happened."""
    return {"exitCode": 0, "exitMsg": "OK", **told}


def listed(**made: int) -> dict[str, object]:
    """The list of outputs in a report, with the events in each; dots in names are written as ``__``."""
    names = {name.replace("__", "."): count for name, count in made.items()}
    return {
        "output": [
            {"subFiles": [{"name": name, "file_guid": f"GUID-{name}", "nentries": count, "file_size": 3}]}
            for name, count in names.items()
        ]
    }
