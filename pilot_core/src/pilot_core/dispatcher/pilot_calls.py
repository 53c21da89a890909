"""PanDA's calls for pilots in the first version: taking jobs, telling how they stand.

A call that could be understood is answered with status 200; whether it succeeded stands in its envelope, and for jobs
and updates once more in the data.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve

from pilot_core.clock import Clock
from pilot_core.config.spelling import meant
from pilot_core.dispatcher import leases
from pilot_core.dispatcher.advice import Crew, Needs
from pilot_core.dispatcher.config import Config, ServedQueue
from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.messages import Request, Response
from pilot_core.dispatcher.rows import Wanted
from pilot_core.dispatcher.store import Store
from pilot_core.dispatcher.updates import (
    ACQUIRE,
    BULK,
    DEBUG,
    GPU,
    NODE,
    STATES,
    UPDATE,
    WORKER,
    Broken,
    Mistyped,
    cut,
    read_typed,
    seconds,
    too_wide,
)
from pilot_core.dispatcher.wire import labels_for

JSON: Final = "application/json"
TEXT: Final = "text/plain"
MOST_JOBS: Final = 100
NO_JOBS: Final = "No jobs in PanDA"
SUCCEEDED: Final = "Succeeded"
_NO_LIMITS: Final = {"maxcore": None, "minrampercore": None, "maxrampercore": None}
RESOURCE_TYPES: Final[tuple[Mapping[str, object], ...]] = (
    {**_NO_LIMITS, "resource_name": "SCORE", "mincore": 1, "maxcore": 1},
    {**_NO_LIMITS, "resource_name": "MCORE", "mincore": 2},
)
"""What a job's kind of slot may be here, as ``wire`` names them."""
RUN: Final = "run"
SUBMIT: Final = "submit"
ADMIN: Final = "admin"
NO_ROLE: Final = "production or pilot role required"
INVALID: Final = 50
DATABASE: Final = 30
AGAIN_S: Final = "2"
"""When a pilot that got no job may ask again: nobody here is troubled by that."""
SEARCH_S: Final = 60
SEARCHED_TO_S: Final = 10
"""PanDA looks for jobs until so much of the time that it is given is left."""


class Nodes:
    """From which nodes pilots of each queue were heard of late."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: dict[str, dict[str, tuple[float, Needs | None]]] = {}

    def hear(self, queue: str, node: str, offer: Needs | None = None) -> None:
        """A pilot on this node has told something, or asked for a job, and then had this to offer."""
        now = self._clock.mono()
        with self._lock:
            nodes = self._heard.setdefault(queue, {})
            nodes[node] = (now, offer or nodes.get(node, (now, None))[1])

    def count(self, queue: str) -> int:
        """How many nodes were heard of since pilots began to count as lost."""
        return len(self._lately(queue))

    def crew(self, queue: str) -> Crew:
        """The pilots of a queue, as far as advice on its jobs goes."""
        kept = self._lately(queue)
        status = self._config.queues[queue].status if queue in self._config.queues else ""
        offers = tuple(offer for _, offer in kept.values() if offer)
        return Crew(queue=queue, status=status, pilots=len(kept), offers=offers)

    def _lately(self, queue: str) -> Mapping[str, tuple[float, Needs | None]]:
        since = self._clock.mono() - self._config.queue(queue).lost_after_s
        with self._lock:
            kept = {node: heard for node, heard in self._heard.get(queue, {}).items() if heard[0] > since}
            self._heard[queue] = kept
        return kept


class PilotCalls:
    """Answers in PanDA's envelope; only what keeps a call from being understood is told by its ``success``."""

    def __init__(self, store: Store, config: Config, nodes: Nodes) -> None:
        self._store = store
        self._config = config
        self._nodes = nodes

    # --- jobs ---

    def acquire(self, request: Request) -> Response:
        """Jobs for a pilot, each its own from now on."""
        try:
            asked = read_typed(_body(request), ACQUIRE, ("site_name",))
        except Mistyped as wrong:
            return refusal(str(wrong))
        jobs, why = self.take(asked)
        if not jobs:
            return evolve(refusal(f"{NO_JOBS}: {why}" if why else NO_JOBS), headers={"Retry-After": AGAIN_S})
        text = f'{{"success":true,"message":"","data":{{"StatusCode":0,"jobs":[{",".join(jobs)}]}}}}'
        return Response(200, text.encode(), TEXT)

    def take(self, asked: Mapping[str, Any]) -> tuple[list[str], str]:
        """Jobs in JSON for who asks so, or why there is none where that is not plain."""
        queue = self._config.queues.get(asked["site_name"])
        if queue is None:
            near = meant(asked["site_name"], self._config.queues)
            return [], f"no queue {asked['site_name']!r:.80} is served here{near}"
        wanted = _wanted(asked, queue, self._store.heartbeat_s(queue))
        self._nodes.hear(queue.name, wanted.node, _offer(wanted))
        if asked.get("timeout", SEARCH_S) <= SEARCHED_TO_S:
            return [], f"a 'timeout' of {SEARCHED_TO_S} s or less leaves no time to look for one"
        if why := too_wide(asked):
            return [], f"none can be reserved, {why}"
        return ([] if queue.status == "offline" else self._store.acquire(wanted)), ""

    # --- updates ---

    def update(self, request: Request) -> Response:
        """What a pilot says of one job."""
        try:
            return Response.of(self._update(_body(request)), type=TEXT)
        except Broken as wrong:
            raise Refused(400, str(wrong)) from None
        except Mistyped as wrong:
            return refusal(str(wrong))

    def update_bulk(self, request: Request) -> Response:
        """What a pilot says of several; one that cannot be understood hides the answers to all, as PanDA does it."""
        try:
            asked = read_typed(_body(request), BULK, ("job_list",))
            answers = [self._update(each) for each in asked.get("job_list", [])]
        except Mistyped as wrong:
            return Response.of({"success": False, "message": str(wrong), "data": []})
        return Response.of({"success": True, "message": "", "data": answers})

    def _update(self, raw: object) -> dict[str, object]:
        update = read_typed(raw, UPDATE, ("job_id", "job_status"))
        if update.get("job_status") not in leases.SPOKEN:
            return envelope({"StatusCode": INVALID}, "Invalid job status", success=False)
        return envelope(self.hear(cut(update)))

    def hear(self, update: Mapping[str, Any]) -> dict[str, object]:
        """The data of the answer to an update, whose status is one that may be said."""
        if why := too_wide(update):
            return {"StatusCode": DATABASE, "ErrorDiag": f"Database error: {why}"}
        ruling, queue = self._store.tell(update, self._config.queue)
        if ruling.heard:
            self._nodes.hear(queue, update.get("node", ""))
            return {
                "StatusCode": 0,
                "command": ruling.command,
                "heartbeat": self._store.heartbeat_s(self._config.queue(queue)),
            }
        if "meta_data" in update and update["job_status"] != leases.FAILED and self._is_gone(update["job_id"], ruling):
            return {"StatusCode": DATABASE, "ErrorDiag": "Failed to add meta_data"}
        newer = {"newer_attempt": ruling.newer} if ruling.newer is not None else {}
        return {"StatusCode": 0, "command": ruling.command, **newer}

    def _is_gone(self, job: int, ruling: leases.Ruling) -> bool:
        """Whether a job is not there any more for whoever was told to stop."""
        ((_, state, _),) = self._store.states([job])
        return ruling.command == leases.STOP and state not in leases.LEASED and state != leases.WAITING

    # --- questions ---

    def states(self, request: Request) -> Response:
        """How jobs stand, in the order that they were asked for."""
        try:
            asked = _asked_jobs(request)
        except Mistyped as wrong:
            return refusal(str(wrong))
        found = self.known(asked)
        rows = [{"job_id": job, "status": state, "attempt_number": attempt} for job, state, attempt in found]
        return Response.of(envelope(rows))

    def known(self, jobs: list[int]) -> list[tuple[int, str, int]]:
        """Each job with its state and attempt, ``not found`` and 0 of one that is not there."""
        return self._store.states(jobs)

    def commands(self, request: Request) -> Response:
        """How jobs stand, and what their pilots are told."""
        try:
            return Response.of(envelope(self.standing(_asked_jobs(request))))
        except Mistyped as wrong:
            return refusal(str(wrong))

    def standing(self, jobs: list[int]) -> list[dict[str, object]]:
        """Each job's state and command; ``unknown`` and to be stopped is one that is not there."""
        with self._store.reading() as database:
            select = "SELECT state, attempt, kill, debug, asked FROM jobs WHERE id = ?"
            rows = [database.execute(select, (job,)).fetchone() for job in jobs]
        return [_standing(*row) if row else {"status": "unknown", "command": leases.STOP} for row in rows]

    # --- debugging ---

    def debug(self, request: Request) -> Response:
        """Follow a job closely, or no more. That it succeeded PanDA tells by the message and denies by the flag."""
        try:
            asked = read_typed(_body(request), DEBUG, ("job_id", "mode"))
        except Mistyped as wrong:
            return refusal(str(wrong))
        why = self.follow(asked["job_id"], asked["mode"])
        return Response.of(envelope(None, why or SUCCEEDED, success=bool(why)))

    def follow(self, job: int, on: bool) -> str:
        """Have a job followed or not; why that cannot be, or nothing."""
        return self._store.debug([job], on).get(job, "")

    # --- workers and nodes ---

    def worker(self, request: Request) -> Response:
        """That a pilot has started or ended; nothing here depends on it."""
        return self._noted(request, WORKER, ("worker_id", "harvester_id", "status"))

    def node(self, request: Request) -> Response:
        """What a node is like; likewise."""
        return self._noted(request, NODE, ("site", "host_name", "cpu_model"), "Inserted new worker node.")

    def gpu(self, request: Request) -> Response:
        """What its accelerators are like; likewise."""
        return self._noted(request, GPU, ("site", "host_name", "vendor", "model", "count"))

    def _noted(self, request: Request, kinds: Mapping[str, Any], needed: tuple[str, ...], told: str = "") -> Response:
        try:
            asked = read_typed(_body(request), kinds, needed)
        except Mistyped as wrong:
            return refusal(str(wrong))
        if kinds is WORKER and (why := why_no_worker(asked["status"])):
            return refusal(why)
        return Response.of(envelope(None, told))


def why_no_worker(status: object) -> str:
    """Why a worker does not stand so, or nothing."""
    return "" if status in ("started", "finished") else f"Invalid worker state {status!r:.80}"


def resource_types(request: Request) -> Response:
    """The kinds of slots."""
    return Response.of(envelope(list(RESOURCE_TYPES)))


def alive(request: Request) -> Response:
    """That somebody is here."""
    return Response.of(envelope("alive=yes"))


def database_failed(request: Request) -> Response:
    """The store could not be read or written: the pilot is to come again, and one that wants a job gets none."""
    if request.path.endswith("/acquire_jobs"):
        return refusal(f"{NO_JOBS}: the dispatcher's database failed")
    return Response.of(envelope({"StatusCode": DATABASE}, "Database error"))


def refused(request: Request, why: Refused) -> Response:
    """What will not be done, told as PanDA tells it: in an envelope, or in plain text."""
    match why.status:
        case 403 if is_known(request):
            return refusal(f"{NO_ROLE}: {why.text}")
        case 403:
            return not_known(why)
        case 404:
            return Response(403, f"ERROR : method {request.path[:80]} is forbidden: {why.text}".encode(), TEXT)
        case 405:
            return refusal(why.text)
        case 400:
            return Response(500, why.text.encode(), TEXT)
    return Response(why.status, why.text.encode(), TEXT)


def is_known(request: Request) -> bool:
    """Whether the request came with a token of somebody's."""
    return request.role in (RUN, SUBMIT, ADMIN)


def not_known(why: Refused) -> Response:
    """The answer to strangers."""
    return Response(403, f"ERROR : Token authentication failed. {why.text}".encode(), TEXT)


def as_asked(request: Request, response: Response) -> Response:
    """An answer as it is wished for: JSON if either header says so, or as Python writes it; labelled as text anyhow."""
    if response.status == 200 and not wants_json(request):
        response = evolve(response, body=str(json.loads(response.body)).encode())
    return response if response.type == TEXT else evolve(response, type=TEXT)


def wants_json(request: Request) -> bool:
    """Whether the answer is to be JSON."""
    return JSON in (request.headers.get("accept"), request.headers.get("content-type"))


def envelope(data: object, message: str = "", *, success: bool = True) -> dict[str, object]:
    """What every answer lies in."""
    return {"success": success, "message": message, "data": data}


def refusal(message: str) -> Response:
    """An answer that nothing was done."""
    return Response.of(envelope(None, message, success=False))


def _wanted(asked: Mapping[str, Any], queue: ServedQueue, heartbeat_s: float) -> Wanted:
    return Wanted(
        queue=queue.name,
        labels=labels_for(asked.get("prod_source_label", ""), queue.status),
        count=min(max(asked.get("n_jobs", 1), 1), MOST_JOBS),
        memory_mb=max(asked.get("memory", 0), 0),
        disk_mb=max(asked.get("disk_space", 0), 0),
        remaining_s=seconds(asked.get("remaining_time")),
        resource=asked.get("resource_type", ""),
        node=asked.get("node", ""),
        heartbeat_s=heartbeat_s,
    )


def _offer(wanted: Wanted) -> Needs:
    """What a pilot that asks has to offer to a job."""
    limits = {"memory_mb": wanted.memory_mb, "disk_mb": wanted.disk_mb, "wall_s": wanted.remaining_s}
    return Needs(**limits, resource=wanted.resource, labels=wanted.labels)


def _body(request: Request) -> object:
    """The arguments; PanDA sees none in anything that is not sent as JSON."""
    return request.json() if request.headers.get("content-type") == JSON else None


def _asked_jobs(request: Request) -> list[int]:
    """The jobs that a question names; ``Mistyped`` if it is not asked as it should be."""
    written = read_typed(request.query, STATES, ("job_ids",))["job_ids"]
    if wrong := [each for each in written if not (each.isascii() and each.isdigit() and len(each) <= 18)]:
        raise Mistyped(f"Type error: 'job_ids' must be of type int, got {wrong[0]!r:.40}.")
    return [int(each) for each in written]


def _standing(state: str, attempt: int, kill: int, debug: int | None, asked: str) -> dict[str, object]:
    if state in leases.OVER:
        return {"status": state, "command": leases.STOP}
    on = None if debug is None else bool(debug)
    lease = leases.Lease(state=state, attempt=attempt, kill=bool(kill), debug=on, asked=asked)
    return {"status": state, "command": lease.command}
