"""Jobs of the wire: what is read, what is forgiven, what is refused and how it is said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_core.builtin.panda.reading import INPUT_LISTS, is_unset, read_job, whole
from pilot_core.model.files import Checksum, Replica
from pilot_core.model.queue import Resources
from pilot_core.model.records import pack, unpack
from pilot_core.sdk import Job
from pilot_core.sdk.wire import BadMessage


def problems(raw):
    with pytest.raises(BadMessage) as bad:
        read_job(raw)
    return {problem.path: problem.text for problem in bad.value.problems}


# --- the whole ----------------------------------------------------------------------------------------------------


def test_a_job_is_read_with_all_that_it_says(wire_job):
    job = read_job(wire_job(container_name="img.sif"), "https://panda.example")
    assert (job.id, job.attempt, job.task, job.label) == ("7100000001", 1, "40222333", "managed")
    assert (job.transformation, job.parameters, job.arguments) == ("run.py", "--in=a.root,b.root -n 5", ())
    assert job.needs == Resources(cores=8, memory_b=14_400_000_000, disk_b=1_310_000_000)
    assert (job.wall_limit_s, job.looping_limit_s, job.image) == (18900.0, None, "img.sif")
    assert job.origin == "https://panda.example"
    first, second = job.inputs
    assert (first.lfn, first.scope, first.guid, first.dataset) == ("a.root", "s1", "g1", "s1:in")
    assert (first.size_b, first.checksum) == (412345678, Checksum("adler32", "0a1b2c3d"))
    assert (second.guid, second.size_b, second.checksum, second.endpoint) == ("", None, None, "SITE_DATA")


def test_the_log_in_the_middle_takes_no_scope_of_the_outputs(wire_job):
    """server:D-05"""
    job = read_job(wire_job())
    told = [(file.lfn, file.scope, file.endpoint, file.dataset) for file in job.outputs]
    assert told == [("o1.root", "so1", "E1", "d1"), ("o2.root", "so2", "E2", "d2")]
    assert (job.log.lfn, job.log.scope, job.log.endpoint) == ("log.tgz", "sl", "EL")
    assert job.log.guid == "2b1f9a5e-7c0d-4f57-8a5d-9b8f3f3b7c10"


def test_every_output_gets_a_guid_that_stays_with_the_attempt(wire_job):
    guids = [file.guid for file in read_job(wire_job()).outputs]
    assert len({*guids}) == 2
    assert all(len(guid) == 36 for guid in guids)
    assert guids == [file.guid for file in read_job(wire_job()).outputs]
    assert guids[0] != read_job(wire_job(attemptNr=2)).outputs[0].guid


def test_a_raw_job_and_what_was_read_survive_a_journal(wire_job):
    raw = wire_job(environment={"A": "b"}, options={"looping.check": False})
    job = read_job(json.loads(json.dumps(raw)))
    assert job == read_job(raw) == unpack(Job, json.loads(json.dumps(pack(job))))


def test_the_keys_of_our_own_dispatcher_are_read(wire_job):
    own = {
        "environment": {"GREETING": "hello, world"},
        "sources": {"a.root": "/storage/inputs/ab/a.root"},
        "destinations": {"o1.root": "/data/out/o1.root", "log.tgz": "/data/log.tgz"},
        "optional": ["o1.root"],
        "always": ["o2.root"],
        "options": {"payload.grace_s": 5},
        "gpus": 2,
        "loopingLimit": 600,
    }
    job = read_job(wire_job(**own), "https://h:1/")
    assert job.environment == {"GREETING": "hello, world"}
    assert job.inputs[0].replicas == (Replica("https://h:1/storage/inputs/ab/a.root", "SITE_DATA"),)
    assert job.inputs[1].replicas == ()
    assert job.outputs[0].replicas == (Replica("/data/out/o1.root", "E1"),)
    assert job.log.replicas == (Replica("/data/log.tgz", "EL"),)
    assert [(file.optional, file.always) for file in job.outputs] == [(True, False), (False, True)]
    assert (job.options, job.needs.gpu_count, job.looping_limit_s) == ({"payload.grace_s": 5}, 2, 600.0)


# --- what is not there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", ["", "NULL", "None", None])
def test_a_job_without_inputs_runs(wire_job, nothing):
    """server:D-01"""
    assert read_job(wire_job(**dict.fromkeys(("inFiles", *INPUT_LISTS), nothing))).inputs == ()


@pytest.mark.parametrize("nothing", ["", "NULL", None])
def test_a_job_without_a_log_has_outputs_alone(wire_job, nothing):
    """server:D-02"""
    job = read_job(wire_job(logFile=nothing, outFiles="o1.root,o2.root", scopeLog=nothing))
    assert (job.log, [file.scope for file in job.outputs]) == (None, ["so1", "so2"])


def test_a_job_may_have_a_log_alone(wire_job):
    """server:D-03"""
    job = read_job(wire_job(outFiles="log.tgz", scopeOut="", ddmEndPointOut="E"))
    assert (job.outputs, job.log.scope, job.log.endpoint) == ((), "sl", "E")


def test_a_job_may_leave_nothing_at_all(wire_job):
    """server:D-04"""
    job = read_job(wire_job(outFiles="", scopeOut="", logFile="", scopeLog="NULL"))
    assert (job.outputs, job.log) == ((), None)


def test_numbers_that_are_not_set_are_defaults(wire_job):
    """server:D-07"""
    names = ("maxWalltime", "maxCpuCount", "minRamCount", "maxDiskCount", "taskID", "jobsetID", "coreCount")
    job = read_job(wire_job(**dict.fromkeys(names, "NULL")))
    assert (job.wall_limit_s, job.needs, job.task) == (None, Resources(), "")


def test_numbers_may_be_written_as_text_and_nonsense_is_left_out(wire_job):
    texts = {"PandaID": "12", "attemptNr": "3", "coreCount": "4.0", "fsize": "7,x", "StatusCode": "0"}
    job = read_job(wire_job(**texts, maxDiskCount="plenty", minRamCount=-1, maxWalltime=-5))
    assert (job.id, job.attempt) == ("12", 3)
    assert job.needs == Resources(cores=4)
    assert [file.size_b for file in job.inputs] == [7, None]
    assert job.wall_limit_s is None


@pytest.mark.parametrize("value", ["a lot", [1], {"a": 1}, True, 7.5, "7.5", "1e9", float("nan")], ids=repr)
def test_a_limit_that_is_no_number_is_a_problem(wire_job, value):
    names = ("coreCount", "minRamCount", "maxWalltime")
    told = problems(wire_job(**dict.fromkeys(names, value)))
    assert told.keys() == {*names}
    assert all(each.startswith("wants a whole number, not ") for each in told.values())


def test_blanks_around_names_are_none_of_theirs(wire_job):
    job = read_job(wire_job(inFiles="a.root, b.root ", outFiles=" x.root , log.tgz", logFile="log.tgz", scopeOut="s"))
    assert [file.lfn for file in job.inputs] == ["a.root", "b.root"]
    assert ([file.lfn for file in job.outputs], job.log.lfn) == (["x.root"], "log.tgz")


def test_attempt_0_is_legal(wire_job):
    """server:D-23"""
    assert read_job(wire_job(attemptNr=0)).attempt == 0


def test_no_cores_are_one(wire_job):
    assert read_job(wire_job(coreCount=0)).needs.cores == 1


def test_endpoints_may_be_unknown(wire_job):
    """server:D-24"""
    job = read_job(wire_job(ddmEndPointOut=""))
    assert {file.endpoint for file in (*job.outputs, job.log)} == {""}


def test_an_endpoint_may_be_unknown_for_one_file(wire_job):
    job = read_job(wire_job(ddmEndPointOut="E1,,E2"))
    assert [file.endpoint for file in (*job.outputs, job.log)] == ["E1", "E2", ""]


def test_unknown_keys_and_labels_do_no_harm(wire_job):
    """server:D-21, server:D-25"""
    job = read_job(wire_job(prodSourceLabel="foo", resource_type="Undefined", brandNew={"x": [1]}))
    assert job.label == "foo"


@pytest.mark.parametrize("off", [False, "False"])
def test_the_looping_check_can_be_switched_off(wire_job, off):
    """server:D-20"""
    assert read_job(wire_job(loopingCheck=off)).options == {"looping.check": False}
    assert read_job(wire_job(loopingCheck="True")).options == {}


# --- lists --------------------------------------------------------------------------------------------------------


def test_of_an_input_listed_twice_the_first_counts(wire_job):
    """server:D-06"""
    job = read_job(wire_job(inFiles="a.root,a.root", GUID="first,second"))
    assert [(file.lfn, file.guid) for file in job.inputs] == [("a.root", "first")]


def test_a_list_that_is_short_leaves_the_rest_unset(wire_job, caplog):
    """server:D-08"""
    job = read_job(wire_job(checksum="ad:0a1b2c3d"))
    assert [file.checksum is None for file in job.inputs] == [False, True]
    assert "checksum has 1 elements, inFiles has 2" in caplog.text


def test_a_list_that_is_long_is_worth_a_warning(wire_job, caplog):
    assert len(read_job(wire_job(GUID="a,b,c")).inputs) == 2
    assert "GUID has 3 elements, inFiles has 2" in caplog.text


def test_outputs_without_scopes_are_refused(wire_job):
    """server:D-09 (the way in which it is reported is the communicator's)"""
    assert problems(wire_job(scopeOut="")) == {
        "scopeOut[0]": "is missing: the output 'o1.root' has no scope",
        "scopeOut[1]": "is missing: the output 'o2.root' has no scope",
    }
    assert [*problems(wire_job(scopeOut="so1"))] == ["scopeOut[1]"]


@pytest.mark.parametrize("evil", ["../../etc/x", "/abs", "new\nline", "..", "-rf", "a\0b", "half \ud800"])
@pytest.mark.parametrize("field", ["inFiles", "outFiles"])
def test_names_that_are_no_names_are_refused(wire_job, field, evil):
    """server:D-10"""
    told = problems(wire_job(**{field: f"log.tgz,{evil}", "logFile": "log.tgz"}))
    assert "cannot name a file" in told[f"{field}[1]"]


def test_a_name_that_is_too_long_is_refused(wire_job):
    assert "longer than 255 bytes" in problems(wire_job(inFiles="x" * 256))["inFiles[0]"]


def test_prefixes_of_names_are_understood(wire_job):
    job = read_job(wire_job(inFiles="zip://pack.tar,gs://bucket/deep/c.root"))
    assert [file.lfn for file in job.inputs] == ["pack.tar", "c.root"]
    assert [file.replicas for file in job.inputs] == [(), (Replica("gs://bucket/deep/c.root", "SITE_DATA"),)]
    assert "inFiles[0]" in problems(wire_job(inFiles="zip://../up"))
    assert "names no file" in problems(wire_job(inFiles="gs://bucket/"))["inFiles[0]"]


@pytest.mark.parametrize(
    ("written", "kind", "value"),
    [
        ("ad:1a2B", "adler32", "00001a2b"),
        ("adler32:0000001a", "adler32", "0000001a"),
        ("md5:" + "A" * 32, "md5", "a" * 32),
        ("md:" + "b" * 32, "md5", "b" * 32),
        ("c" * 32, "md5", "c" * 32),
        ("01020304", "adler32", "01020304"),
    ],
)
def test_checksums_are_understood_in_every_spelling(wire_job, written, kind, value):
    """server:D-11 (the reading of it)"""
    assert read_job(wire_job(checksum=f"{written},NULL")).inputs[0].checksum == Checksum(kind, value)


def test_outputs_that_may_be_missing_are_marked(wire_job):
    job = read_job(wire_job(allowNoOutput="o2.root,other"))
    assert [file.optional for file in job.outputs] == [False, True]


@pytest.mark.parametrize(
    "text", ["-a \"x 'y' $HOME\"", "-p 'python%20ana.py%20%25IN'", "a;b\t&& c", "é ü 漢", 'open "', "x" * 100_000]
)
def test_not_a_byte_of_the_arguments_is_changed(wire_job, text):
    """server:D-12 (up to the job), server:D-14"""
    assert read_job(wire_job(jobPars=text)).parameters == text
    assert read_job(wire_job(jobPars="LS1pbj1AdG1waW5fY29udA==")).parameters == "LS1pbj1AdG1waW5fY29udA=="


# --- all problems at once -----------------------------------------------------------------------------------------


def test_everything_that_is_wrong_is_said_at_once(wire_job):
    broken = wire_job(
        transformation="NULL",
        attemptNr="second",
        coreCount=-1,
        inFiles="a.root,b/c",
        checksum="ad:xyz,NULL",
        scopeIn="s1,s\x01",
        scopeOut="so1",
        jobPars="a\0b",
        environment={"1x": "y", "OK": 3.5},
        sources=["a"],
        logFile="other.tgz",
    )
    told = problems(broken)
    assert {*told} == {
        "transformation",
        "attemptNr",
        "coreCount",
        "inFiles[1]",
        "checksum[0]",
        "scopeIn[1]",
        "scopeOut[1]",
        "scopeOut[2]",
        "jobPars",
        "environment",
        "environment.OK",
        "sources",
        "logFile",
    }


def test_a_message_without_an_id_says_so(wire_job):
    raw = wire_job()
    del raw["PandaID"]
    assert problems(raw) == {"PandaID": "is missing"}
    for bad in (0, -3, "x", True, 1.5, [1]):
        assert [*problems(wire_job(PandaID=bad))] == ["PandaID"]


def test_a_job_that_the_server_could_not_complete_is_refused(wire_job):
    assert "could not complete" in problems(wire_job(StatusCode=30))["StatusCode"]


def test_the_problems_name_the_job(wire_job):
    with pytest.raises(BadMessage, match=r"^job 7100000001: inFiles\[0\]"):
        read_job(wire_job(inFiles=".."))


# --- for any lists ------------------------------------------------------------------------------------------------

NAMES = st.text("abcxyz0189._", min_size=1, max_size=8).filter(lambda name: name.strip(".") and not is_unset(name))
CELLS = st.one_of(st.just("NULL"), st.just(""), st.text("abc:0189_ ", min_size=1, max_size=6))


@given(st.lists(st.tuples(NAMES, CELLS, CELLS), min_size=1, max_size=8), st.integers(0, 10))
@settings(max_examples=150, deadline=None)
def test_inputs_keep_their_order_and_their_own_attributes(rows, kept):
    names, guids, scopes = zip(*rows, strict=True)
    raw = {"PandaID": 1, "transformation": "t", "inFiles": ",".join(names), "GUID": ",".join(guids)}
    job = read_job(raw | {"scopeIn": ",".join(scopes[:kept])})
    assert [file.lfn for file in job.inputs] == list(dict.fromkeys(names))
    for file in job.inputs:
        first = names.index(file.lfn)
        scope = scopes[first] if first < kept else ""
        told = ("" if is_unset(cell) else cell.strip() for cell in (guids[first], scope))
        assert (file.guid, file.scope) == tuple(told)


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True), st.data())
@settings(max_examples=150, deadline=None)
def test_scopes_of_outputs_pass_over_the_log_wherever_it_is(names, data):
    log = data.draw(st.sampled_from(names))
    scopes = [f"of_{name}" for name in names if name != log]
    raw = {"PandaID": 1, "transformation": "t", "outFiles": ",".join(names), "logFile": log, "scopeLog": "its_own"}
    job = read_job(raw | {"scopeOut": ",".join(scopes)})
    assert [(file.lfn, file.scope) for file in job.outputs] == [(n, f"of_{n}") for n in names if n != log]
    assert (job.log.lfn, job.log.scope) == (log, "its_own")
    missing = data.draw(st.integers(0, len(scopes)))
    if missing:
        assert len(problems(raw | {"scopeOut": ",".join(scopes[missing:])})) == missing


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("PandaID", "attemptNr", "jobPars", "inFiles", "GUID", "fsize", "checksum", "outFiles", "scopeOut", "logFile")
OWN_KEYS = ("environment", "sources", "destinations", "optional", "always", "options", "gpus", "StatusCode")


@given(st.dictionaries(st.sampled_from((*KEYS, *OWN_KEYS, "transformation", "coreCount", "loopingCheck")), JSON))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_in_is_a_job_or_a_bad_message(raw):
    try:
        job_id = int(read_job(raw).id)
    except BadMessage as bad:
        job_id = len([problem for problem in bad.problems if problem.text])
    assert job_id > 0


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("7", 7),
        (" -7 ", -7),
        (7.0, 7),
        (7, 7),
        (7.5, None),
        ("7.5", None),
        ("7.0", 7),
        (".0", None),
        (True, None),
        (None, None),
        ("\u0667", None),
    ],
)
def test_a_whole_number_is_known_when_it_is_seen(value, number):
    assert whole(value) == number


def test_twenty_thousand_inputs_are_read(wire_job):
    """server:T-15 (the reading of it)"""
    count = 20_000
    columns = {name: ",".join(["x"] * count) for name in ("scopeIn", "GUID", "ddmEndPointIn", "realDatasetsIn")}
    names = ",".join(f"f{number}.root" for number in range(count))
    raw = wire_job(inFiles=names, fsize=",".join(["5"] * count), checksum=",".join(["ad:0a1b2c3d"] * count), **columns)
    assert len(read_job(raw).inputs) == count
