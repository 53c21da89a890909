"""What only some jobs have: options in arguments, access, lists, steps, flags; nothing of it is lost on the way."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.builtin import lists
from pilot_core.builtin.panda.extras import ELSEWHERE, OVERRIDES, PACKED, STEP_NAMES, STEPS, TEXTS, limited
from pilot_core.builtin.panda.reading import read_job, truth
from pilot_core.builtin.places import outputs as places
from pilot_core.infosys.queue import limited_by
from pilot_core.model.queue import Queue
from pilot_core.model.records import pack, unpack
from pilot_core.sdk import Job
from pilot_core.sdk.wire import BadMessage

MERGED = "HITS._31.root.1"
RANGES = [f"{MERGED}.40-71-90-1-10", f"{MERGED}.40-72-90-2-10"]


def test_an_ordinary_job_has_no_extras(wire_job):
    assert len(read_job(wire_job()).extras) == 0


@pytest.mark.parametrize(("said", "limit_s", "left"), [("yes", 18900.0, {}), ("no", None, {})])
def test_a_site_knows_whether_a_wall_time_is_a_limit(wire_job, said, limit_s, left):
    job = limited(read_job(wire_job()), said)
    assert (job.wall_limit_s, job.extras.plain()) == (limit_s, left)


@pytest.mark.parametrize(("says", "limit_s"), [(True, 18900.0), (False, None), (None, None)])
def test_else_the_queue_says_whether_it_is_one(wire_job, says, limit_s):
    """pilot:G06"""
    job = limited(read_job(wire_job()), "queue")
    assert job.wall_limit_s is None
    assert limited_by(Queue(name="q", params={"job_maxwalltime": says}), job).wall_limit_s == limit_s


def test_a_job_without_a_wall_time_has_no_limit(wire_job):
    job = limited(read_job(wire_job(maxWalltime="NULL")), "queue")
    assert limited_by(Queue(name="q", params={"job_maxwalltime": True}), job).wall_limit_s is None


def test_what_a_job_says_of_another_storage(wire_job):
    said = read_job(wire_job(altStageOut="Force", nucleus="NUCLEUS_DATADISK")).extras.get(ELSEWHERE)
    assert said == {"wish": "force", "never": "NUCLEUS_DATADISK"}
    assert places.ELSEWHERE == ELSEWHERE


def test_the_options_in_arguments_reach_the_job(wire_job):
    """server:D-13, server:D-15"""
    hidden = "--containerImage=opt.sif --overwriteQueueData={'allow_wan': True} <ZIP_MAP>z:*.root</ZIP_MAP>"
    text = f'--in=a {hidden} -n "$N" '
    job = read_job(wire_job(jobPars=text, container_name="named.sif", outFiles="z,a.root,log.tgz"))
    assert (job.parameters, job.image) == ('--in=a -n "$N" ', "opt.sif")
    assert job.extras[OVERRIDES] == {"allow_wan": True}
    assert {file.lfn: file.members for file in job.outputs if file.members} == {"z": ("*.root",)}
    assert job == unpack(Job, json.loads(json.dumps(pack(job))))


def test_a_program_that_runs_containers_sees_the_image(wire_job):
    text = "-p x --containerImage=img:1"
    job = read_job(wire_job(jobPars=text, transformation="https://h/trf/user/runcontainer-00-01"))
    assert (job.parameters, job.image) == (text, "img:1")


@pytest.mark.parametrize(
    ("changes", "direct"),
    [
        ({}, []),
        ({"transferType": "direct"}, ["a.root", "c.root"]),
        ({"transformation": "https://h/trf/user/runGen-00"}, ["a.root", "c.root"]),
        ({"jobPars": "--accessmode=direct"}, ["a.root", "b.root", "c.root"]),
        ({"transferType": "direct", "jobPars": "--useLocalIO"}, []),
        ({"transferType": "direct", "inFiles": "a.tar.gz,raw.b,c.lib.tgz"}, []),
    ],
)
def test_inputs_that_may_be_read_where_they_lie_are_named(wire_job, changes, direct):
    wire = wire_job(**{"inFiles": "a.root,b.root,c.root", "prodDBlockToken": "NULL,local,NULL", **changes})
    assert [file.lfn for file in read_job(wire).inputs if file.direct] == direct


def test_archives_among_inputs_are_known_by_their_names(wire_job):
    job = read_job(wire_job(inFiles="zip://a.zip,b.root"))
    assert job.extras[PACKED] == ["a.zip"]
    assert [file.lfn for file in job.inputs] == ["a.zip", "b.root"]


def test_a_merging_job_finds_its_lists(wire_job):
    """server:D-22 (merge groups)"""
    text = f"--inputHITSFile=@inputFor_{MERGED} --autoConfiguration=everything --outputHITSFile={MERGED}"
    groups = f"inputFor_{MERGED}:{RANGES[0]},zip://{RANGES[1]}"
    job = read_job(wire_job(eventServiceMerge="True", jobPars=text, writeToFile=groups))
    assert job.parameters == f"@inputFor_{MERGED}.txt --outputHITSFile={MERGED}"
    assert job.extras[TEXTS] == {f"inputFor_{MERGED}.txt": "\n".join(("--inputHITSFile", *RANGES, ""))}


def test_a_list_is_not_taken_for_another_whose_name_goes_on(wire_job):
    text = "--one=@inputFor_X.10 --two='@inputFor_X.1' --three=@inputFor_X.1"
    job = read_job(wire_job(eventServiceMerge="True", jobPars=text, writeToFile="inputFor_X.1:a^inputFor_X.10:b"))
    assert job.parameters == "@inputFor_X.10.txt --two='@inputFor_X.1' @inputFor_X.1.txt"
    assert job.extras[TEXTS] == {"inputFor_X.1.txt": "--three\na\n", "inputFor_X.10.txt": "--one\nb\n"}


def test_lists_that_arguments_speak_of_are_kept_and_others_are_not(wire_job):
    """server:D-22 (a tmpin_ group)"""
    job = read_job(
        wire_job(jobPars="-i tmpin_cont --autoConfiguration=everything", writeToFile="tmpin_cont:a,b^tmpin_x:c")
    )
    assert job.parameters == "-i tmpin_cont --autoConfiguration=everything"
    assert job.extras[TEXTS] == {"tmpin_cont": "a\nb\n"}


@pytest.mark.parametrize("name", ["../x", "/abs", "", "a/b"])
def test_a_list_cannot_be_written_anywhere(wire_job, name):
    """server:D-10 (lists)"""
    with pytest.raises(BadMessage, match=r"writeToFile\[0\]"):
        read_job(wire_job(jobPars=f"x {name}", writeToFile=f"{name}:a"))


STEP = {"preprocess": {"command": "https://h/pre", "args": "-i x"}, "containerOptions": {"containerImage": "img:2"}}


@pytest.mark.parametrize("write", [dict, str])
def test_the_steps_of_a_job_are_kept(wire_job, write):
    """server:D-16 (what is read): mappings, and their texts in a form of old"""
    job = read_job(wire_job(**{name: write(step) for name, step in STEP.items()}, transformation="NULL"))
    assert (job.extras[STEPS], job.image, job.transformation) == (STEP, "img:2", "")
    assert read_job(wire_job(**STEP, container_name="img:1")).image == "img:1"


@pytest.mark.parametrize("wrong", ["{", "[1]", "__import__('os')", 7])
def test_a_step_that_makes_no_sense_is_named(wire_job, wrong):
    with pytest.raises(BadMessage, match="preprocess"):
        read_job(wire_job(preprocess=wrong))


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("True", True),
        ("yes", True),
        (1, True),
        ("False", False),
        ("none", False),
        (0, False),
        (None, False),
        ("7", None),
    ],
)
def test_flags_are_read_by_what_they_say(word, means):
    assert truth(word) is means


@pytest.mark.parametrize("word", [False, "False", "no", 0])
def test_looping_is_not_looked_for_where_the_job_says_so(wire_job, word):
    """server:D-20 (what is read)"""
    assert read_job(wire_job(loopingCheck=word)).options == {"looping.check": False}
    assert read_job(wire_job(loopingCheck="odd")).options == {}


SIGNS = """NULL : ^ , a b.root zip:// ../ / = -- @inputFor_ { } ' " \\ <ZIP_MAP> </ZIP_MAP> --overwriteQueueData"""
WORDS = st.sampled_from([*SIGNS.split(), "", " ", "\n", "\0", "--containerImage", "True", "{'a': 1}"])
TEXTS_OF_ALL_KINDS = st.lists(WORDS, max_size=12).map("".join)
ODD = st.one_of(
    TEXTS_OF_ALL_KINDS, st.none(), st.booleans(), st.integers(), st.floats(), st.just([1]), st.just({"a": 1})
)
KEYS = ("jobPars", "writeToFile", "prodDBlockToken", "inFiles", "transferType", "eventServiceMerge", *STEP_NAMES)


@given(st.dictionaries(st.sampled_from(KEYS), ODD))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_there_is_read_or_named(wire_job, changes):
    """Nothing raises but what names its place, and what is read can be journaled."""
    try:
        job = read_job(wire_job(**changes))
    except BadMessage as bad:
        named = {problem.path.partition("[")[0].partition(".")[0] for problem in bad.problems}
    else:
        named = set()
        assert job == unpack(Job, json.loads(json.dumps(pack(job))))
    assert named <= changes.keys() | {"scopeOut"}


def test_lists_are_written_beside_the_inputs_unless_they_are_there(wire_job, tmp_path):
    """server:D-22 (the writing)"""
    assert lists.TEXTS == TEXTS
    job = read_job(wire_job(jobPars="tmpin_a tmpin_b", writeToFile="tmpin_a:1^tmpin_b:2"))
    (tmp_path / "tmpin_a").write_text("of somebody else")
    assert lists.pilot_inputs_staged(job, tmp_path) == {"tmpin_b": "2\n"}
    assert lists.pilot_inputs_staged(read_job(wire_job()), tmp_path) == {}
