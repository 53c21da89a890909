"""What to do about a job that failed, or that waits in vain. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from pilot_core.dispatcher import leases
from pilot_core.errors import NoSuchCode, Retry, code
from pilot_core.model.failure import Where

OUT_OF_REACH: Final = "look whether pilots of this queue run and reach the dispatcher, then retry"
COSTS_SLOTS: Final = (
    "it was put back as often as it may: look whether the job itself costs its pilots their slots, then retry"
)
TWICE: Final = (
    "another batch job spoke for it as well and was refused: look whether pilots are started twice, then retry"
)
_RETRIES: Final = {Where.SAME.value: Retry.LATER, Where.OTHER.value: Retry.ELSEWHERE, Where.NEVER.value: Retry.COUNTED}
_UNITS: Final = {"memory_mb": "MB of memory", "disk_mb": "MB of disk", "wall_s": "s of time"}


@frozen(kw_only=True)
class Needs:
    """What a job asks of a pilot, or what a pilot that asked for one would have taken; 0 or nothing is no limit."""

    memory_mb: int = 0
    disk_mb: int = 0
    wall_s: int = 0
    resource: str = ""
    labels: tuple[str, ...] = ()

    def take(self, job: Needs) -> bool:
        """Whether a pilot with this to offer gets such a job."""
        fits = all(not (most := getattr(self, name)) or getattr(job, name) <= most for name in _UNITS)
        return fits and self.resource in ("", job.resource) and set(job.labels) <= set(self.labels)


@frozen(kw_only=True)
class Crew:
    """The pilots of a queue that were heard of lately."""

    queue: str
    status: str = "online"
    """Nothing, if the queue is served no more."""
    pilots: int = 0
    offers: Sequence[Needs] = ()
    """What those had to offer that asked for jobs."""


def advise(job: Mapping[str, Any], needs: Needs, crew: Crew | None) -> str:
    """What to do, or nothing. A job has its ``attempts``, and how often it was ``lost`` and others spoke for it."""
    if job["state"] == leases.WAITING:
        return _get_it_taken(needs, crew) if crew else ""
    error = job["error"]
    if job["state"] != leases.FAILED or not error:
        return ""
    if error["code"] in (leases.SILENT, leases.UNANSWERED):
        return TWICE if job["doubles"] else _find_what_loses_it(job)
    if job["worn_out"] and leases.evicted(error["code"]):
        return COSTS_SLOTS
    try:
        row = code(error["code"])
    except NoSuchCode:
        return ""
    return _found_out(error["failure"]) if row.vague and "failure" in error else row.retry.value


def _found_out(failure: Mapping[str, Any]) -> str:
    """What a pilot advises that knows more than its code says."""
    more = max(failure["memory_factor"], failure["time_factor"]) > 1
    return (Retry.CHANGED if more else _RETRIES[failure["where"]]).value


def _find_what_loses_it(job: Mapping[str, Any]) -> str:
    """Of a job whose pilots fell silent one after the other."""
    silent = [each for each in job["attempts"] if each["error"] and each["error"]["code"] == leases.SILENT]
    nodes = sorted({each["node"] for each in silent} - {""})
    if len(silent) < 2:
        return OUT_OF_REACH
    if len(nodes) == 1:
        return f"each time its pilot was on {nodes[0]}: look at this node first, then retry"
    told = f" on {', '.join(nodes[:4])}{' and others' if len(nodes) > 4 else ''}" if nodes else ""
    return f"{len(silent)} pilots fell silent with it{told}: look whether the job takes its node down, then retry"


def _get_it_taken(needs: Needs, crew: Crew) -> str:
    """Of a job that no pilot can take as things are."""
    if not crew.status:
        return f"no queue {crew.queue!r} is served any more: name it in the dispatcher's file, or cancel the job"
    if crew.status == "offline":
        return f"the queue {crew.queue!r} is offline: say 'status: online' in the dispatcher's file and start it again"
    if not crew.pilots:
        return f"no pilot of queue {crew.queue!r} was heard of lately: start one by the line that `pilot serve` printed"
    if not crew.offers or any(each.take(needs) for each in crew.offers):
        return ""
    return f"no pilot that asked for jobs takes it; {_what_is_short(needs, crew.offers)}"


def _what_is_short(needs: Needs, offers: Sequence[Needs]) -> str:
    for name, unit in _UNITS.items():
        offered = [getattr(each, name) for each in offers]
        if all(offered) and (wanted := getattr(needs, name)) > max(offered):
            return f"it needs {wanted} {unit}, at most {max(offered)} were offered; start a larger one, or ask for less"
    if not any(set(needs.labels) <= set(each.labels) for each in offers):
        return f"it is of the kind {', '.join(needs.labels)!r}, they ask for {', '.join(offers[0].labels)}"
    if needs.resource not in (kinds := {each.resource for each in offers}) and "" not in kinds:
        return f"it is a {needs.resource} job, they ask for {', '.join(sorted(kinds))}"
    return "each offered too little of something; start a larger one, or ask for less"
