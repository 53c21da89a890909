"""Documents of facts, from files and servers: fetched once in a while, and kept in the site's cache directory.

The first line of a kept document is a note of whence and when it came. Only what was read and found good replaces both,
in one step. An older one is used where no newer is to be had, or the newer tells nothing, with a warning that says how
old it is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from attrs import evolve, frozen

from pilot_core.sdk import Code, Connection, ErrorCode, PilotError, Settings
from pilot_core.sdk.io import write_atomic

if TYPE_CHECKING:
    from pilot_core.sdk.web import Answer, Web

LIMIT_S: Final = 20.0
"""For one document, all attempts together."""
REST_S: Final = 60.0
"""After a failure that document is not asked for again for so long, and after no answer no other of its source."""
LONGEST_NAME: Final = 150
LARGE_B: Final = 1 << 20
"""What is longer is not held in memory between questions, if it can be read again."""
log = logging.getLogger(__name__)

Facts = Mapping[str, object]
Good = Callable[[Facts], object]


@frozen(kw_only=True)
class Document:
    """Facts, the place they came from, and when, by the wall clock.

    ``tag`` is the server's name for this version, ``modified`` when the server says that it came to be.
    """

    facts: Facts
    place: str
    taken: float
    tag: str = ""
    modified: str = ""
    body: bytes = b""
    """As it was read, while it may have to be kept."""
    lean: bool = False
    """Whether its facts are left out, to be read again."""
    said: str = ""
    """What a server says of there being nothing."""

    def age_s(self) -> float:
        """Its age; without end for one from the future, whose age nobody knows."""
        age_s = time.time() - self.taken
        return age_s if age_s >= -1 else float("inf")


class Documents:
    """The documents of one source. Safe in any thread."""

    def __init__(self, source: str, settings: Settings, *, keep: bool = True) -> None:
        self._source = source
        self._settings = settings
        told = settings.of(Connection)
        self._folder, self._oldest_s = told.cache_dir if keep else None, told.cache_oldest_s
        self._torn = Code.COMMUNICATIONFAILURE if keep else Code.QUEUEDATANOTOK
        self._own = told.url[0].rstrip("/") if told.url else ""
        self._lock = threading.Lock()
        self._held: dict[str, tuple[float, Document | PilotError]] = {}
        self._away: tuple[float, PilotError] | None = None
        self._web: Web | None = None

    def read(self, what: str, place: str, fresh_s: float, good: Good) -> Document:
        """The document ``what`` from a path or a URL, asked for again if what is known is older than ``fresh_s``.

        Only one that is ``good`` is kept; another counts if no good one is known. ``PilotError`` if there is none at
        all.
        """
        with self._lock:
            until, held = self._held.get(place, (0.0, None))
            if isinstance(held, Document) and held.lean:
                held = self._kept(what, place)
            if held is None or time.monotonic() >= until:
                until, held = self._look(what, place, fresh_s, good)
            self._held[place] = until, held
        if isinstance(held, PilotError):
            raise held
        return held

    def rest(self) -> None:
        """Let go of connections, and of what is large; the next question makes new ones, or reads it again."""
        with self._lock:
            self._held = {place: (until, _lean(held)) for place, (until, held) in self._held.items()}
            if self._web is not None:
                self._web.close()
                self._web = None

    def _look(self, what: str, place: str, fresh_s: float, good: Good) -> tuple[float, Document | PilotError]:
        """What is known or to be had, and until when that will do."""
        now, old = time.monotonic(), self._kept(what, place)
        if old and old.age_s() < fresh_s:
            return now + fresh_s - old.age_s(), old
        if self._away and now < self._away[0]:
            return self._away[0], self._instead(old, self._away[1])
        try:
            new = self._fetched(place, old)
        except PilotError as failed:
            if failed.facts.get("cause"):
                self._away = now + REST_S, failed
            return now + REST_S, self._instead(old, failed)
        if good(new.facts):
            return now + fresh_s, new if self._keep(what, new) else evolve(new, body=b"")
        if old and old.age_s() <= self._oldest_s:
            return now + REST_S, self._instead(old, _without(what, new))
        return now + fresh_s, evolve(new, body=b"")

    def _instead(self, old: Document | None, failed: PilotError) -> Document | PilotError:
        if old is None:
            return failed
        age = _hours(old.age_s())
        if old.age_s() > self._oldest_s:
            told = f"{failed.detail}; what is kept is {age} old, and connection.cache_oldest_s allows less"
            return PilotError(failed.code, told, **failed.facts)
        log.warning("%s; what it told %s ago is used", failed.detail, age)
        return old

    def _fetched(self, place: str, old: Document | None) -> Document:
        if "://" not in place:
            return _read_file(place, self._torn)
        headers = {"If-None-Match": old.tag, "If-Modified-Since": old.modified} if old else {}
        known = {name: value for name, value in headers.items() if value}
        answer = self._asked().call("GET", self._path(place), headers=known, limit_s=LIMIT_S, repeat=True)
        if answer.status == 304 and old:
            return evolve(old, taken=time.time())
        return _read_answer(place, answer)

    def _path(self, url: str) -> str:
        """A URL of the server's own without its address, so that any address of the server will do."""
        own = bool(self._own) and url.startswith(f"{self._own}/")
        return url.removeprefix(self._own) if own else url

    def _asked(self) -> Web:
        if self._web is None:
            from pilot_core.sdk.web import web_of

            self._web = web_of(self._settings)
        return self._web

    # --- the cache directory -----------------------------------------------------------------------------------------

    def _path_of(self, folder: Path, what: str) -> Path:
        name = quote(what, safe="")
        if len(name) > LONGEST_NAME:
            name = hashlib.sha256(what.encode()).hexdigest()
        return folder / f"{self._source}.{name}.kept"

    def _kept(self, what: str, place: str) -> Document | None:
        """What the cache holds, if it is whole, from this very place, and written by somebody we trust."""
        if self._folder is None:
            return None
        document = self._path_of(self._folder, what)
        try:
            note, _, body = _read_own(document).partition(b"\n")
            told = json.loads(note)
            if told["place"] != place or told["sha256"] != hashlib.sha256(body).hexdigest():
                return None
            facts, taken = _facts(body, str(document)), float(told["taken"])
            tag, modified = str(told["tag"]), str(told.get("modified", ""))
            return Document(facts=facts, place=place, taken=taken, tag=tag, modified=modified, body=body)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, PilotError) as error:
            log.warning("%s is not used: %s", document, error)
            return None

    def _keep(self, what: str, new: Document) -> bool:
        if self._folder is None:
            return False
        document = self._path_of(self._folder, what)
        sha256 = hashlib.sha256(new.body).hexdigest()
        told = {"place": new.place, "taken": new.taken, "tag": new.tag, "modified": new.modified, "sha256": sha256}
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(document, json.dumps(told).encode() + b"\n" + new.body)
        except OSError as error:
            log.warning("%s cannot be kept: %s", document, error.strerror)
            return False
        return True


def _without(what: str, new: Document) -> PilotError:
    """What to say of a document that is well written and tells nothing of what it was asked for."""
    told = f"{new.place} tells nothing of {what}"
    return PilotError(Code.COMMUNICATIONFAILURE, f"{told}: it says: {new.said}" if new.said else told)


def _lean(held: Document | PilotError) -> Document | PilotError:
    """Without its body, and without facts that can be read again, if they are many."""
    if isinstance(held, PilotError) or held.lean:
        return held
    many = len(held.body) > LARGE_B
    return evolve(held, body=b"", facts={} if many else held.facts, lean=many)


def _read_own(path: Path) -> bytes:
    """A file that nobody else could have written."""
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        if about.st_uid not in (0, os.geteuid()) or about.st_mode & stat.S_IWOTH:
            raise PermissionError(f"somebody else may have written {path}; remove it")
        return file.read()


def _read_file(place: str, torn: ErrorCode) -> Document:
    """What lies there. What is not worth a copy was laid there for this pilot, and does not mend itself when torn."""
    try:
        body = Path(place).read_bytes()
    except OSError as error:
        raise PilotError(Code.COMMUNICATIONFAILURE, f"{place}: {error.strerror}") from error
    return Document(facts=_facts(body, place, torn), place=place, taken=time.time(), body=body)


def _read_answer(place: str, answer: Answer) -> Document:
    """What a server told; that nothing is there is an answer too, of no facts."""
    if answer.status == 404:
        return Document(facts={}, place=place, taken=time.time(), said=_sentence(answer))
    if answer.status != 200:
        told = f"{place}: status {answer.status}: {_words(answer)}"
        if answer.status in (401, 403):
            raise PilotError(Code.NOPROXY, f"{told}; check connection.token", permanent=True)
        raise PilotError(Code.COMMUNICATIONFAILURE, told)
    return Document(
        facts=_facts(answer.body, place),
        place=place,
        taken=time.time(),
        tag=answer.headers.get("etag", ""),
        modified=answer.headers.get("last-modified", ""),
        body=answer.body,
    )


def _words(answer: Answer) -> str:
    return " ".join(answer.body[:300].decode(errors="replace").split())


def _sentence(answer: Answer) -> str:
    """What a server says in its own words, if it is no page for people."""
    try:
        told = answer.json()
    except PilotError:
        told = None
    said: object = told.get("error") if isinstance(told, dict) else _words(answer)
    return said[:300] if isinstance(said, str) and not said.startswith("<") else ""


def _facts(body: bytes, place: str, torn: ErrorCode = Code.COMMUNICATIONFAILURE) -> Facts:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise PilotError(torn, f"{place}: no JSON: {ascii(body[:80])[1:]}") from error
    if not isinstance(read, dict):
        raise PilotError(torn, f"{place}: wants a mapping of facts, not {ascii(body[:80])[1:]}")
    return read


def _hours(age_s: float) -> str:
    if age_s < 5400:
        return f"{age_s / 60:.0f} min"
    return f"{age_s / 3600:.0f} h" if age_s < float("inf") else "who knows how long"
