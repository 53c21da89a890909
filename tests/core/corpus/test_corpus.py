"""The corpus keeps its promises, and the core's patterns tell its classes well, those they were not written for too."""

from __future__ import annotations

import pytest

from pilot_core.builtin.failures import pilot_payload_patterns
from pilot_core.control.patterns import read_patterns
from pilot_core.model.failure import CLASSES

from .cases import Judge, cases, scores

CASES = cases()


def test_there_are_enough_failures_half_of_them_real_and_a_third_held_out() -> None:
    assert len(CASES) >= 200
    assert sum(case.real for case in CASES) >= len(CASES) / 2
    assert 0.25 < sum(case.held_out for case in CASES) / len(CASES) < 0.4
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.source and case.kind in CLASSES and case.exit for case in CASES)


@pytest.mark.parametrize(("held_out", "least"), [(False, 0.97), (True, 0.9)])
def test_failures_are_told_apart(tmp_path, held_out, least) -> None:
    judge = Judge(tmp_path)
    judged = [(case, judge.failure(case).kind) for case in CASES if case.held_out is held_out]
    *_, every = scores(judged)
    assert every.precision >= least
    assert every.recall >= least


def test_each_pattern_has_a_name_of_its_own_and_an_example() -> None:
    patterns = [each for path in pilot_payload_patterns() for each in read_patterns(path)]
    assert len({each.name for each in patterns}) == len(patterns)
    assert [each.name for each in patterns if not each.examples] == []


def test_a_failure_tells_where_it_was_seen(tmp_path) -> None:
    case = next(each for each in CASES if each.name == "memory-behind-retry")
    failure = Judge(tmp_path).failure(case)
    assert (failure.kind, failure.acronym, failure.pattern) == ("memory", "PAYLOADOUTOFMEMORY", "memory-python")
    assert failure.evidence is not None
    assert (failure.evidence.file, failure.evidence.line, failure.evidence.text) == ("payload.stderr", 5, "MemoryError")
    assert failure.tail.endswith("MemoryError")
    assert "refused" in failure.also
    assert (failure.advice.where.value, failure.advice.memory_factor) == ("same site", 1.5)
