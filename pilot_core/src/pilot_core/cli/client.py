"""How the commands of a laptop or a small cluster find their dispatcher, and speak with it."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from pilot_core.cli.mistakes import Usage
from pilot_core.cli.parser import Parser
from pilot_core.cli.terminal import harmless
from pilot_core.errors import PilotError
from pilot_core.io.home import default_home

if TYPE_CHECKING:
    from pilot_core.io.http import Answer, Web

API: Final = "/dispatcher/v1"
ROLE: Final = "submit"
WAY_OUT: Final = "start one with `pilot serve`, or name another by --home, --url or --join"
SAME_CLOCK_S: Final = 3.0
HELD: Final = ("sent", "starting", "running", "holding", "transferring")
OVER: Final = ("finished", "failed", "cancelled")
STATES: Final = ("activated", *HELD, *OVER)
PAGE: Final = 1000
"""How many jobs a dispatcher tells at a time."""
UNREACHED: Final = frozenset({"refused", "no route"})


class NoDispatcher(Exception):
    """No dispatcher is known here, or none answers where it should be."""


class Refused(Exception):
    """The dispatcher answered, and will not do it."""


@frozen
class Place:
    """Where a dispatcher is and what opens it: a file with a token, or the token itself."""

    url: str
    fingerprint: str = ""
    token: Path | None = None
    secret: str = ""
    queue: str = ""


def add_dispatcher(parser: Parser) -> None:
    """Add the options that say which dispatcher is meant."""
    group = parser.add_argument_group("which dispatcher; by default the one that `pilot serve` runs here")
    group.add_argument("--home", type=Path, metavar="DIR", help="The home of one that runs on this node.")
    group.add_argument("--join", metavar="FILE|-", help="Its join string for people (join-submit); - is stdin.")
    group.add_argument("--url", help="Its address.")
    group.add_argument("--token-file", type=Path, metavar="FILE", help="The file with the token for it.")
    group.add_argument("--fingerprint", metavar="HEX", help="The SHA-256 of its certificate, if it made that itself.")


@contextmanager
def reach(arguments: Namespace, role: str = ROLE) -> Iterator[Client]:
    """The dispatcher that the command line means, or else the environment, or else the one of this node."""
    place = find(arguments, os.environ, role)
    with ExitStack() as leaving:
        from pilot_core.io.http import Web

        token = place.token or leaving.enter_context(_kept(place.secret))
        web = Web((place.url,), token=token, fingerprint=place.fingerprint)
        leaving.callback(web.close)
        yield Client(web, place, role)


def find(arguments: Namespace, environ: Mapping[str, str], role: str = ROLE) -> Place:
    """Where the dispatcher is. ``$PILOT_JOIN`` says nothing here: it is for pilots, and so is its token."""
    _refuse_contradiction(arguments)
    if arguments.url:
        if arguments.token_file is None:
            raise Usage("--url wants --token-file beside it: who has no token gets nothing", arguments.command)
        return Place(arguments.url, arguments.fingerprint or "", arguments.token_file)
    if arguments.join:
        return _joined(arguments)
    here = dispatcher_at(arguments.home or default_home(environ), role)
    return evolve(here, token=arguments.token_file or here.token, queue="")


def _refuse_contradiction(arguments: Namespace) -> None:
    given = [name for name in ("home", "url", "join") if getattr(arguments, name)]
    if len(given) > 1:
        raise Usage(f"--{given[0]} and --{given[1]} both say which dispatcher: give one of them", arguments.command)
    if arguments.fingerprint and not arguments.url:
        raise Usage("--fingerprint goes with --url", arguments.command)


def dispatcher_at(home: Path, role: str = ROLE) -> Place:
    """Where the dispatcher is that lives there, if one does, and the token of this role."""
    from pilot_core.io.files import NotJson, read_json

    if not _lives(home):
        raise NoDispatcher(f"no dispatcher runs in {home}; {WAY_OUT}")
    try:
        told = read_json(home / "server.json")
        place = Place(told["url"], told.get("fingerprint") or "", home / "tokens" / role, queue=told.get("queue") or "")
    except FileNotFoundError:
        raise NoDispatcher(f"no dispatcher runs in {home}; {WAY_OUT}") from None
    except NotJson as broken:
        raise NoDispatcher(f"{broken}; {WAY_OUT}") from None
    except (TypeError, KeyError, AttributeError):
        raise NoDispatcher(f"{home / 'server.json'} does not say where the dispatcher is; {WAY_OUT}") from None
    return place


def _lives(home: Path) -> bool:
    """Whether a process holds the home. One that was killed does not, and a stranger may listen where it did."""
    try:
        fd = os.open(home / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _joined(arguments: Namespace) -> Place:
    from pilot_core.io.join import BadJoin, find_join

    try:
        join = find_join(arguments.join, {})
    except BadJoin as bad:
        raise Usage(str(bad), arguments.command) from None
    assert join is not None, "a source was there"
    return Place(join.url, join.fingerprint, secret=join.token, queue=join.queue)


@contextmanager
def _kept(secret: str) -> Iterator[Path]:
    """The token in a file of memory: no disk ever holds it."""
    fd = os.memfd_create("token")
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, secret.encode())
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


class Client:
    """Asks a dispatcher; what it refuses is raised in its own words."""

    def __init__(self, web: Web, place: Place, role: str = ROLE) -> None:
        self.web = web
        self.url = place.url.rstrip("/")
        self._queue = place.queue
        self._ahead_s = 0.0
        self._by_join = bool(place.secret)
        self._role = role

    def now(self) -> float:
        """The time by the dispatcher's clock, which may not be this node's, since its last answer."""
        return time.time() + self._ahead_s

    def get(self, path: str, **query: object) -> Any:
        """What it says of something."""
        wanted = {name: str(value) for name, value in query.items() if value not in (None, "")}
        return self.ask("GET", f"{API}/{path}", query=wanted, repeat=True).json()

    def post(self, path: str, value: object) -> Any:
        """What it says after having done something."""
        return self.ask("POST", f"{API}/{path}", json=value).json()

    def ask(self, method: str, path: str, *, known: tuple[int, ...] = (), **more: Any) -> Answer:
        """One small call."""
        return self.spoken(partial(self.web.call, method, path), known=known, **more)

    def spoken(self, call: Callable[..., Answer], *, known: tuple[int, ...] = (), **more: Any) -> Answer:
        """The answer to any call; a status that is neither good nor ``known`` to the caller is raised."""
        try:
            answer = call(**more)
        except PilotError as failed:
            raise NoDispatcher(f"no answer from the dispatcher at {self.url}: {_what_now(failed)}") from failed
        self._ahead_s = _ahead_s(answer.headers.get("date", ""))
        if answer.status < 300 or answer.status in known:
            return answer
        way_out = f"; {self._right_join()}" if answer.status == 403 and self._by_join else ""
        raise Refused(f"the dispatcher at {self.url} refused: {_reason(answer)}{way_out}")

    def numbers(self, state: str, queue: str | None) -> Iterator[int]:
        """The jobs in a state, page after page, the oldest last."""
        before: int | None = None
        while jobs := self.get("jobs", state=state, queue=queue, limit=PAGE, before=before)["jobs"]:
            yield from (job["id"] for job in jobs)
            before = jobs[-1]["id"]

    def _right_join(self) -> str:
        from pilot_core.io.join import JOINS

        return f"the join string that opens this is the file `{JOINS[self._role]}` in its home, as it is there now"

    def queue(self, named: str | None, command: str) -> str:
        """The queue that is meant: the one named, that of the join string, or the only one there is."""
        if named or self._queue:
            return named or self._queue
        served = [str(each["name"]) for each in self.get("queues")["queues"]]
        if len(served) != 1:
            raise Usage(f"--queue is wanted: this dispatcher serves {', '.join(served) or 'none'}", command)
        return served[0]


def _ahead_s(date: str) -> float:
    """How far the clock of who wrote this date is ahead of ours, if that is more than an answer takes."""
    try:
        ahead_s = parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return 0.0
    return ahead_s if abs(ahead_s) > SAME_CLOCK_S else 0.0


def _what_now(failed: PilotError) -> str:
    told = failed.detail or failed.code.sentence
    if failed.facts.get("cause") in UNREACHED:
        return f"{told}; {WAY_OUT}"
    return f"{told}; it may have been done all the same: look with `pilot jobs`" if failed.facts.get("sent") else told


def _reason(answer: Answer) -> str:
    try:
        told = answer.json()
    except PilotError:
        told = None
    if not isinstance(told, Mapping) or "error" not in told:
        return f"it answered {answer.status} and gave no reason"
    error = str(told["error"])
    problems = (f"{each.get('path', '')}: {each.get('text', '')}" for each in told.get("problems", ()))
    return harmless("\n".join((error, *(each for each in problems if each not in error))))


def tell_done(done: Mapping[str, Any], what: str) -> int:
    """Say which jobs an order met and which not, and why; 1 if it missed any."""
    for job in done["done"]:
        print(f"job {job}: {what}")
    sys.stdout.flush()
    for each in done["refused"]:
        print(f"pilot: job {each['id']}: {harmless(str(each['why']))}", file=sys.stderr)
    return 1 if done["refused"] else 0
