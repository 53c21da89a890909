"""Every route of the dispatcher, and who may go it."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable
from typing import Final

from attrs import evolve, frozen

from pilot_core.clock import Clock
from pilot_core.config.spelling import meant
from pilot_core.dispatcher import legacy
from pilot_core.dispatcher.config import LEGACY, V1, Config
from pilot_core.dispatcher.credential_calls import CredentialCalls
from pilot_core.dispatcher.facts import queue_facts, storage_facts
from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.lending import Lending
from pilot_core.dispatcher.messages import Request, Response
from pilot_core.dispatcher.own_calls import OwnCalls
from pilot_core.dispatcher.pilot_calls import (
    ADMIN,
    RUN,
    SUBMIT,
    Nodes,
    PilotCalls,
    alive,
    as_asked,
    database_failed,
    is_known,
    refused,
    resource_types,
)
from pilot_core.dispatcher.store import Store
from pilot_core.dispatcher.stored import NONE_B, SMALL_B, Keeps, Stored
from pilot_core.dispatcher.tokens import Tokens

_STORED: Final = re.compile(r"/storage/([^/]+)/([^/]+)")
_INPUT: Final = re.compile(r"/storage/inputs/([^/]+)/([^/]+)")
_QUEUE: Final = re.compile(r"/cache/schedconfig/([^/]+)\.all\.json")
_JOB: Final = re.compile(r"/dispatcher/v1/jobs/[^/]+")
_PILOT: Final = "/api/v1/"
_LATEST: Final = "/api/latest/"

MOST_REMOVED: Final = 100
"""How many attempts' files one round removes, and how many jobs it forgets."""
LOOK_S: Final = 3600.0
"""How often inputs are looked through for those that no job names any more."""
log = logging.getLogger(__name__)


@frozen
class Route:
    """How one path is gone: by which method, by whom, and what answers."""

    method: str
    roles: frozenset[str]
    answer: Callable[[Request], Response]


class Service:
    """Answers requests; what it will not do it refuses by ``Refused``. Several threads may ask at once.

    ``scheme`` is what it is reached by, for the addresses that it tells.
    """

    def __init__(
        self, store: Store, storage: Keeps, config: Config, tokens: Tokens, clock: Clock, *, scheme: str = "http"
    ) -> None:
        self.store = store
        self._storage = storage
        self._stored = Stored(store, storage, SMALL_B if config.own.path is None else NONE_B)
        self._config = config
        self._clock, self._look_at = clock, clock.mono()
        self.scheme = scheme
        nodes = Nodes(config, clock)
        pilots = PilotCalls(store, config, nodes)
        lending = Lending(tokens, config, clock)
        self._legacy = legacy.LegacyCalls(pilots, lending, LEGACY in config.dialects)
        v1 = self._table_of_v1(pilots, CredentialCalls(lending)) if V1 in config.dialects else {}
        self._routes = v1 | self._table(OwnCalls(store, config, nodes))

    def answer(self, request: Request) -> Response:
        """The answer to one request."""
        if request.path in ("/", "/index.html") and request.method in ("GET", "HEAD"):
            return _page()
        if request.path.startswith(legacy.FOLDER):
            return self._answer_older(request)
        if V1 in self._config.dialects:
            if request.path.startswith(_LATEST):
                request = evolve(request, path=_PILOT + request.path.removeprefix(_LATEST))
            if request.path.startswith(_PILOT):
                return self._answer_pilot(request)
        return self._answer_own(request)

    def _answer_own(self, request: Request) -> Response:
        try:
            return self._answer(request)
        except sqlite3.Error as error:
            self.store.trouble.hear(error)
            raise Refused(503, f"the dispatcher's database failed: {error}; try again") from None

    def _answer_pilot(self, request: Request) -> Response:
        """Whatever comes of it, as a server of the first version says it."""
        try:
            response = self._answer(request)
        except Refused as why:
            response = refused(request, why)
        except sqlite3.Error as error:
            self.store.trouble.hear(error)
            response = database_failed(request)
        return as_asked(request, response)

    def _answer_older(self, request: Request) -> Response:
        try:
            _check_token(request)
            return self._legacy.answer(request)
        except Refused as why:
            return legacy.refused(request, why)
        except sqlite3.Error as error:
            self.store.trouble.hear(error)
            return legacy.database_failed(request)

    def _answer(self, request: Request) -> Response:
        _check_token(request)
        route = self._find(request)
        if request.role not in route.roles:
            wanted = " or ".join(f"{role!r}" for role in sorted(route.roles))
            raise Refused(403, f"the token is for {request.role!r}; this takes one for {wanted}")
        return route.answer(request)

    def sweep(self) -> list[int]:
        """Take jobs away from pilots that are lost, and remove what nobody wants any more; which jobs those were."""
        try:
            lost = self.store.sweep(self._config.queue)
            self._forget_old()
            self._stored.remove_leftovers(MOST_REMOVED)
        except sqlite3.Error as error:
            self.store.trouble.hear(error)
            return []
        return lost

    def _forget_old(self) -> None:
        """Forget jobs that are over for as long as they are kept, and inputs that none of the others names."""
        old = self._clock.now() - self._config.keep_s
        self.store.forget_jobs(old, MOST_REMOVED)
        if self._clock.mono() < self._look_at:
            return
        self._look_at = self._clock.mono() + LOOK_S
        for left in self._storage.remove_inputs(old, self.store.inputs_named()):
            log.warning("an input that no job names stays: %s", left)

    def let_go(self) -> None:
        """Answer those at once who wait for something to change."""
        self.store.let_go()

    def close(self) -> None:
        """Leave the store."""
        self.store.close()

    def _find(self, request: Request) -> Route:
        found = self._routes.get(request.path) or self._pattern(request)
        if not found:
            raise Refused(404, f"nothing is at {request.path[:80]!r}{meant(request.path, self._routes)}")
        method = "GET" if request.method == "HEAD" else request.method
        for route in found:
            if route.method == method:
                return route
        known = ", ".join(route.method for route in found)
        raise Refused(405, f"expecting {known}, received {request.method}")

    def _pattern(self, request: Request) -> tuple[Route, ...]:
        return next((routes for pattern, routes in self._patterns if pattern.fullmatch(request.path)), ())

    def _table(self, own: OwnCalls) -> dict[str, tuple[Route, ...]]:
        run, people = frozenset({RUN, ADMIN}), frozenset({SUBMIT, ADMIN})
        admin, all_three = frozenset({ADMIN}), frozenset({RUN, SUBMIT, ADMIN})
        self._patterns = (
            (_STORED, (Route("GET", all_three, self._get), Route("PUT", run, self._put))),
            (_INPUT, (Route("GET", all_three, self._get_input), Route("PUT", people, self._put_input))),
            (_JOB, (Route("GET", people, own.job),)),
            (_QUEUE, (Route("GET", run, self._queue_facts),)),
        )
        return {
            "/cache/ddmendpoints.json": (Route("GET", run, self._storage_facts),),
            "/dispatcher/v1/queues": (Route("GET", people, own.queues),),
            "/dispatcher/v1/jobs": (Route("GET", people, own.jobs),),
            "/dispatcher/v1/submit": (Route("POST", people, own.submit),),
            "/dispatcher/v1/cancel": (Route("POST", people, own.cancel),),
            "/dispatcher/v1/retry": (Route("POST", people, own.retry),),
            "/dispatcher/v1/debug": (Route("POST", admin, own.debug),),
        }

    @staticmethod
    def _table_of_v1(pilots: PilotCalls, credentials: CredentialCalls) -> dict[str, tuple[Route, ...]]:
        run, admin = frozenset({RUN, ADMIN}), frozenset({ADMIN})
        return {
            "/api/v1/pilot/acquire_jobs": (Route("POST", run, pilots.acquire),),
            "/api/v1/pilot/update_job": (Route("POST", run, pilots.update),),
            "/api/v1/pilot/update_jobs_bulk": (Route("POST", run, pilots.update_bulk),),
            "/api/v1/pilot/get_job_status": (Route("GET", run, pilots.states),),
            "/api/v1/pilot/update_worker_status": (Route("POST", run, pilots.worker),),
            "/api/v1/pilot/update_worker_node": (Route("POST", run, pilots.node),),
            "/api/v1/pilot/update_worker_node_gpu": (Route("POST", run, pilots.gpu),),
            "/api/v1/job/get_status": (Route("GET", run, pilots.commands),),
            "/api/v1/job/set_debug_mode": (Route("POST", admin, pilots.debug),),
            "/api/v1/creds/get_access_token": (Route("GET", run, credentials.token),),
            "/api/v1/creds/get_proxy": (Route("GET", run, credentials.proxy),),
            "/api/v1/creds/get_token_key": (Route("GET", admin, credentials.key),),
            "/api/v1/creds/get_user_secrets": (Route("GET", run, credentials.secrets),),
            "/api/v1/metaconfig/get_resource_types": (Route("GET", run, resource_types),),
            "/api/v1/system/is_alive": (Route("GET", run | {SUBMIT}, alive),),
        }

    # --- facts ---

    def _queue_facts(self, request: Request) -> Response:
        name = _parts(_QUEUE, request)[0]
        queue = self._config.queues.get(name)
        if queue is None:
            raise Refused(404, f"no queue {name[:80]!r} is served here{meant(name, self._config.queues)}")
        return Response.of(queue_facts(queue))

    def _storage_facts(self, request: Request) -> Response:
        return Response.of(storage_facts(self._config, f"{self.scheme}://{request.headers.get('host', '')}"))

    # --- stored files ---

    def _get(self, request: Request) -> Response:
        scope, name = _parts(_STORED, request)
        return self._stored.open(scope, name, request.headers.get("range", ""))

    def _get_input(self, request: Request) -> Response:
        sha256, name = _parts(_INPUT, request)
        return self._storage.open_input(sha256, name, request.headers.get("range", ""))

    def _put(self, request: Request) -> Response:
        scope, name = _parts(_STORED, request)
        return self._stored.put(scope, name, request.body, request.headers.get("digest", ""))

    def _put_input(self, request: Request) -> Response:
        sha256, name = _parts(_INPUT, request)
        return self._storage.put_input(sha256, name, request.body, request.body.length)


def _check_token(request: Request) -> None:
    if not is_known(request):
        raise Refused(403, "a valid token is needed; send it as 'Authorization: Bearer ...'")


def _parts(pattern: re.Pattern[str], request: Request) -> tuple[str, ...]:
    found = pattern.fullmatch(request.path)
    assert found is not None
    return found.groups()


def _page() -> Response:
    from pilot_core.dispatcher.page import HEADERS, page

    return Response(200, page(), type="text/html; charset=utf-8", headers=HEADERS)
