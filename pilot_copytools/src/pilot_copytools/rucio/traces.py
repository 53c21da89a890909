"""Trace reports: what Rucio is told of every try to move a file, and how that gets there without anybody waiting."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from pilot_copytools.rucio.settings import RucioOptions
from pilot_copytools.rucio.spool import Spool, Trace
from pilot_core.sdk import Attempt, Code, Connection, Job, PilotError
from pilot_core.sdk.transfers import state_of
from pilot_core.sdk.web import Web, find_credentials

LONGEST: Final = 1000
MOST_WAITING: Final = 5000
AT_ONCE: Final = 50
GATHER_S: Final = 5.0
"""So long the first of a batch waits for others."""
REST_S: Final = 60.0
"""So long a server is left alone that did not take a batch."""
CONNECT_S: Final = 5.0
LIMIT_S: Final = 15.0
LAST_S: Final = 4.0
"""So long a pilot that ends waits for the last: less than the pilot itself is waited for."""
NEEDED: Final = ("eventType", "localSite", "remoteSite")
"""A report without one of these tells nobody anything, and is not sent."""
log = logging.getLogger(__name__)


def trace_of(job: Job, attempt: Attempt, queue: str, options: RucioOptions) -> dict[str, object]:
    """The report of one try, with what the experiment adds to it or takes from it."""
    file, place = attempt.file, attempt.replica
    scope = options.scope_of(file.scope)
    told: dict[str, object] = {
        "eventType": "put_sm" if attempt.direction == "out" else "get_sm",
        "eventVersion": _version(),
        "protocol": attempt.tool,
        "clientState": state_of(attempt),
        "stateReason": (attempt.error.detail or attempt.error.code.sentence)[:LONGEST] if attempt.error else "OK",
        "account": options.account,
        "localSite": options.site or file.endpoint or place.endpoint,
        "remoteSite": place.endpoint or file.endpoint,
        "timeStart": attempt.asked,
        "catStart": attempt.asked,
        "relativeStart": attempt.began,
        "transferStart": attempt.began,
        "validateStart": attempt.moved,
        "timeEnd": attempt.ended,
        "scope": scope,
        "filename": file.lfn,
        "dataset": file.dataset,
        "datasetScope": scope,
        "guid": file.guid.replace("-", ""),
        "filesize": attempt.size_b,
        "url": place.url,
        "appid": job.id,
        "taskid": job.task,
        "pq": queue,
        "uuid": hashlib.md5(f"ppilot_{job.id}.{job.attempt}".encode(), usedforsecurity=False).hexdigest(),
        "attemptNr": attempt.number,
        "suspicious": "0",
        "version": None,
        "duid": None,
        "usr": "",
    }
    told |= attempt.facts
    gone = {name for name, value in attempt.facts.items() if value is None}
    return {name: value for name, value in told.items() if name not in gone}


@cache
def _version() -> str:
    """Our own version and that of the client library, if it is here."""
    found = []
    for name in ("pilot-core", "rucio-clients"):
        try:
            found.append(version(name))
        except PackageNotFoundError:
            continue
    return "+".join(found)


def this_node() -> dict[str, object]:
    """Who sends: the name of this node, and its address by that name."""
    name = os.environ.get("PANDA_HOSTNAME") or socket.gethostname()
    try:
        return {"hostname": name, "ip": socket.gethostbyname(name)}
    except OSError:
        return {"hostname": name, "ip": "0.0.0.0"}  # noqa: S104


class Sender:
    """Sends what it is given in batches, from a thread of its own that lives while there is anything to send.

    What does not get there while the pilot lives goes to the spool, if there is one.
    """

    def __init__(
        self, post: Callable[[Sequence[Trace]], None], gather_s: float = GATHER_S, spool: Spool | None = None
    ) -> None:
        self._post = post
        self._gather_s = gather_s
        self._spool = spool
        self._resting = False
        self._waiting: deque[Trace] = deque()
        self._under_way: list[Trace] = []
        self._lost = 0
        self._changed = threading.Condition()
        self._ending = False
        self._thread: threading.Thread | None = None

    @property
    def behind(self) -> int:
        """How many reports are lost, or wait since the server did not take some."""
        with self._changed:
            return self._lost + (len(self._waiting) if self._resting else 0)

    def take_up(self) -> None:
        """Send what earlier pilots left in the spool."""
        if self._spool is not None and (left := self._spool.take()):
            log.info("%d reports of transfers of earlier pilots are sent to Rucio", len(left))
            self.give(*left)

    def give(self, *traces: Trace) -> None:
        """Take reports to be sent; returns at once."""
        with self._changed:
            self._waiting.extend(traces)
            self._drop_oldest()
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="rucio traces", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def end(self, limit_s: float = LAST_S) -> int:
        """Send what waits, once, put away what the server does not take, and say how many reports are lost."""
        with self._changed:
            self._ending, thread = True, self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(limit_s)
        with self._changed:
            left = [*self._under_way, *self._waiting]
            self._ending, self._thread, lost = False, None, self._lost + len(left) - self._put_away(left)
            self._lost, self._resting, self._under_way = 0, False, []
            self._waiting.clear()
        if lost:
            log.warning("%d reports of transfers did not get to Rucio", lost)
        return lost

    def _put_away(self, left: Sequence[Trace]) -> int:
        """Leave these for a later pilot, as far as there is room; how many that were."""
        if self._spool is None or not left:
            return 0
        node = this_node()
        kept = self._spool.put([{**node, **each} for each in left])
        log.info("%d reports of transfers wait in %s for a later pilot", kept, self._spool.folder)
        return kept

    def _send(self) -> None:
        while batch := self._take():
            last = self._ending
            try:
                self._post(batch)
                self._arrived()
            except PilotError as failed:
                log.info("%d reports of transfers did not get to Rucio now: %s", len(batch), failed)
                again = not failed.facts.get("refused")
                self._give_back(again)
                if last and again:
                    return

    def _take(self) -> list[Trace]:
        """The next batch, when it is full or has waited; nothing ends the thread."""

        def due() -> bool:
            return self._ending or (not self._resting and len(self._waiting) >= AT_ONCE)

        with self._changed:
            if self._waiting:
                self._changed.wait_for(due, REST_S if self._resting else self._gather_s)
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            if not batch:
                self._thread = None
            self._under_way = batch
            return batch

    def _arrived(self) -> None:
        with self._changed:
            self._resting, self._under_way = False, []

    def _give_back(self, again: bool) -> None:
        """Have what was under way wait for another try, or count it as lost."""
        with self._changed:
            self._resting = again
            if again:
                self._waiting.extendleft(reversed(self._under_way))
            else:
                self._lost += len(self._under_way)
            self._under_way = []
            self._drop_oldest()
            self._changed.notify_all()

    def _drop_oldest(self) -> None:
        """Keep no more than fit, and count the others."""
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._lost += 1


@cache
def sender_of(options: RucioOptions) -> Sender:
    """Who sends the reports of these options."""
    return Sender(partial(_post, options), spool=Spool(options.spool) if options.spool else None)


def _post(options: RucioOptions, batch: Sequence[Trace]) -> None:
    """Give the server a batch; nobody has to be known to it for that."""
    told = Connection(ca_file=options.ca_file)
    url = options.trace_url or f"{options.host.rstrip('/')}/traces/"
    web = Web([], ca_file=told.ca_file, ca_path=find_credentials(told).ca_path, connect_s=CONNECT_S)
    node = this_node()
    try:
        answer = web.call("POST", url, json=[{**node, **each} for each in batch], limit_s=LIMIT_S)
    finally:
        web.close()
    if answer.status >= 300:
        refused = 400 <= answer.status < 500
        raise PilotError(Code.COMMUNICATIONFAILURE, f"{url} answered {answer.status}", refused=refused)
