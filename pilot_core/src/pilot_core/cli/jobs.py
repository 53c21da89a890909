"""``pilot jobs``: the jobs of a dispatcher as a table, followed as they change, or the whole story of one."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from pilot_core.cli.cancel import job_id
from pilot_core.cli.client import OVER, PAGE, STATES, Client, NoDispatcher, add_dispatcher, reach
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.output import answer, columns, count, duration, size
from pilot_core.cli.parser import OneOf, Parser, add_json
from pilot_core.cli.terminal import Block, fit, harmless, redraws

Job = Mapping[str, Any]

HEADINGS: Final = ("JOB", "NAME", "STATE", "NODE", "FOR", "CPU", "MEMORY", "ERROR")
LONGEST_NAME: Final = 32
WAIT_S: Final = 25
TAIL_LINES: Final = 20


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot jobs``."""
    parser.add_argument("ids", nargs="*", type=job_id, metavar="ID", help="Tell all that is known of these jobs.")
    parser.add_argument("--state", metavar="S", type=OneOf(*STATES), help=f"Only these: {', '.join(STATES)}.")
    parser.add_argument("--queue", metavar="Q", help="Only this queue.")
    parser.add_argument("--limit", type=_limit, default=100, metavar="N", help="At most so many, the newest first.")
    parser.add_argument("--watch", action="store_true", help="Stay, and show each change.")
    parser.add_argument("--until-done", action="store_true", help="Watch until all jobs are over; 1 if one failed.")
    add_json(parser)
    add_dispatcher(parser)


def _limit(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= 10_000:
        raise ArgumentTypeError(f"{word!r} is no number from 1 to 10000")
    return int(word)


def run(arguments: Namespace) -> int:
    """Show, follow, or tell a story."""
    if arguments.ids and (arguments.state or arguments.queue):
        raise Usage("--state and --queue choose jobs, and so do their numbers: give one of them", "jobs")
    if arguments.watch or arguments.until_done:
        return Watch(arguments).follow()
    with reach(arguments) as client:
        if arguments.ids:
            told = [client.get(f"jobs/{number}") for number in arguments.ids]
            answer(arguments.json, told, "\n\n".join(story(job, client.now()) for job in told))
            return 0
        page, now = newest(client, arguments), client.now()
    shown = table(page["jobs"], page["states"], now, width=None)
    more = page["total"] - len(page["jobs"])
    answer(arguments.json, page, "\n".join([*shown, *([f"and {more} more"] if more > 0 else [])]))
    return 0


def newest(client: Client, wanted: Namespace) -> dict[str, Any]:
    """The newest jobs up to the limit, in as many pages as it takes; all else is as the first page has it."""
    ask = partial(client.get, "jobs", state=wanted.state, queue=wanted.queue)
    first: dict[str, Any] = ask(limit=min(wanted.limit, PAGE))
    jobs = more = first["jobs"]
    while more and len(jobs) < min(wanted.limit, first["total"]):
        more = ask(limit=min(wanted.limit - len(jobs), PAGE), before=jobs[-1]["id"])["jobs"]
        jobs = [*jobs, *more]
    return {**first, "jobs": jobs}


# --- the table ------------------------------------------------------------------------------------------------------


def table(jobs: Sequence[Job], states: Mapping[str, int], now: float, *, width: int | None = 10**6) -> list[str]:
    """How many there are in each state, then a line a job."""
    there = [f"{states[state]} {state}" for state in STATES if states.get(state)]
    shown = columns(HEADINGS, [_row(job, now) for job in jobs], width=width).splitlines() if jobs else []
    return [", ".join(there) or "no jobs", *shown]


def _row(job: Job, now: float) -> tuple[object, ...]:
    name = f"{job['id']}.{job['attempt']}" if job["attempt"] > 1 else str(job["id"])
    lasted_s = _lasted_s(job, now)
    return (
        name,
        fit(job["name"] or "", LONGEST_NAME),
        _state(job),
        fit(job["node"] or "", LONGEST_NAME),
        duration(lasted_s) if lasted_s is not None else None,
        duration(job["cpu_s"]) if job["cpu_s"] else None,
        size(job["rss_b"]) if job["rss_b"] else None,
        _brief(job["error"]),
    )


def _state(job: Job) -> str:
    """The state; a job that is to be cancelled goes on until its pilot has heard of it."""
    return "cancelling" if job.get("cancelling") and job["state"] not in OVER else str(job["state"])


def _lasted_s(job: Job, now: float) -> float | None:
    """How long it runs or has run, or waits."""
    began = job["began"] if job["began"] is not None else job["submitted"]
    return None if began is None else max((job["ended"] or now) - began, 0.0)


def _brief(error: Mapping[str, Any] | None) -> str:
    if error is None:
        return ""
    return " ".join(harmless(f"{error['code']} {error['acronym']} {error.get('detail') or ''}").split())


# --- one job --------------------------------------------------------------------------------------------------------


def story(job: Job, now: float) -> str:
    """All that is known of a job: how it stands, why it failed and what to do, its attempts, files and last words."""
    return "\n".join(map(harmless, _story(job, now)))


def _story(job: Job, now: float) -> Iterator[str]:
    lasted_s = _lasted_s(job, now)
    node = f" on {job['node']}" if job["node"] else ""
    lasted = f", {duration(lasted_s)}" if lasted_s is not None else ""
    yield f"job {job['id']} ({job['name']}): {_state(job)}{node}{lasted}, attempt {job['attempt']}, {job['queue']}"
    yield from _blame(job)
    if job["lost"]:
        yield f"  {count(job['lost'], 'attempt')} lost: the pilot fell silent"
    if job.get("usage"):
        yield f"  {_used(job)}"
    if timing := {name: time_s for name, time_s in (job.get("timing") or {}).items() if time_s}:
        yield "  " + ", ".join(f"{name} {duration(time_s)}" for name, time_s in timing.items())
    if len(job.get("attempts", ())) > 1:
        yield from _indented(columns(("ATTEMPT", "STATE", "NODE", "ERROR"), map(_attempt, job["attempts"])))
    if job.get("files"):
        yield from _indented(columns(("FILE", "", "SIZE", "CHECKSUM", "PLACE"), map(_file, job["files"])))
    if told := job.get("answer"):
        yield f"  {told['command']}, {time.strftime('%H:%M:%S', time.localtime(told['at']))}:"
        yield from (f"    | {line}" for line in told["text"].splitlines())
    if tail := (job.get("log_tail") or "").rstrip():
        yield "  the last it said:"
        yield from (f"    | {line}" for line in tail.splitlines()[-TAIL_LINES:])


def _blame(job: Job) -> Iterator[str]:
    error = job["error"]
    if error is None:
        if job.get("advice"):
            yield f"  it waits: {job['advice']}"
        return
    if job["state"] == "cancelled":
        yield "  it was cancelled while it ran"
        return
    detail = f": {error['detail']}" if error.get("detail") else ""
    yield f"  {error['code']} {error['acronym']}, {error['sentence']}{detail}"
    if job.get("advice"):
        yield f"    what to do: {job['advice']}"


def _used(job: Job) -> str:
    last, most_b = job["usage"][-1], job["rss_b"] or 0
    read_b, written_b = last.get("read_b") or 0, last.get("written_b") or 0
    told = f"cpu {duration(last['cpu_s'] or 0)}, memory up to {size(most_b)}"
    return f"{told}, read {size(read_b)}, written {size(written_b)}"


def _attempt(attempt: Mapping[str, Any]) -> tuple[object, ...]:
    return attempt["attempt"], attempt["state"], attempt["node"], _brief(attempt["error"])


def _file(file: Mapping[str, Any]) -> tuple[object, ...]:
    size_b = file["size_b"]
    return file["name"], file["direction"], size(size_b) if size_b is not None else None, file["checksum"], file["url"]


def _indented(text: str) -> Iterator[str]:
    return (f"  {line}" for line in text.splitlines())


# --- following ------------------------------------------------------------------------------------------------------


class Watch:
    """Follows jobs by long polls: on a terminal a table redrawn in place, elsewhere a line for each change."""

    def __init__(self, arguments: Namespace) -> None:
        self._wanted = arguments
        self._jobs: dict[int, Job] = {}
        self._state_of: dict[int, str] = {}
        """Of all jobs that were seen, also of those that the table has no room for."""
        self._states: Mapping[str, int] = {}
        self._forgotten = 0
        self._said: dict[int, tuple[object, ...]] = {}
        redrawn = not arguments.json and redraws(sys.stdout, os.environ)
        self._block = Block(sys.stdout, os.environ) if redrawn else None
        self._unanswered: int | None = None
        """How often in a row there was no answer; none at all is a mistake of who asks."""

    def follow(self) -> int:
        """Until told to end, or with ``--until-done`` until there is no job left to wait for."""
        try:
            while True:
                try:
                    return self._follow()
                except NoDispatcher as away:
                    self._wait_for_it(away)
        finally:
            if self._block is not None:
                self._block.leave()

    def _follow(self) -> int:
        with reach(self._wanted) as self._client:
            version = self._begin()
            while not (self._wanted.until_done and self._done()):
                self._unanswered = 0
                version = self._wait(version)
        return 1 if any(self._number(state) for state in ("failed", "cancelled")) else 0

    def _wait_for_it(self, away: NoDispatcher) -> None:
        if self._unanswered is None:
            raise away
        wait_s = min(2.0**self._unanswered, WAIT_S)
        self._unanswered += 1
        print(f"pilot: {away}; asking again in {wait_s:.0f} s", file=self._block or sys.stderr, flush=True)
        time.sleep(wait_s)

    def _begin(self) -> int:
        wanted = self._wanted
        if wanted.ids:
            page = self._client.get("jobs", limit=1)
            jobs = [self._client.get(f"jobs/{number}") for number in reversed(wanted.ids)]
        else:
            page = newest(self._client, wanted)
            jobs, self._states = page["jobs"], page["states"]
        self._forgotten = page["forgotten"]
        self._take(jobs)
        version: int = page["version"]
        return version

    def _wait(self, version: int) -> int:
        wanted = self._wanted
        limit = None if wanted.ids else wanted.limit
        page = self._client.get("jobs", queue=wanted.queue, limit=limit, since=version, wait_s=WAIT_S)
        if page["forgotten"] != self._forgotten:
            self._jobs.clear()
            self._state_of.clear()
            return self._begin()
        self._states = {} if wanted.ids else page["states"]
        self._take(page["jobs"])
        latest: int = page["version"]
        return latest

    def _take(self, jobs: Sequence[Job]) -> None:
        """Note what changed, and show it."""
        for job in reversed(jobs):
            if self._is_wanted(job):
                self._jobs[job["id"]] = job
                self._state_of[job["id"]] = job["state"]
                self._say(job)
        for number in sorted(self._jobs)[: -self._wanted.limit]:
            del self._jobs[number]
        if self._block is not None:
            newest = [self._jobs[number] for number in sorted(self._jobs, reverse=True)]
            states = {state: sum(job["state"] == state for job in newest) for state in STATES}
            self._block.show(table(newest, self._states or states, self._client.now()))

    def _is_wanted(self, job: Job) -> bool:
        if self._wanted.ids:
            return job["id"] in self._wanted.ids
        return job["id"] in self._state_of or self._wanted.state in (None, job["state"])

    def _say(self, job: Job) -> None:
        """A line, if there is no table and what people look for has changed."""
        what = (_state(job), job["attempt"], job["node"], job["error"] and job["error"]["code"])
        if self._block is not None or self._said.get(job["id"]) == what:
            return
        self._said[job["id"]] = what
        if self._wanted.json:
            import json

            print(json.dumps(job), flush=True)
        else:
            print(" ".join(_said(job)), flush=True)

    def _done(self) -> bool:
        """Whether no job is active, neither by the dispatcher's count nor as far as was seen here."""
        wanted = (self._wanted.state,) if self._wanted.state else STATES
        counted = any(self._states.get(state) for state in wanted if state not in OVER)
        return not counted and all(state in OVER for state in self._state_of.values())

    def _number(self, state: str) -> int:
        """How many jobs that are meant are in a state: the dispatcher counts also those beyond the limit."""
        if self._wanted.ids or self._wanted.state not in (None, state):
            return sum(each == state for each in self._state_of.values())
        return self._states.get(state, 0)


def _said(job: Job) -> Iterator[str]:
    yield time.strftime("%H:%M:%S")
    yield f"job {job['id']} ({fit(job['name'] or '', LONGEST_NAME)}): {_state(job)}"
    if job["node"]:
        yield f"on {fit(job['node'], LONGEST_NAME)}"
    if job["attempt"] > 1:
        yield f"attempt {job['attempt']}"
    if job["error"]:
        yield f"{_brief(job['error'])}"
