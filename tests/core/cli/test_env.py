"""``pilot env``."""

from __future__ import annotations

import json


def test_people_get_readable_measures_and_programs_get_json(pilot):
    told = pilot("env", "--resource", "node").out
    assert told.splitlines()[0].split() == ["NAME", "VALUE", "FROM"]
    assert "slot.cores" in told
    values = json.loads(pilot("env", "--json", "--resource", "node").out)
    assert values["slot.memory_b"]["value"] > 0
    assert values["slot.memory_b"]["by"] in {"/proc/meminfo", "control group"}


def test_both_benchmarks_are_measured_when_asked_for(pilot):
    values = json.loads(pilot("env", "--json", "--benchmark", "--", "echo", "-5 or 12.25").out)
    assert values["benchmark.score"]["value"] > 0
    assert values["benchmark.command"] == {"value": 12.25, "by": "echo"}
    assert not any(name.startswith("benchmark") for name in json.loads(pilot("env", "--json").out))


def test_a_benchmark_without_a_score_is_told_in_one_sentence(pilot):
    said = pilot("env", "--", "true")
    assert (said.code, said.err) == (1, "pilot: true printed no number; a benchmark prints its score last\n")


def test_a_resource_that_is_not_there_is_named(pilot):
    said = pilot("env", "--resource", "nood")
    assert said.code == 2
    assert "did you mean 'node'?" in said.err
