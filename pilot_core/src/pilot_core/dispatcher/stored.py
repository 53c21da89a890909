"""What attempts store: small files as rows of the database, all others in the storage.

A file of its own is an inode, a name, a folder and five syncs; a row shares one sync with all that is written then.
Where somebody has named a folder for what is stored, all of it lies there.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, Protocol

from pilot_core.dispatcher.head import Refused
from pilot_core.dispatcher.messages import Response
from pilot_core.dispatcher.storage import OCTETS, Part, asked_sum, check_sum, safe, taken
from pilot_core.dispatcher.wire import attempt_of, scope_of

if TYPE_CHECKING:
    from pilot_core.dispatcher.messages import Body
    from pilot_core.dispatcher.store import Store

SMALL_B: Final = 2**14
NONE_B: Final = -1
"""No file is small."""
Place = tuple[int, int, str]
log = logging.getLogger(__name__)


class Keeps(Protocol):
    """What keeps the bytes of stored files; it refuses by ``Refused``."""

    def put(self, scope: str, name: str, body: Body, length: int, digest: str) -> Response: ...
    def put_input(self, sha256: str, name: str, body: Body, length: int) -> Response: ...
    def open(self, scope: str, name: str, span: str = "") -> Response: ...
    def open_input(self, sha256: str, name: str, span: str = "") -> Response: ...
    def has(self, scope: str, name: str) -> bool: ...
    def remove(self, scope: str) -> list[str]: ...
    def remove_inputs(self, unused_since: float, named: Collection[str]) -> list[str]: ...


class Stored:
    """The files of attempts, each name used once, wherever it lies."""

    def __init__(self, store: Store, storage: Keeps, small_b: int = SMALL_B) -> None:
        self._store = store
        self._storage = storage
        self._small_b = small_b
        self._coming: list[Place] = []
        """What is on its way to the storage. The store's lock guards it."""

    def put(self, scope: str, name: str, body: Body, digest: str) -> Response:
        """Keep a file as the storage does. Only the attempt that holds its job's lease stores anything."""
        attempt = attempt_of(scope)
        if attempt is None or not self._store.holds(*attempt):
            raise Refused(409, self._why_not(scope, attempt))
        put = self._put_small if body.length <= self._small_b else self._put_large
        response = put((*attempt, name), body, digest)
        if not self._store.holds(*attempt):
            self._leave(*attempt)
        return response

    def open(self, scope: str, name: str, span: str = "") -> Response:
        """A file, or the ``span`` of it that a Range header asks for; ``Refused`` with 404 or 416."""
        if attempt := attempt_of(scope):
            with self._store.reading() as database:
                found = _find(database, (*attempt, name))
            if found:
                adler32, data = found
                part = Part.of(span, len(data), adler32)
                return Response(part.status, data[part.first :][: part.length], OCTETS, part.headers)
        return self._storage.open(scope, name, span)

    def leftovers(self, most: int) -> list[tuple[int, int]]:
        """Some attempts whose files may go: their jobs are over, and not by them."""
        with self._store.reading() as database:
            return database.execute("SELECT job, attempt FROM leftovers WHERE due = 1 LIMIT ?", (most,)).fetchall()

    def remove_leftovers(self, most: int) -> None:
        """Remove the files of some of those attempts, once each: what will not go is only told."""
        attempts = self.leftovers(most)
        for attempt in attempts:
            for left in self._storage.remove(scope_of(*attempt)):
                log.warning("what attempt %s of job %s stored stays: %s", attempt[1], attempt[0], left)
        if attempts:
            with self._store.changing() as database:
                for table in ("contents", "leftovers"):
                    database.executemany(f"DELETE FROM {table} WHERE job = ? AND attempt = ?", attempts)  # noqa: S608

    def _leave(self, job: int, attempt: int) -> None:
        """An attempt stored a file while it lost its job: that file may go."""
        insert = "INSERT OR REPLACE INTO leftovers SELECT id, ?, 1 FROM jobs WHERE id = ? AND attempt > ?"
        with self._store.changing() as database:
            database.execute(insert, (attempt, job, attempt))

    def _why_not(self, scope: str, attempt: tuple[int, int] | None) -> str:
        told = f"{scope[:80]!r} is no attempt that holds its job now, so nothing is stored for it"
        ((_, _, present),) = self._store.states([attempt[0]]) if attempt else ((0, "", 0),)
        return f"{told}: attempt {present} is in its place" if attempt and present > attempt[1] else told

    def _put_small(self, place: Place, body: Body, digest: str) -> Response:
        name, wanted = safe(place[2]), asked_sum(digest)
        data = body.read()
        adler32 = f"{zlib.adler32(data):08x}"
        check_sum(name, "adler32", adler32, wanted)
        with self._store.changing() as database:
            if place in self._coming or self._storage.has(scope_of(*place[:2]), name):
                raise taken(name)
            insert = "INSERT INTO contents VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
            new = database.execute(insert, (*place, adler32, data)).rowcount
            if not new and _find(database, place) != (adler32, data):
                raise taken(name)
        return Response(201 if new else 200, headers={"Digest": f"adler32={adler32}"})

    def _put_large(self, place: Place, body: Body, digest: str) -> Response:
        job, attempt, name = place
        with self._store.reading() as database:
            if _find(database, place):
                raise taken(name)
            self._coming.append(place)
        try:
            return self._storage.put(scope_of(job, attempt), name, body, body.length, digest)
        finally:
            with self._store.reading():
                self._coming.remove(place)


def _find(database: sqlite3.Connection, place: Place) -> tuple[str, bytes] | None:
    """The sum and the bytes of a small file."""
    select = "SELECT adler32, bytes FROM contents WHERE job = ? AND attempt = ? AND name = ?"
    row: tuple[str, bytes] | None = database.execute(select, place).fetchone()
    return row
