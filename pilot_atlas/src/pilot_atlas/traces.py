"""What ATLAS says of a try to move a file, under the names that trace reports have for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilot_atlas.job import AtlasJob, is_analysis
from pilot_core.sdk import Attempt, Job

EVENTS: Final = {"in": "get_sm", "direct": "get_sm", "out": "put_sm"}


def facts(job: Job, attempt: Attempt) -> Mapping[str, object]:
    """The kind of the event, and by which reports of one production belong together."""
    from hashlib import md5

    told = AtlasJob.of(job)
    event = EVENTS.get(attempt.direction, "get_sm") + ("_a" if is_analysis(job) else "")
    named: dict[str, object] = {"eventType": event}
    if told.definition and told.definition != "0":
        named["uuid"] = md5(f"ppilot_{told.definition}".encode(), usedforsecurity=False).hexdigest()
    if told.owner:
        named["usr"] = md5(told.owner.encode(), usedforsecurity=False).hexdigest()
    return named
