"""What a job may say in place of its queue."""

from __future__ import annotations

import pytest

from pilot_core.config.layers import Rank
from pilot_core.infosys.overrides import overruled
from pilot_core.model.queue import Queue

QUEUE = Queue(
    name="q",
    container="box",
    params={"allow_wan": False, "acopytools": {"pr": ("x",), "pw": ("y",)}, "pilot_rss_grace": 10, "appdir": "/sw"},
)


def test_a_job_that_says_nothing_changes_nothing(caplog):
    for nothing in (None, "", {}):
        assert overruled(QUEUE, nothing, who="job 1") == (QUEUE, None)
    assert not caplog.records


@pytest.mark.parametrize(
    "said",
    [
        {"allow_wan": True, "acopytools": {"pr": ["z"]}},
        "{'allow_wan': True, 'acopytools': {'pr': ['z']}}",
        '{"allow_wan": true, "acopytools": {"pr": "z"}}',
    ],
    ids=("mapping", "literal", "json"),
)
def test_a_few_facts_are_the_jobs_to_set(said):
    """data:J-09"""
    queue, layer = overruled(QUEUE, said, who="job 1")
    assert queue.params == {**QUEUE.params, "allow_wan": True, "acopytools": {"pr": ("z",), "pw": ("y",)}}
    assert layer is None
    assert QUEUE.params["allow_wan"] is False


def test_graces_become_options():
    queue, layer = overruled(QUEUE, {"params": {"pilot_rss_grace": "50", "es_grace": 3}}, who="job 1")
    assert (queue.params["pilot_rss_grace"], queue.params["es_grace"]) == (50, 3)
    assert (layer.rank, layer.where, layer.values) == (Rank.QUEUE, "job 1", {"memory": {"grace": 1.5}})


def test_all_else_is_refused_by_name(caplog):
    """data:J-09"""
    said = {"container_options": "-B /", "copytools": {}, "params": {"own": 1}, "astorages": {}, "allow_wan": "perhaps"}
    assert overruled(QUEUE, said, who="job 1") == (QUEUE, None)
    refused = [record.getMessage() for record in caplog.records]
    assert [each.split(" may not set ")[1].split()[0] for each in refused if "may not" in each] == [
        "params.own",
        "container_options",
        "copytools",
        "astorages",
    ]
    assert any("allow_wan: 'perhaps' is left out" in each for each in refused)


def test_what_is_no_table_is_told_and_left_out(caplog):
    assert overruled(QUEUE, "{'allow_wan': __import__('os')}", who="job 1") == (QUEUE, None)
    assert "job 1: facts of its queue: " in caplog.text


def test_the_platform_is_the_jobs():
    assert overruled(QUEUE, None, who="job 1", platform="x86_64-el9")[0].params["cmtconfig"] == "x86_64-el9"
