"""The monitor "atlas_memory": how much memory a payload may hold, by the resource type of its job."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from pilot_atlas.job import AtlasJob
from pilot_atlas.options import AtlasOptions
from pilot_core.sdk import Code, Connection, Job, Monitor, PilotError, Queue, Reading, Settings, View

MB: Final = 1 << 20
BUILT_IN: Final = {
    **dict.fromkeys(("SCORE", "MCORE"), 2000.0),
    **dict.fromkeys(("SCORE_HIMEM", "MCORE_HIMEM"), 3000.0),
    **dict.fromkeys(("SCORE_LOMEM", "MCORE_LOMEM"), 1000.0),
}
"""Memory for each core by resource type, in MB, where neither site nor server says it."""
UNKNOWN: Final = 4001.0
"""The same for any other type."""
GRACE: Final = 100
"""Percent by which the limit is above what was asked for, if the queue says nothing else."""
REQUESTED: Final = 1000
"""The server asks for a little less than a multiple of this, in MB."""
ASK: Final = "/api/v1/metaconfig/get_resource_types"
ASK_S: Final = 10.0
log = logging.getLogger(__name__)


class AtlasMemory(Monitor):
    """Stops a payload that holds more than its resource type has, and the grace of the queue."""

    name = "atlas_memory"
    options = AtlasOptions
    interval_s = 0.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._per_core: Mapping[str, float] | None = None

    def look(self, view: View) -> Reading:
        """Compare the most that the processes held together, what is shared counted once, with the limit."""
        if self._per_core is None:
            self._per_core = per_core(self.settings)
        limit_b = limit_of(view.job, view.queue, self._per_core)
        used_b = max(view.usage.pss_peak_b, min(view.usage.pss_b or view.usage.rss_b, view.usage.rss_b))
        if limit_b is None or used_b <= limit_b:
            return Reading()
        told = f"the payload's memory: {used_b / 1e6:.1f} MB, {limit_b / 1e6:.1f} MB are allowed"
        facts = {"value_b": used_b, "limit_b": int(limit_b)}
        return Reading(breach=PilotError(Code.PAYLOADEXCEEDMAXMEM, told, **facts))


def limit_of(job: Job, queue: Queue, per_core: Mapping[str, float]) -> float | None:
    """The limit in bytes; ``None`` where neither job nor queue says anything."""
    told = asked_of(job, queue, per_core)
    grace = queue.params.get("pilot_rss_grace")
    percent = grace if isinstance(grace, int) and grace >= 0 else GRACE
    return told * MB * (1 + percent / 100) if told else None


def asked_of(job: Job, queue: Queue, per_core: Mapping[str, float]) -> float | None:
    """What the job has by right, in MB, by the rule of its resource type."""
    kind, cores = AtlasJob.of(job).resource, job.needs.cores
    slot = (queue.memory_b or 0) / 1e6
    match kind:
        case "SCORE_VHIMEM":
            return slot / (queue.cores or 1) * cores or None
        case "MCORE_VHIMEM":
            return slot or None
        case "" | "Undefined":
            requested = (job.needs.memory_b or 0) / 1e6
            return -(-requested // REQUESTED) * REQUESTED or None
    return {**BUILT_IN, **per_core}.get(kind, UNKNOWN) * cores


def per_core(settings: Settings) -> Mapping[str, float]:
    """Memory for each core by resource type, in MB: as the site says, or else the server."""
    told = settings.of(AtlasOptions).ram_per_core
    if told or not settings.of(Connection).url:
        return told
    from pilot_core.sdk.web import web_of

    try:
        with closing(web_of(settings)) as web:
            return read_types(web.call("GET", ASK, limit_s=ASK_S, repeat=True).json())
    except PilotError as error:
        log.warning("what resource types have is not told, the built-in table is taken for it: %s", error.detail)
        return {}


def read_types(answer: object) -> Mapping[str, float]:
    """The server's list, as far as it makes sense."""
    listed = answer.get("data") if isinstance(answer, Mapping) else None
    rows = [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []
    known = {str(row.get("resource_name")): row.get("maxrampercore") for row in rows}
    return {name: float(most) for name, most in known.items() if isinstance(most, int | float) and most > 0}
