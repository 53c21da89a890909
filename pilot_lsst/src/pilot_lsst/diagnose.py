"""What the end of a Rubin payload means: exit codes and words as data, and memory as a hint for the next attempt."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from signal import SIGKILL
from typing import Final

from pilot_core.sdk import Code, Job, Outcome, PilotError
from pilot_core.sdk.failures import End, meaning, read_ends
from pilot_core.sdk.wire import Fields, parse_plain

FAILURES: Final = Path(__file__).with_name("data") / "failures.yaml"
NEAR: Final = 0.8
"""Who is killed with this share of what was asked for in use was killed for it."""
ROOM: Final = 1.25
"""What the next attempt gets above the peak of this one."""
LEAST, MOST = 1.5, 10.0


def problems(job: Job, outcome: Outcome) -> list[PilotError]:
    """The meaning of the exit code; of a kill, if memory tells it."""
    if outcome.transform_code == 128 + SIGKILL:
        return memory_problem(job, outcome)
    return meaning(ends(), outcome)


@cache
def ends() -> tuple[End, ...]:
    """The exit codes of the pipelines and of the workflow service."""
    fields = Fields(parse_plain(FAILURES.read_bytes(), str(FAILURES)))
    found = read_ends(fields)
    fields.raise_problems(str(FAILURES))
    return found


def memory_problem(job: Job, outcome: Outcome) -> list[PilotError]:
    """That a killed payload wanted more memory than its job had asked for, and how much would do."""
    used = job.usage.ended(outcome.usage)
    asked_b, peak_b = job.needs.memory_b, used.pss_peak_b or used.rss_peak_b
    if job.errors or not asked_b or peak_b < NEAR * asked_b:
        return []
    factor = round(min(max(ROOM * peak_b / asked_b, LEAST), MOST), 2)
    told = f"{outcome} with {peak_b} B in use of {asked_b} B that the job asked for"
    facts = {"asked_b": asked_b, "peak_b": peak_b, "memory_factor": factor, "trf": outcome.transform_code}
    return [PilotError(Code.PAYLOADOUTOFMEMORY, told, **facts)]
