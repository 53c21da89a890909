"""The benchmarks."""

from __future__ import annotations

import asyncio

import pytest

from pilot_core.api.services import BenchmarkFailed, abenchmark, benchmark, benchmark_with


def test_a_score_is_rounds_in_a_second_of_cpu_time():
    done = benchmark(rounds=1)
    assert (done.copies, done.rounds, done.spread) == (1, 1, 0)
    assert done.score > 0
    assert 0 < done.busy <= 1


def test_copies_work_at_the_same_time_and_their_scores_add_up():
    done = asyncio.run(abenchmark(copies=2, rounds=2))
    assert (done.copies, done.rounds) == (2, 2)
    assert done.spread >= 0


@pytest.mark.parametrize(("said", "score"), [("HS: 1\\nscore 12.5 in all", 12.5), ("3e2", 300), ("-1", -1)])
def test_another_benchmark_prints_its_score_last(said, score):
    assert benchmark_with(["printf", said]) == score


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (["no-such-benchmark"], "no-such-benchmark cannot be run: No such file or directory"),
        (["sh", "-c", "echo 5; exit 3"], "sh ended with 3; a benchmark prints its score last"),
        (["echo", "none"], "echo printed no number; a benchmark prints its score last"),
        (["sleep", "60"], "sleep was not done after 0.1 s"),
    ],
)
def test_one_that_gives_no_number_says_why(command, why):
    with pytest.raises(BenchmarkFailed) as failed:
        benchmark_with(command, limit_s=0.1 if command[0] == "sleep" else 60)
    assert str(failed.value) == why
