"""The conversation with a PanDA server: a request for work, updates, and the commands that come back.

Of one job at most one message is under way, and nothing follows its last word. What was said of a job is kept for a
while, so that a server which offers it again hears its end again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import define, evolve, field

from pilot_core.builtin.credentials import Renewal, Renewing, login_from, secrets_of
from pilot_core.builtin.panda.answers import Envelope, failure, refusal_of, told_to_wait_s
from pilot_core.builtin.panda.commands import KEEP, Pace, reply_to, superseded, wanted_in
from pilot_core.builtin.panda.extras import BATCH, limited
from pilot_core.builtin.panda.given import Given, note
from pilot_core.builtin.panda.node import NodeReports, Worker, cpu_fields, identity_of
from pilot_core.builtin.panda.options import PandaOptions
from pilot_core.builtin.panda.reading import MB, SECRETS_FILE, is_unset, key_of, read_job, truth, whole
from pilot_core.builtin.panda.speech import Speech
from pilot_core.builtin.panda.together import Together
from pilot_core.builtin.panda.updating import diagnosis_of, fields_of, reduced, sendable
from pilot_core.builtin.panda.words import ASKS, TELLS, fitted, real
from pilot_core.sdk import (
    PROXY,
    Code,
    Communicator,
    Connection,
    Hint,
    Job,
    JobExtras,
    Letter,
    Offer,
    PilotError,
    Queue,
    Reply,
    ReportOptions,
    Resources,
    Settings,
    Update,
)

if TYPE_CHECKING:
    from pilot_core.builtin.panda.broker import Broker
    from pilot_core.sdk.node import NodeFacts

TROUBLES: Final = 3
"""So often a final update is refused by the database before it is reduced to what matters."""
REMEMBERED: Final = 64
NO_JOBS: Final = "No jobs in PanDA"
SEARCH_S: Final = 60
SHORTEST_HEARTBEAT_S: Final = 1.0
DAY_S: Final = 86400.0
OF_USERS: Final = frozenset({"user", "panda"})
PERMANENT: Final = frozenset({50, 60, 70, 80})
UNIFIED: Final = frozenset({"", "managed", "user", "unified"})
T = TypeVar("T")
log = logging.getLogger(__name__)


@define
class _Talk:
    """What was said of one attempt at a job."""

    lock: threading.Lock = field(factory=threading.Lock)
    troubles: int = 0
    last: Letter | None = None
    order: str = ""
    """What somebody who follows the job wants to see of it next."""
    keep: bool = False
    """Whether the job's directory is to stay, as somebody wants to look into it."""
    got_s: float = 0.0
    """How long it took to get the job."""
    followed: bool = False
    """Whether somebody follows the job from its beginning on, which is not known to be obeyed yet."""


class Panda(Communicator):
    """Jobs from a PanDA server, one request at a time, and reports to it."""

    name = "panda"
    options = PandaOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        from pilot_core.sdk.web import web_of

        urls = settings.of(Connection).url
        if not urls:
            raise PilotError(Code.BADQUEUECONFIGURATION, "connection.url names no server; `pilot run --url URL` does")
        self._origin = urls[0]
        self._options = settings.of(PandaOptions)
        self._web = web_of(settings)
        self._speech = Speech(self._web, self._options.dialect, self._options.request_s)
        self._together = Together(self._tell, self._tell_all, self._options.bulk)
        self._who = identity_of(settings)
        who, told = self._who, self._options
        harvester = told.harvester_id if told.worker_status else ""
        worker = Worker(queue=who.site, node=who.node, harvester=harvester, number=told.worker_id)
        self._reports = NodeReports(self._web, worker, lambda: self._speech.dialects, told.site_facts)
        self._renewal: Renewal | None = None
        self._node: NodeFacts | None = None
        self._broker: Broker | None = self._broker_of(settings) if self._options.broker else None
        self._given = Given(told.jobs_file, told.jobs_file_s) if told.jobs_file is not None else None
        self._task: object = None
        self._talks: dict[tuple[str, int], _Talk] = {}
        self._talking = threading.Lock()

    # --- the pilot itself ---

    def renew(self, queue: Queue) -> float | None:
        """Renew the token, or the proxy, as the server offers it."""
        return self._renewed().renew(queue)

    def _renewed(self) -> Renewal:
        if self._renewal is None:
            from pilot_core.sdk.web import find_credentials

            options = self._options
            how = Renewing(
                tokens=options.renew, every_s=options.renew_s, client=options.token_client, role=options.proxy_role
            )
            self._renewal = Renewal(self._speech.inquire, find_credentials(self.settings.of(Connection)), how)
        return self._renewal

    def entrust(self, raw: Mapping[str, object], job: Job, queue: Queue) -> Mapping[str, str]:
        """The secrets of the job's owner, and the proxy for jobs of users on a queue that runs others' too."""
        secrets = raw.get("secrets")
        lent = {SECRETS_FILE: secrets} if isinstance(secrets, str) and not is_unset(secrets) else {}
        role, dn = self._options.user_proxy_role, self._options.user_proxy_dn
        if (role or dn) and job.label in OF_USERS and queue.params.get("type") == "unified":
            try:
                lent[PROXY] = self._renewed().fetch_proxy(role=role, dn=dn)
            except PilotError as error:
                log.warning("job %s goes on with the pilot's own proxy: %s", job.id, error)
        return lent

    def secrets(self, raw: Mapping[str, object]) -> Iterable[str]:
        """What the job's owner and its followers entrusted to it."""
        return secrets_of(raw)

    def started(self, queue: Queue, workdir: Path) -> Mapping[str, object]:
        """Tell of the worker, its node and the GPUs there."""
        from pilot_core.sdk.node import NodeFacts

        self._node = NodeFacts(workdir)
        return self._reports.started(queue, self._node)

    def ended(self) -> None:
        """Tell that the worker is done."""
        self._reports.ended()

    def _broker_of(self, settings: Settings) -> Broker:
        from pilot_core.builtin.panda.broker import Broker

        login = partial(login_from, self._speech.inquire)
        return Broker(self._options, settings.of(Connection), login)

    def listen(self, hear: Callable[[Hint], None]) -> None:
        """Hear of work from a message broker, where the site names one."""
        if self._broker is not None:
            self._broker.listen(hear)

    def hush(self) -> None:
        """Let go of it."""
        if self._broker is not None:
            self._broker.hush()

    # --- getting jobs ---

    def request_fields(self, queue: Queue, free: Resources) -> Mapping[str, object]:
        """The fields of a request, as far as they are known."""
        options = self._options
        tested = queue.status.lower() == "test" and options.label in UNIFIED
        site = queue.params.get("panda_resource")
        asked = {
            "site_name": site if isinstance(site, str) and site else queue.name,
            "prod_source_label": "test" if tested else options.label,
            "computing_element": options.computing_element or queue.name,
            "node": self._who.node,
            "memory": _megabytes(free.memory_b),
            "disk_space": _megabytes(free.disk_b),
            "remaining_time": None if free.time_s is None else max(free.time_s, 1),
            "task_id": self._task,
            "job_type": options.job_type,
            "resource_type": options.resource_type,
            "n_jobs": options.n_jobs,
            "harvester_id": options.harvester_id,
            "worker_id": options.worker_id,
            "scheduler_id": options.scheduler_id,
            "timeout": SEARCH_S,
            **(self._broker.wanted() if self._broker is not None else {}),
        }
        return fitted(ASKS, asked)

    def acquire(self, request: Mapping[str, object]) -> Offer:
        """Ask once. What was sent is not sent again, as a lost answer may have reserved a job."""
        if self._given is not None and (given := self._given.offer()) is not None:
            return evolve(given, jobs=tuple(raw for raw in given.jobs if self._is_new(raw, 0.0)))
        try:
            offer = self._acquire(request)
        finally:
            if self._broker is not None:
                self._broker.settle(request.get("task_id"))
        if self._broker is None or self._broker.is_heard is False or offer.jobs:
            return offer
        return evolve(offer, again_s=self._broker.rest_s() if self._broker.is_heard else offer.again_s, stay=True)

    def _acquire(self, request: Mapping[str, object]) -> Offer:
        began = time.monotonic()
        envelope = self._shown(lambda: self._speech.say("acquire", request, repeat=False))
        took_s = time.monotonic() - began
        if not envelope.success and "no jobs" in envelope.message.lower():
            if len(envelope.message) > len(NO_JOBS):
                log.warning("%.300s", envelope.message)
            return Offer(again_s=self._pause_s(envelope))
        if not envelope.success or envelope.status:
            raise _error_in(envelope)
        jobs = envelope.inner.get("jobs")
        if not isinstance(jobs, (list, tuple)):
            raise failure("the answer to a request for work holds no list of jobs")
        described = [raw for raw in jobs if isinstance(raw, Mapping)]
        if strange := len(jobs) - len(described):
            log.error("%d of %d jobs that were offered are no objects, and cannot even be refused", strange, len(jobs))
        usable = tuple(raw for raw in described if self._is_new(raw, took_s))
        return Offer(jobs=usable, again_s=None if usable else self._pause_s(envelope))

    def read(self, raw: Mapping[str, object]) -> Job:
        """Read one of them."""
        job = limited(read_job(raw, self._origin), self._options.limit_wall)
        return evolve(job, extras=JobExtras({**job.extras.plain(), BATCH.name: self._who.batch}))

    def taken(self, raw: Mapping[str, object]) -> None:
        """Note its number, where somebody looks for it; a file that it came from is put aside."""
        note(self._options.ids_file, raw)
        self._task = whole(raw.get("taskID")) if self._options.same_task else None
        if self._given is not None:
            self._given.taken(raw)

    def _is_new(self, raw: Mapping[str, object], took_s: float) -> bool:
        """Whether to take a job; one that is under way is not begun again, of one that is over the end is repeated."""
        status, key = raw.get("StatusCode"), key_of(raw)
        if not is_unset(status) and whole(status) != 0:
            log.error("job %s is not usable: its StatusCode is %r", raw.get("PandaID"), status)
            return False
        if key is None:
            return True
        if (known := self._talks.get(key)) is None:
            talk = self._talk(*key)
            talk.followed, talk.got_s = truth(raw.get("debug")) is True, took_s
            return True
        log.warning("job %s, attempt %s was offered again", *key)
        if known.last is not None:
            self._say_again(known.last)
        return False

    def _say_again(self, last: Letter) -> None:
        try:
            self.send(last)
        except PilotError as error:
            log.warning("job %s: its end could not be told again: %s", last.job, error)

    def _pause_s(self, envelope: Envelope) -> float:
        """When to ask again: when the server says, or else at some time that other pilots hardly choose as well."""
        from random import uniform

        told_s = told_to_wait_s(envelope.headers, time.time())
        return self._options.pause_s * uniform(1, 3) if told_s is None else told_s

    # --- reporting ---

    def compose(self, update: Update) -> Letter:
        """The update in the server's words."""
        job, node = update.job, cpu_fields(self._node) if self._node is not None else {}
        got_s = self._talk(job.id, job.attempt).got_s
        followed = update.debug or (self._options.follow_all and not update.final)
        body = fitted(TELLS, fields_of(evolve(update, debug=followed), self._who, node, got_s))
        return Letter(communicator=self.name, job=job.id, attempt=job.attempt, final=update.final, body=body)

    def refuse(self, raw: Mapping[str, object], error: PilotError) -> Letter | None:
        """The last word on a job that could not be begun."""
        key = key_of(raw)
        if key is None:
            return None
        told = {
            "job_id": int(key[0]),
            "attempt_nr": key[1],
            "job_status": "failed",
            "site_name": self._who.site,
            "node": self._who.node,
            "pilot_id": self._who.pilot,
            "batch_id": self._who.batch,
            "pilot_error_code": error.code.number,
            "pilot_error_diag": diagnosis_of(error),
        }
        body = fitted(TELLS, told)
        return Letter(communicator=self.name, job=key[0], attempt=key[1], final=True, body=body)

    def send(self, letter: Letter) -> Reply:
        """Deliver a letter; one that comes after the last word is not sent."""
        talk = self._talk(letter.job, letter.attempt)
        with talk.lock:
            if talk.last is not None and not letter.final:
                return Reply()
            body = sendable(letter.body, final=letter.final)
            envelope = self._told(body)
            if letter.final and envelope.status == 30:
                envelope = self._told_less(body, talk, envelope)
            if not envelope.success or envelope.status != 0:
                raise _error_in(envelope)
            if letter.final:
                talk.last = letter
        return self._reply(letter, envelope, talk)

    def show(self, job: Job, workdir: Path) -> str:
        """What somebody who follows the job asked to see of its directory; nothing, if nobody did."""
        talk = self._talk(job.id, job.attempt)
        order, talk.order = talk.order, ""
        if not order:
            return ""
        from pilot_core.builtin.panda.orders import Bounds, carry_out

        return carry_out(order, Bounds.of(job, workdir))

    def _told(self, body: Mapping[str, object]) -> Envelope:
        return self._together.say(body) if self._options.bulk > 1 else self._tell(body)

    def _tell(self, body: Mapping[str, object]) -> Envelope:
        return self._shown(lambda: self._speech.say("update", body, repeat=True))

    def _tell_all(self, bodies: Sequence[Mapping[str, object]]) -> Sequence[Envelope] | None:
        return self._shown(lambda: self._speech.say_all(bodies, self._options.harvester_id))

    def _shown(self, say: Callable[[], T]) -> T:
        """Say something; once more if the token was refused and there is a better one now."""
        renewal = self._renewed()
        shown = renewal.present()
        try:
            return say()
        except PilotError as refused:
            if refused.code is not Code.NOPROXY or not renewal.retry(shown):
                raise renewal.explained(refused) from refused
            return say()

    def _told_less(self, body: Mapping[str, object], talk: _Talk, refused: Envelope) -> Envelope:
        """Say what matters, where the database does not take all of it."""
        if "meta_data" in body and "meta_data" in str(refused.inner.get("ErrorDiag")):
            return self._told({name: value for name, value in body.items() if name != "meta_data"})
        talk.troubles += 1
        return refused if talk.troubles < TROUBLES else self._told(reduced(body))

    def _reply(self, letter: Letter, envelope: Envelope, talk: _Talk) -> Reply:
        wanted = wanted_in(envelope.inner.get("command"))
        talk.keep = talk.keep or KEEP in wanted.words
        if letter.final:
            kept: dict[str, object] = {"keep": True} if talk.keep else {}
            if newer := whole(envelope.inner.get("newer_attempt")):
                kept["newer_attempt"] = newer
            return Reply(notes={"commands": list(wanted.words), **kept} if wanted.words else kept)
        usual_s, told_s = self.settings.of(ReportOptions).heartbeat_s, real(envelope.inner.get("heartbeat"))
        if told_s is not None and not SHORTEST_HEARTBEAT_S <= told_s <= DAY_S:
            told_s = None
        talk.order = wanted.order
        words = (*wanted.words, "debug") if talk.followed and "debugoff" not in wanted.words else wanted.words
        talk.followed = False
        reply = reply_to(words, letter.job, Pace(self._options.debug_heartbeat_s, usual_s, told_s))
        return superseded(reply, whole(envelope.inner.get("newer_attempt")))

    def _talk(self, job: str, attempt: int) -> _Talk:
        with self._talking:
            talk = self._talks.setdefault((job, attempt), _Talk())
            over = [key for key, each in self._talks.items() if each.last is not None]
            for key in over[: max(len(over) - REMEMBERED, 0)]:
                del self._talks[key]
            return talk


def _error_in(envelope: Envelope) -> PilotError:
    """What a failed call means, and whether it can ever succeed."""
    said = envelope.message or str(envelope.inner.get("ErrorDiag") or "")
    if refused := refusal_of(said):
        return refused
    if envelope.status in PERMANENT:
        told = f"the server refuses this for good, with status {envelope.status}: {said[:300]}; its log says why"
        return PilotError(Code.COMMUNICATIONFAILURE, told, permanent=True)
    return failure(f"the server could not do it: {said[:300] or 'it gives no reason'} (status {envelope.status})")


def _megabytes(size_b: int | None) -> int | None:
    return size_b // MB if size_b is not None and size_b > 0 else None
