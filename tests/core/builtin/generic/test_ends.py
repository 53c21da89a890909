from __future__ import annotations

import json

import pytest

from pilot_core.builtin.generic import REPORT
from pilot_core.builtin.generic.experiment import Experiment
from pilot_core.model.failure import Where, failure_of
from pilot_core.model.payload import Outcome
from pilot_core.sdk import Job, Party

ENDS = """
exit_codes:
  - {codes: [3, 4], class: input, cause: The input is empty, remedy: Look at it, fault: storage, retry: elsewhere}
"""


@pytest.fixture
def diagnose(profile, tmp_path):
    experiment = Experiment(profile(ENDS))
    return lambda **ended: experiment.pilot_payload_diagnose(Job(id="1"), Outcome(**ended), tmp_path)


def test_an_exit_code_says_what_happened(diagnose):
    (error,) = diagnose(exit_code=4)
    failure = failure_of(error)
    assert (failure.kind, failure.fault, failure.cause) == ("input", Party.STORAGE, "The input is empty")
    assert (failure.advice.where, error.facts["trf"]) == (Where.OTHER, 4)


@pytest.mark.parametrize("ended", [{"exit_code": 0}, {"exit_code": 5}, {"signal": 3}, {}])
def test_other_ends_say_nothing(diagnose, ended):
    assert diagnose(**ended) == []


def test_the_payloads_own_word_counts_more(diagnose, tmp_path):
    (tmp_path / REPORT).write_text(json.dumps({"error_code": 42, "error_diag": "its own"}))
    (error,) = diagnose(exit_code=3)
    assert error.detail == "its own"
