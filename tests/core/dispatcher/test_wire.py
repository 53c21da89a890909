"""A described job as PanDA's."""

from __future__ import annotations

import json
import shlex

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.dispatcher.config import ServedQueue
from pilot_core.dispatcher.wire import Order, attempt_of, labels_for, leased, read_order, scope_of
from pilot_core.model.wire import BadMessage

QUEUE = ServedQueue()
WHOLE = {
    "id": "fit",
    "command": ["run", "a b", "$X"],
    "environment": {"NAME": "value"},
    "inputs": [{"source": "https://h/in.txt", "size": 5, "checksum": "adler32:1a2b", "scope": "s"}, "https://h/two"],
    "outputs": [
        "a.out",
        {"name": "b.out", "destination": "https://h/kept/", "optional": True},
        {"name": "c.out", "always": True},
    ],
    "log": {"guid": "g-log"},
    "needs": {"cores": 4, "memory": 1_500_000, "disk": "1 GB", "gpus": 1},
    "limits": {"wall": 90.5, "looping": "30 min"},
    "image": "docker://i",
    "task": "4711",
    "label": "user",
    "options": {"data.attempts": 3},
    "wire": {"release": "1.2"},
}


def order(description: object, queue: ServedQueue = QUEUE, **more) -> Order:
    return read_order({"description": description, **more}, queue, ("LOCAL", "FAR"), "jobs[0]")


def wire(description: object, **more) -> dict:
    made = order(description, **more)
    return json.loads(leased(made.wire, 7, 2, len(made.outputs), debug=False, heartbeat_s=30.0))


def problems(description: object, queue: ServedQueue = QUEUE, **more) -> dict[str, str]:
    with pytest.raises(BadMessage) as refused:
        order(description, queue, **more)
    return {each.path.removeprefix("jobs[0]."): each.text for each in refused.value.problems}


def test_a_whole_job():
    job = wire(WHOLE, priority=9)
    lists = {name: job[name] for name in ("inFiles", "scopeIn", "fsize", "checksum", "GUID", "outFiles", "scopeOut")}
    assert lists == {
        "inFiles": "in.txt,two",
        "scopeIn": "s,NULL",
        "fsize": "5,NULL",
        "checksum": "ad:00001a2b,NULL",
        "GUID": "NULL,NULL",
        "outFiles": "a.out,b.out,c.out,fit.log.tar.gz",
        "scopeOut": "7.2,7.2,7.2",
    }
    assert (job["PandaID"], job["attemptNr"], job["scopeLog"], job["logFile"]) == (7, 2, "7.2", "fit.log.tar.gz")
    assert job["ddmEndPointOut"] == "LOCAL,LOCAL,LOCAL,LOCAL"
    assert job["sources"] == {"in.txt": "https://h/in.txt", "two": "https://h/two"}
    assert job["destinations"] == {"b.out": "https://h/kept/b.out"}
    assert (job["optional"], job["always"], job["allowNoOutput"]) == (["b.out"], ["c.out"], "b.out")
    limits = ("coreCount", "minRamCount", "maxDiskCount", "maxWalltime", "loopingLimit", "gpus", "resource_type")
    assert [job[name] for name in limits] == [4, 2, 1000, 91, 1800, 1, "MCORE"]
    assert (job["taskID"], job["prodSourceLabel"], job["currentPriority"]) == (4711, "user", 9)
    assert (job["container_name"], job["logGUID"], job["release"]) == ("docker://i", "g-log", "1.2")
    assert (job["environment"], job["options"]) == ({"NAME": "value"}, {"data.attempts": 3})


def test_what_jobs_are_chosen_by():
    made = order(WHOLE, count=5, priority=3)
    assert (made.name, made.label, made.resource, made.count, made.priority) == ("fit", "user", "MCORE", 5, 3)
    assert (made.memory_mb, made.disk_mb, made.wall_s) == (2, 1000, 91)
    assert (made.outputs, made.required) == (("a.out", "b.out", "c.out"), ("a.out", "c.out"))


def test_what_is_not_said_is_not_set():
    job = wire({"command": ["true"]})
    unset = ("minRamCount", "maxDiskCount", "maxWalltime", "taskID", "jobsetID")
    assert {job[name] for name in unset} == {"NULL"}
    assert (job["inFiles"], job["outFiles"], job["scopeOut"], job["logFile"]) == ("", "", "", "")
    extra = {"environment", "sources", "destinations", "optional", "always", "options", "gpus", "loopingLimit", "debug"}
    assert not extra & job.keys()


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=8), max_size=4))
def test_arguments_survive_the_shell(arguments):
    job = wire({"command": ["x", *arguments]})
    assert shlex.split(job["jobPars"]) == arguments
    assert job["jobPars"] not in ("NULL", "None")


def test_a_script_is_the_shells():
    job = wire({"script": "echo 'a'\nexit 3"})
    assert (job["transformation"], shlex.split(job["jobPars"])) == ("/bin/sh", ["-c", "echo 'a'\nexit 3"])


def test_debug_is_told_at_once():
    assert json.loads(leased(order(WHOLE).wire, 1, 1, 3, debug=True, heartbeat_s=1.5))["debug"] == "True"


def test_a_label_of_nobody_does_not_hide_a_job():
    job = wire({"command": ["x"], "label": "my-label"})
    assert (job["prodSourceLabel"], job["processingType"]) == ("managed", "my-label")


@pytest.mark.parametrize(("asked", "status", "labels"), [
    ("", "online", {"managed", "test", "prod_test", "install"}),
    ("managed", "online", {"managed", "test", "prod_test", "install"}),
    ("user", "online", {"user", "panda", "install"}),
    ("unified", "online", {"managed", "test", "prod_test", "install", "user", "panda"}),
    ("ptest", "online", {"ptest"}),
    ("managed", "test", {"prod_test", "install", "test"}),
    ("rc_test", "test", {"rc_test"}),
])  # fmt: skip
def test_which_labels_a_pilot_gets(asked, status, labels):
    assert set(labels_for(asked, status)) == labels


def test_files_by_path_are_refused_with_the_way_out():
    described = {
        "command": ["x"],
        "inputs": ["data/in.txt", {"name": "i"}],
        "outputs": [{"name": "o", "destination": "stored/"}],
        "log": {"destination": "/logs/"},
    }
    told = problems(described)
    assert told["description.inputs[0].source"].startswith("'data/in.txt' is a path of the machine")
    assert "pilot submit" in told["description.inputs[0].source"]
    assert told["description.inputs[1]"].startswith("has no 'source'")
    assert "the queue's storage takes it" in told["description.outputs[0].destination"]
    known = {**described, "inputs": [{"name": "i", "scope": "of.a.catalogue"}]}
    assert not [path for path in problems(known) if "inputs" in path]
    assert "description.log.destination" in told


def test_what_no_pilot_of_the_queue_may_run_is_refused():
    queue = evolve(QUEUE, name="q", cores=2, memory_b=1000, disk_b=1000, wall_s=10.0)
    told = problems(WHOLE, queue)
    paths = {"needs.cores", "needs.memory", "needs.disk", "limits.wall"}
    assert told.keys() == {f"description.{path}" for path in paths}
    assert told["description.needs.cores"] == "asks for 4; queue 'q' has 2"


@pytest.mark.parametrize("name", ["a,b", "NULL", "None", " a"])
def test_names_that_cannot_travel_are_refused(name):
    assert "cannot travel" in problems({"command": ["x"], "outputs": [name]})["description.outputs[0].name"]


def test_a_storage_that_is_not_here_is_refused():
    told = problems({"command": ["x"], "outputs": [{"name": "o", "endpoint": "FARR"}]})
    assert "did you mean 'FAR'" in told["description.outputs[0].endpoint"]


@pytest.mark.parametrize(("raw", "path"), [
    ({}, "description"),
    ({"description": 5}, "description"),
    ({"description": {"command": ["x"]}, "count": 0}, "count"),
    ({"description": {"command": ["x"]}, "cuont": 2}, "cuont"),
    ({"description": {"comand": ["x"]}}, "description.comand"),
    ({"description": {"command": ["x"], "wire": {"PandaID": 5}}}, "description.wire.PandaID"),
    ({"description": {"command": ["x"], "environment": {"A": float("nan")}}}, "description"),
])  # fmt: skip
def test_each_problem_has_its_path(raw, path):
    with pytest.raises(BadMessage) as refused:
        read_order(raw, QUEUE, ("LOCAL",), "jobs[3]")
    assert f"jobs[3].{path}" in {each.path for each in refused.value.problems}


def test_scopes():
    assert attempt_of(scope_of(12, 3)) == (12, 3)
    assert [attempt_of(scope) for scope in ("12", "12.", "a.1", "1.2.3", "-1.1", "inputs", "²._")] == [None] * 7
