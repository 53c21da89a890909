"""The work that the benchmark measures, as a program: ``python -I -S load.py ROUNDS`` prints the seconds of each round.

A round is what jobs in an interpreted language do: whole and real numbers, lists, dictionaries, digests. It is the same
work for ever: a score is comparable only if nothing here changes.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from time import process_time


def work() -> int:
    """One round."""
    return _whole(150_000) + _real(120_000) + _memory(40_000) + _digest(3_000)


def _whole(count: int) -> int:
    state = 1
    for _ in range(count):
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    return state


def _real(count: int) -> int:
    x = 0.5
    for _ in range(count):
        x = 3.7 * x * (1.0 - x)
    return int(x * 1000)


def _memory(count: int) -> int:
    table = {number * 7919 % 1_000_003: [number] * 4 for number in range(count)}
    return sum(len(table[key]) for key in sorted(table))


def _digest(count: int) -> int:
    data = bytes(1024)
    for _ in range(count):
        data = sha256(data).digest() * 32
    return data[0]


def main(rounds: int) -> None:
    """Work, after one round that is not counted."""
    work()
    for _ in range(rounds):
        began_s = process_time()
        work()
        sys.stdout.write(f"{process_time() - began_s}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
