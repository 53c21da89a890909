"""What a running pilot says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pilot_core.clock import Clock
from pilot_core.machine.agent import Agent
from pilot_core.machine.course import Course

Moves = Mapping[str, Sequence[Mapping[str, object]]]
"""The transfers under way, by job."""


def status_of(
    agent: Agent,
    clock: Clock,
    left_behind: tuple[str, ...],
    *,
    queue: str = "",
    moves: Moves | None = None,
    node: Mapping[str, object] | None = None,
    server: Mapping[str, object] | None = None,
) -> Mapping[str, object]:
    """The pilot and its jobs, as JSON; ``server`` says how long that has been silent, if it is."""
    pilot = agent.pilot
    return {
        "mode": pilot.mode,
        "queue": queue,
        "slot": {"cores": pilot.slot.cores, "memory_b": pilot.slot.memory_b, "gpus": list(pilot.slot.gpus)},
        "node": node or {},
        "taken": pilot.taken,
        "finished": pilot.finished,
        "failed": pilot.failed,
        "server": server,
        "reason": str(pilot.reason) if pilot.reason else None,
        "jobs": [_job_status(course, clock, moves or {}) for course in agent.courses.values()],
        "left_behind": list(left_behind),
    }


def _job_status(course: Course, clock: Clock, moves: Moves) -> Mapping[str, object]:
    job = course.job
    return {
        "id": job.id,
        "attempt": job.attempt,
        "phase": job.phase,
        "step": course.step.name if course.step else course.stand,
        "waits_for_slot": course.stand == "slot",
        "since": job.times.get(job.phase),
        "running_s": max(clock.now() - job.times.get(job.phase, clock.now()), 0.0),
        "cores": job.needs.cores,
        "pid": job.notes.get("pid"),
        "cpu_s": job.usage.cpu_s,
        "rss_b": job.usage.rss_b,
        "stored": sorted(job.stored),
        "transfers": list(moves.get(job.id, ())),
        "error": str(job.error) if job.error else None,
    }
