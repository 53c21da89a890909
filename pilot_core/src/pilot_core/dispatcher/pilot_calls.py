"""PanDA's calls for pilots: taking jobs, telling how they stand."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from pilot_core.clock import Clock
from pilot_core.config.spelling import meant
from pilot_core.dispatcher import leases
from pilot_core.dispatcher.config import Config, ServedQueue
from pilot_core.dispatcher.messages import Request, Response
from pilot_core.dispatcher.store import Store, Wanted
from pilot_core.dispatcher.updates import ACQUIRE, UPDATE, Mistyped, read_typed, seconds
from pilot_core.dispatcher.wire import labels_for

MOST_JOBS: Final = 100
NO_JOBS: Final = "No jobs in PanDA"
INVALID: Final = 50
AGAIN_S: Final = "2"
"""When a pilot that got no job may ask again: nobody here is troubled by that."""
BULK: Final[Mapping[str, type]] = {"job_list": list, "harvester_id": str}


class Nodes:
    """From which nodes pilots of each queue were heard of late."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: dict[str, dict[str, float]] = {}

    def hear(self, queue: str, node: str) -> None:
        """A pilot on this node has asked or told something."""
        with self._lock:
            self._heard.setdefault(queue, {})[node] = self._clock.mono()

    def count(self, queue: str) -> int:
        """How many nodes were heard of since pilots began to count as lost."""
        since = self._clock.mono() - self._config.queue(queue).lost_after_s
        with self._lock:
            kept = {node: at for node, at in self._heard.get(queue, {}).items() if at > since}
            self._heard[queue] = kept
        return len(kept)


class PilotCalls:
    """Answers in PanDA's envelope; only what keeps a call from being understood is told by its ``success``."""

    def __init__(self, store: Store, config: Config, nodes: Nodes) -> None:
        self._store = store
        self._config = config
        self._nodes = nodes

    def acquire(self, request: Request) -> Response:
        """Jobs for a pilot, each its own from now on."""
        try:
            asked = read_typed(_body(request), ACQUIRE, ("site_name",))
        except Mistyped as wrong:
            return _refusal(str(wrong))
        queue = self._config.queues.get(asked["site_name"])
        if queue is None:
            near = meant(asked["site_name"], self._config.queues)
            return _refusal(f"{NO_JOBS}: no queue {asked['site_name']!r:.80} is served here{near}")
        self._nodes.hear(queue.name, asked.get("node", ""))
        jobs = [] if queue.status == "offline" else self._store.acquire(_wanted(asked, queue))
        if not jobs:
            return evolve(_refusal(NO_JOBS), headers={"Retry-After": AGAIN_S})
        text = f'{{"success":true,"message":"","data":{{"StatusCode":0,"jobs":[{",".join(jobs)}]}}}}'
        return Response(200, text.encode())

    def update(self, request: Request) -> Response:
        """What a pilot says of one job."""
        return Response.of(self._update(_body(request)))

    def update_bulk(self, request: Request) -> Response:
        """What a pilot says of several; one that cannot be understood hides the answers to all, as PanDA does it."""
        try:
            asked = read_typed(_body(request), BULK, ("job_list",))
            answers = [self._update(each, strict=True) for each in asked.get("job_list", [])]
        except Mistyped as wrong:
            return Response.of({"success": False, "message": str(wrong), "data": []})
        return Response.of({"success": True, "message": "", "data": answers})

    def _update(self, raw: object, *, strict: bool = False) -> dict[str, object]:
        try:
            update = read_typed(raw, UPDATE, ("job_id", "job_status", "attempt_nr"))
        except Mistyped as wrong:
            if strict:
                raise
            return _envelope(None, str(wrong), success=False)
        if update.get("job_status") not in leases.SPOKEN:
            return _envelope({"StatusCode": INVALID}, "Invalid job status", success=False)
        ruling, queue = self._store.tell(update)
        if ruling.heard:
            self._nodes.hear(queue, update.get("node", ""))
        pace = {"heartbeat": self._config.queue(queue).heartbeat_s} if ruling.heard else {}
        return _envelope({"StatusCode": 0, "command": ruling.command, **pace})

    def states(self, request: Request) -> Response:
        """How jobs stand, in the order that they were asked for."""
        written = request.query.get("job_ids", [])
        if wrong := [each for each in written if not (each.isascii() and each.isdigit() and len(each) <= 18)]:
            return _refusal(f"Type error: 'job_ids' must be of type int, got {wrong[0]!r:.40}.")
        found = self._store.states([int(each) for each in written])
        rows = [{"job_id": job, "status": state, "attempt_number": attempt} for job, state, attempt in found]
        return Response.of(_envelope(rows))


def alive(request: Request) -> Response:
    """That somebody is here."""
    return Response.of(_envelope("alive=yes"))


def database_failed() -> Response:
    """The store could not be read or written: the pilot is to say it again."""
    return Response.of(_envelope({"StatusCode": 30}, "Database error"))


def _wanted(asked: Mapping[str, Any], queue: ServedQueue) -> Wanted:
    return Wanted(
        queue=queue.name,
        labels=labels_for(asked.get("prod_source_label", ""), queue.status),
        count=min(max(asked.get("n_jobs", 1), 1), MOST_JOBS),
        memory_mb=max(asked.get("memory", 0), 0),
        disk_mb=max(asked.get("disk_space", 0), 0),
        remaining_s=seconds(asked.get("remaining_time")),
        resource=asked.get("resource_type", ""),
        node=asked.get("node", ""),
        heartbeat_s=queue.heartbeat_s,
    )


def _body(request: Request) -> object:
    """The arguments; PanDA sees none in anything that is not sent as JSON."""
    return request.json() if request.headers.get("content-type") == "application/json" else None


def _envelope(data: object, message: str = "", *, success: bool = True) -> dict[str, object]:
    return {"success": success, "message": message, "data": data}


def _refusal(message: str) -> Response:
    return Response.of(_envelope(None, message, success=False))
