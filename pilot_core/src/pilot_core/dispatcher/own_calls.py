"""The dispatcher's own calls: submitting jobs, looking at them, steering them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pilot_core.config.spelling import meant
from pilot_core.dispatcher.asking import why_not_asked
from pilot_core.dispatcher.config import Config, ServedQueue
from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.leases import STATES
from pilot_core.dispatcher.listing import MOST, Asked, list_jobs, list_queues, show_job, was_there
from pilot_core.dispatcher.messages import Request, Response
from pilot_core.dispatcher.pilot_calls import Nodes
from pilot_core.dispatcher.store import Store
from pilot_core.dispatcher.wire import Order, read_order
from pilot_core.model.wire import BadMessage, Fields, Problem, shown

DAY_S: Final = 86400
LONGEST_WAIT_S: Final = 25
MOST_AT_ONCE: Final = 100_000
_ASKABLE: Final = ("queue", "state", "text", "limit", "before", "since", "wait_s")


class OwnCalls:
    """Answers in plain JSON; what is refused says why in one sentence."""

    def __init__(self, store: Store, config: Config, nodes: Nodes) -> None:
        self._store = store
        self._config = config
        self._nodes = nodes

    # --- looking ---

    def queues(self, request: Request) -> Response:
        """Every queue with its jobs by state."""
        statuses = {name: queue.status for name, queue in self._config.queues.items()}
        with self._store.reading() as database:
            version, queues = self._store.version, list_queues(database, statuses)
        told = [{**each, "pilots": self._nodes.count(str(each["name"]))} for each in queues]
        return Response.of({"version": version, "queues": told})

    def jobs(self, request: Request) -> Response:
        """A page of jobs; with ``since`` those that changed, and if none did, after a wait."""
        asked, wait_s = _asked(request.query)
        if asked.since is not None and asked.since <= self._store.version:
            self._store.wait(asked.since, wait_s)
        with self._store.reading() as database:
            return Response.of(list_jobs(database, asked, self._store.version))

    def job(self, request: Request) -> Response:
        """All that is known of one job."""
        written = request.path.rpartition("/")[2]
        with self._store.reading() as database:
            found = show_job(database, int(written), self._nodes.crew) if _is_number(written) else None
            forgotten = found is None and _is_number(written) and was_there(database, int(written))
        if forgotten:
            told = f"jobs that are over are kept for {self._config.keep_s / DAY_S:g} days ('keep' in its configuration)"
            raise Refused(404, f"job {written} is here no more: {told}")
        if found is None:
            raise Refused(404, f"there is no job {shown(written)} here")
        return Response.of(found)

    # --- submitting ---

    def submit(self, request: Request) -> Response:
        """New jobs, all of them or none."""
        fields = Fields(request.json())
        queue = self._queue(fields)
        orders = self._orders(fields, queue)
        fields.refuse_unknown()
        if fields.problems:
            return _malformed(fields.problems)
        return Response.of({"ids": self._store.submit(queue.name, orders)})

    def _queue(self, fields: Fields) -> ServedQueue:
        known = tuple(self._config.queues)
        name = fields.text("queue", known[0])
        if name in known:
            return self._config.queues[name]
        fields.problem("queue", f"no queue {shown(name)} here{meant(name, known)}; there are {', '.join(known)}")
        return ServedQueue(name=name)

    def _orders(self, fields: Fields, queue: ServedQueue) -> list[Order]:
        orders: list[Order] = []
        items = fields.items("jobs", "a list of jobs")
        if not items:
            fields.problem("jobs", "holds none; write a list of mappings with a 'description' each")
        for place, value in items:
            try:
                orders.append(read_order(value, queue, tuple(self._config.storages), place))
            except BadMessage as bad:
                fields.problems.extend(bad.problems)
        if sum(order.count for order in orders) > MOST_AT_ONCE:
            fields.problem("jobs", f"are more than {MOST_AT_ONCE} with their counts; submit them in parts")
        return orders

    # --- steering ---

    def cancel(self, request: Request) -> Response:
        """End jobs."""
        ids = _steered(request, "cancel")
        return _done(ids, self._store.cancel(ids))

    def retry(self, request: Request) -> Response:
        """Put ended jobs back."""
        ids = _steered(request, "retry")
        return _done(ids, self._store.retry(ids))

    def debug(self, request: Request) -> Response:
        """Follow jobs closely, or no more; with a command that looks at them where they run."""
        fields = Fields(request.json())
        command, on = _command(fields), fields.flag("on", default=True)
        ids = _ids(fields, "debug")
        return _done(ids, self._store.debug(ids, on, command))


def _steered(request: Request, what: str) -> list[int]:
    return _ids(Fields(request.json()), what)


def _command(fields: Fields) -> str:
    written = fields.text("command").strip()
    if written and (why := why_not_asked(written)):
        fields.problem("command", why)
    return written


def _ids(fields: Fields, what: str) -> list[int]:
    items = fields.items("ids", "a list of jobs' numbers")
    ids = [each for _, each in items if isinstance(each, int) and not isinstance(each, bool) and 0 < each < 2**63]
    if len(ids) < len(items):
        wrong = next(place for place, each in items if each not in ids or isinstance(each, bool))
        fields.problem(wrong, "wants a job's number")
    elif not items:
        fields.problem("ids", f"names no job to {what}")
    fields.refuse_unknown()
    if fields.problems:
        raise Refused(400, str(fields.problems[0]))
    return ids


def _done(ids: Iterable[int], refused: Mapping[int, str]) -> Response:
    done = [job for job in dict.fromkeys(ids) if job not in refused]
    return Response.of({"done": done, "refused": [{"id": job, "why": why} for job, why in refused.items()]})


def _malformed(problems: Iterable[Problem]) -> Response:
    told = [{"path": each.path, "text": each.text} for each in problems]
    first, more = told[0], f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    return Response.of({"error": f"{first['path']}: {first['text']}{more}", "problems": told}, 400)


def _asked(query: Mapping[str, list[str]]) -> tuple[Asked, float]:
    for name in query:
        if name not in _ASKABLE:
            raise Refused(400, f"no filter {shown(name)}{meant(name, _ASKABLE)}; there are {', '.join(_ASKABLE)}")
    texts = {name: values[-1] for name, values in query.items()}
    state = texts.get("state", "")
    if state and state not in STATES:
        raise Refused(400, f"no state {shown(state)}{meant(state, STATES)}; there are {', '.join(STATES)}")
    number: Callable[[str, int], int] = lambda name, default: _number(name, texts.get(name, ""), default)  # noqa: E731
    asked = Asked(
        queue=texts.get("queue", ""),
        state=state,
        text=texts.get("text", "").strip()[:200],
        limit=min(max(number("limit", 100), 1), MOST),
        before=number("before", 0),
        since=number("since", 0) if texts.get("since") else None,
    )
    return asked, min(number("wait_s", 0), LONGEST_WAIT_S)


def _number(name: str, written: str, default: int) -> int:
    if not written:
        return default
    if not _is_number(written):
        raise Refused(400, f"{name} wants a whole number, not {shown(written)}")
    return int(written)


def _is_number(written: str) -> bool:
    return written.isascii() and written.isdigit() and len(written) <= 18
