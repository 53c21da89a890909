"""The variables of payloads."""

from __future__ import annotations

from pilot_atlas.environment import dataset, patches
from pilot_core.sdk import FileSpec, Queue, Resources, Verb

from .jobs import a_job, analysis

QUEUE = Queue(name="Q", params={"panda_resource": "SITE_Q"})


def told(job):
    changes = patches(job, QUEUE)
    return {each.key: each.value for each in changes if each.verb is Verb.SET}, {
        each.key for each in changes if each.verb is Verb.UNSET
    }


def test_a_production_payload_is_told_who_it_is_and_how_many_cores_it_has():
    named, removed = told(a_job())
    assert named == {
        "TZ": "UTC",
        "PANDA_RESOURCE": "SITE_Q",
        "FRONTIER_ID": "[40222333_7100000001]",
        "CMSSW_VERSION": "[40222333_7100000001]",
        "PandaID": "7100000001",
        "PanDA_TaskID": "40222333",
        "PanDA_AttemptNr": "1",
        "RUCIO_APPID": "simul",
        "ATHENA_PROC_NUMBER": "8",
        "ATHENA_CORE_NUMBER": "8",
    }
    assert removed == {"RUCIO_ACCOUNT"}


def test_one_core_and_a_merge_are_not_told_of_cores():
    for job in (a_job(needs=Resources(cores=1)), a_job(transformation="HITSMerge_tf.py")):
        named, removed = told(job)
        assert {"ATHENA_PROC_NUMBER", "ATHENA_CORE_NUMBER"} <= removed
        assert not removed & named.keys()


def test_a_users_payload_gets_what_builds_need_and_no_tokens():
    named, removed = told(analysis())
    assert named["MAKEFLAGS"] == "-j1 QUICK=1 -l1"
    assert (named["ROOTCORE_NCPUS"], named["ROOT_TTREECACHE_SIZE"]) == ("1", "1")
    assert {"PANDA_AUTH_TOKEN", "OIDC_AUTH_TOKEN"} <= removed


def test_the_dataset_is_that_of_the_first_input_with_data():
    files = [FileSpec(lfn=name, dataset=name) for name in ("s:DBRelease.1", "panda.1.lib._2", "s:data", "s:other")]
    assert dataset(a_job(inputs=tuple(files))) == "s:data"
    assert dataset(a_job()) == ""
