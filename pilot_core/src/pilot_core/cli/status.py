"""``pilot status``: what a running pilot and its jobs are doing, or what a dead one left."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pilot_core.agent.control import NoPilot
from pilot_core.cli.orders import describe, give
from pilot_core.cli.output import answer, columns, count, duration, size

__all__ = ["describe", "run"]

HEADINGS = ("JOB", "ATTEMPT", "PHASE", "STEP", "FOR", "PID", "CPU", "MEMORY", "STORED", "ERROR")


def run(arguments: Namespace) -> int:
    """Ask the pilot; without one, say what waits for ``pilot recover``, and end with 1."""
    try:
        told = give(arguments.workdir, "status")
    except NoPilot as nobody:
        left = left_in(arguments.workdir.absolute())
        told = {"mode": "gone", "why": str(nobody), "jobs": left}
        answer(arguments.json, told, "\n".join(_of_the_dead(arguments.workdir, nobody, left)))
        return 1
    answer(arguments.json, told, "\n".join(_of_the_living(told)))
    return 0


def left_in(root: Path) -> list[dict[str, object]]:
    """The jobs that ``pilot recover`` would take up, and how far they had come."""
    from pilot_core.agent.recover import left_jobs

    rows: list[dict[str, object]] = []
    for left in left_jobs(root):
        job = left.course.job if left.course else None
        named = left.control.name.removeprefix("PanDA_Pilot-").removesuffix(".control")
        state = f"cannot be taken up: {left.problem}" if left.problem else "not taken yet"
        rows.append({"id": job.id if job else named, "phase": str(job.phase) if job else state})
    return rows


def _of_the_dead(workdir: Path, nobody: NoPilot, left: list[dict[str, object]]) -> Iterator[str]:
    yield str(nobody)
    if left:
        yield f"{count(len(left), 'job')} left; `pilot recover {workdir}` brings them to their end:"
        yield columns(("JOB", "PHASE"), ([row["id"], row["phase"]] for row in left))


def _of_the_living(told: Mapping[str, Any]) -> Iterator[str]:
    slot = told["slot"]
    parts = [count(slot["cores"], "core")]
    parts += [size(slot["memory_b"])] if slot["memory_b"] else []
    parts += [count(len(slot["gpus"]), "GPU")] if slot["gpus"] else []
    yield f"the pilot is {told['mode']}: {told['finished']} finished, {told['failed']} failed"
    yield f"slot: {', '.join(parts)}"
    if server := told.get("server"):
        yield _silence(server)
    if told["reason"]:
        yield f"it ends because of {told['reason']}"
    if told["jobs"]:
        yield ""
        yield columns(HEADINGS, map(_row, told["jobs"]))
    for thread in told["left_behind"]:
        yield f"left behind: {thread}"


def _silence(server: Mapping[str, Any]) -> str:
    again = server["asks_again_s"]
    later = f"; it is asked for work again in {duration(again)}" if again is not None else ""
    return f"the server has not answered for {duration(server['silent_s'])}{later}, because {server['why']}"


def _row(job: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        job["id"],
        job["attempt"],
        job["phase"],
        "waits for the slot" if job["waits_for_slot"] else job["step"],
        duration(job["running_s"]),
        job["pid"],
        duration(job["cpu_s"]) if job["cpu_s"] else None,
        size(job["rss_b"]) if job["rss_b"] else None,
        ", ".join(job["stored"]),
        job["error"],
    )
