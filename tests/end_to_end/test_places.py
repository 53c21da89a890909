"""A whole pilot whose job names no place of any file: scopes, storages and the documents of a site say it all."""

from __future__ import annotations

import json
import zlib

import pytest

from pilot_core.builtin.places.paths import hashed

CONTENT = b"events"
QUEUE = {
    "nickname": "OURS",
    "state": "ACTIVE",
    "status": "online",
    "copytools": {"cp": {"setup": ""}},
    "acopytools": {"pr": ["cp"], "pw": ["cp"], "pl": ["cp"]},
    "acopytools_schemas": {"default": ["file"]},
    "astorages": {"read_lan": ["LOST", "NEAR"], "write_lan": ["FULL", "NEAR"], "pl": ["LOGS"]},
    "params": {},
}


def storage(path, *, hashed=True, kind="DATADISK"):
    place = [{"endpoint": "srm://se.example.org", "path": "/"}, {"endpoint": "file://", "path": f"{path}/"}]
    return {"type": kind, "is_deterministic": hashed, "arprotocols": {"read_lan": place, "write_wan": place}}


def job(**changes):
    return {
        "PandaID": 7100000001,
        "attemptNr": 1,
        "taskID": 40222333,
        "transformation": "/bin/sh",
        "jobPars": "-c 'cat a.root a.root > o.root; echo more > p.root'",
        "inFiles": "a.root",
        "scopeIn": "user.alice",
        "fsize": str(len(CONTENT)),
        "checksum": f"ad:{zlib.adler32(CONTENT):x}",
        "outFiles": "o.root,p.root,log.tgz",
        "realDatasets": "d,d,dl",
        "ddmEndPointOut": "FULL,NEAR,LOGS",
        "scopeOut": "user.alice,user.alice",
        "scopeLog": "user.alice",
        "logFile": "log.tgz",
        **changes,
    }


@pytest.fixture
def run(site):
    """``run(queue, altStageOut=...)``: the record of the job, and what the pilot said."""
    names = {"near": True, "lost": True, "full": True}
    storages = {name.upper(): storage(site.root / name, hashed=how) for name, how in names.items()}
    storages["LOGS"] = storage(site.root / "logs", hashed=False, kind="OS_LOGS")
    (site.root / "full").write_text("no directory")
    source = site.root / "near" / hashed("user.alice", "a.root")
    source.parent.mkdir(parents=True)
    source.write_bytes(CONTENT)

    def start(params, log_required=True, **changes):
        documents = {"queues": {"OURS": {**QUEUE, "params": params}}, "storages": storages, "job": job(**changes)}
        for name, told in documents.items():
            (site.root / f"{name}.json").write_text(json.dumps(told))
        settings = {
            "pilot": {"queue": "OURS", "communicator": "pandafile", "max_jobs": 1, "cleanup": False},
            "pandafile": {"path": "job.json"},
            "queue_file": {"path": "queues.json", "storages": "storages.json"},
            "data": {"attempts": 1, "reserve_b": 0, "log_required": log_required},
            "slot": {"free_disk_b": 0},
        }
        (site.root / "site.yaml").write_text(json.dumps(settings))
        pilot = site.start("run", "--config", "site.yaml", "--workdir", str(site.work))
        said, _ = pilot.communicate(timeout=120)
        (record,) = site.work.glob("PanDA_Pilot-*.control/record.json")
        return json.loads(record.read_text()), said

    return start


def stored(record):
    return {file["lfn"]: file["endpoint"] for file in record["files"] if file["direction"] == "out"}


def test_files_come_and_go_where_the_documents_say(site, run):
    """data:A-09 data:D-02 data:F-01 data:F-06 (the log has a storage of its own)"""
    record, said = run({"allow_altstageout": True})
    assert record["state"] == "finished", said
    assert stored(record) == {"o.root": "NEAR", "p.root": "NEAR", "log.tgz": "LOGS"}
    assert (site.root / "near" / hashed("user.alice", "o.root")).read_bytes() == 2 * CONTENT
    assert (site.root / "logs" / "log.tgz").stat().st_size
    (came,) = [file for file in record["files"] if file["direction"] == "in"]
    assert (came["endpoint"], came["tool"]) == ("NEAR", "local")


@pytest.mark.parametrize(("params", "wish"), [({"allow_altstageout": "false"}, "on"), ({}, "off")])
def test_where_no_other_storage_may_be_used_only_that_file_is_lost(site, run, params, wish):
    """data:F-02 data:F-03 data:F-05"""
    record, said = run(params, altStageOut=wish)
    assert record["state"] == "failed", said
    assert stored(record) == {"p.root": "NEAR", "log.tgz": "LOGS"}
    assert not (site.root / "near" / hashed("user.alice", "o.root")).exists()


def test_a_job_may_force_another_storage(run):
    """data:F-04"""
    record, said = run({"allow_altstageout": False}, altStageOut="force")
    assert (record["state"], stored(record)["o.root"]) == ("finished", "NEAR"), said


def test_an_output_may_be_absent_where_the_job_says_so(run):
    """data:D-08"""
    more = {"jobPars": "-c 'echo more > p.root'", "allowNoOutput": "o.root"}
    record, said = run({}, **more)
    assert (record["state"], stored(record)) == ("finished", {"p.root": "NEAR", "log.tgz": "LOGS"}), said


def test_after_an_input_that_cannot_be_had_the_log_is_stored(site, run):
    """data:G-06"""
    (site.root / "near" / hashed("user.alice", "a.root")).unlink()
    record, said = run({})
    assert (record["state"], record["error"]["number"]) == ("failed", 1331), said
    assert stored(record) == {"log.tgz": "LOGS"}


@pytest.mark.parametrize(("required", "state"), [(True, "failed"), (False, "finished")])
def test_a_log_that_cannot_be_stored_costs_the_job_what_the_site_says(site, run, required, state):
    """data:G-02"""
    (site.root / "logs").write_text("no directory")
    record, said = run({"allow_altstageout": True}, required)
    assert (record["state"], stored(record)) == (state, {"o.root": "NEAR", "p.root": "NEAR"}), said
