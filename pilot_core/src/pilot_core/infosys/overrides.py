"""What a job may say in place of its queue: few facts, and its platform. Whatever else it says is refused by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from pilot_core.config.layers import Layer, Rank
from pilot_core.infosys.casting import Cast, as_mapping, as_number
from pilot_core.infosys.queue import grace_values
from pilot_core.infosys.wire import FIELDS, FROM_JOB
from pilot_core.model.queue import Queue

GRACE: Final = "grace"
log = logging.getLogger(__name__)


def overruled(queue: Queue, said: object, *, who: str, platform: str = "") -> tuple[Queue, Layer | None]:
    """The queue as one job sees it, and the options that this sets for the job.

    ``said`` is a mapping in the documents' names, or the text of one as JSON or as a Python literal; ``who`` names the
    job in messages.
    """
    told = Cast(who, _told(said, who))
    fields = {name: told.read(name, FIELDS[name], None) for name in sorted(FROM_JOB)}
    graces = _graces(told, who)
    _refuse(told.rest(), who)
    changes = {name: value for name, value in fields.items() if value is not None} | graces
    if platform:
        changes["cmtconfig"] = platform
    changed = evolve(queue, params=_changed(queue.params, changes)) if changes else queue
    values = grace_values(graces)
    return changed, Layer(Rank.QUEUE, who, dict(values)) if values else None


def _told(said: object, who: str) -> Mapping[str, object]:
    return Cast(who, {"facts of its queue": said}).read("facts of its queue", as_mapping, {})


def _graces(told: Cast, who: str) -> dict[str, object]:
    params = Cast(f"{who}: params", told.mapping("params"))
    graces = {name: params.read(name, as_number, None) for name in params.facts if name.endswith(GRACE)}
    _refuse({f"params.{name}": value for name, value in params.rest().items()}, who)
    return {name: value for name, value in graces.items() if value is not None}


def _refuse(rest: Mapping[str, object], who: str) -> None:
    for name in rest:
        log.warning("%s: may not set %s of its queue, which stays as it is", who, name)


def _changed(params: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, object]:
    """Tables row by row, everything else whole."""
    joined = {
        name: {**params[name], **value}
        for name, value in changes.items()
        if isinstance(value, Mapping) and isinstance(params.get(name), Mapping)
    }
    return {**params, **changes, **joined}
