"""The corpus keeps its promises, and the core's patterns tell its classes well, those they were not written for too."""

from __future__ import annotations

import pytest

from pilot_core.builtin.failures import pilot_payload_patterns
from pilot_core.control.patterns import read_patterns
from pilot_core.model.failure import CLASSES

from .cases import PLACES, Judge, cases, noises, scores

CASES = cases()
NOISES = noises()


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


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("held_out", "least"), [(False, 0.96), (True, 0.8)])
def test_failures_are_told_apart_from_what_is_said_beside_them(tmp_path, place, held_out, least) -> None:
    judge, those = Judge(tmp_path), [case for case in CASES if case.held_out is held_out]
    kinds = [noise for noise in NOISES if noise.held_out is held_out]
    noisy = [kinds[number % len(kinds)].beside(case, place) for number, case in enumerate(those)]
    *_, every = scores([(case, judge.failure(case).kind) for case in noisy])
    assert every.precision >= least
    assert every.recall >= least


@pytest.mark.parametrize("name", ["tensorflow-cudart", "lsb-release"])
def test_one_harmless_line_changes_nothing(tmp_path, name) -> None:
    judge, noise = Judge(tmp_path), next(each for each in NOISES if each.name == name)
    assert [
        case.name for case in CASES if judge.failure(noise.beside(case, "before")).kind != judge.failure(case).kind
    ] == []


def test_there_is_much_noise_a_third_of_it_held_out() -> None:
    assert len({noise.name for noise in NOISES}) == len(NOISES) >= 60
    assert 0.25 < sum(noise.held_out for noise in NOISES) / len(NOISES) < 0.4
    assert all(noise.source and noise.text for noise in NOISES)


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
