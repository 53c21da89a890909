"""How well failures are told apart that no pattern was written for: ``python tests/bench/diagnosis.py``.

Of each class in the held-out third of the corpus: how many there are, what part of the claims is right (precision)
and what part of the cases is found (recall). Then the same for all of them with noise beside each, of kinds that are
held out as well. Nothing is asserted here.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "core" / "corpus"))

from cases import PLACES, Case, Judge, Score, cases, noises, scores


def main() -> None:
    """Judge each case that is held out, and print the scores."""
    held_out = [case for case in cases() if case.held_out]
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(Path(folder))
        judge.failure(held_out[0])
        began = time.perf_counter()
        judged = [(case, judge.failure(case).kind) for case in held_out]
        took_s = time.perf_counter() - began
        print(f"{'class':<18}{'cases':>6}{'precision':>11}{'recall':>8}")
        for score in scores(judged):
            print_score(score.kind, score)
        print_noisy(judge, held_out)
    print(f"one diagnosis takes {took_s / len(held_out) * 1000:.1f} ms")


def print_score(name: str, score: Score) -> None:
    """One line of the table."""
    print(f"{name:<18}{score.cases:>6}{score.precision:>11.2f}{score.recall:>8.2f}")


def print_noisy(judge: Judge, held_out: list[Case]) -> None:
    """Judge each case with a third of the kinds of noise that are held out, at each place."""
    kinds = [noise for noise in noises() if noise.held_out]
    for place in PLACES:
        noisy = [noise.beside(case, place) for at, case in enumerate(held_out) for noise in kinds[at % 3 :: 3]]
        judged = [(case, judge.failure(case).kind) for case in noisy]
        print_score(f"noise {place}", scores(judged)[-1])


if __name__ == "__main__":
    main()
