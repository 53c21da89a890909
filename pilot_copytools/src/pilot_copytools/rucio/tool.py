"""The copy tool "rucio": files of storages that Rucio knows, by the protocols of its client library.

What a storage's doors are the server tells; which door a place belongs to is seen from its URL. The library is told
one thing after another, and none of its words counts for what lies somewhere: that is looked at.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from pilot_copytools._lanes import move_many
from pilot_copytools._library import lacking, read_secret, same_signals
from pilot_copytools._storage import Copier, fetch, look, store
from pilot_copytools._told import IN, OUT, opened, shown
from pilot_copytools.rucio.server import Server, server_of
from pilot_copytools.rucio.settings import SCHEMES, RucioOptions
from pilot_copytools.rucio.words import failure
from pilot_core.sdk import (
    Checksum,
    Code,
    FetchesMany,
    FileSpec,
    Found,
    Isolation,
    Looks,
    Moved,
    Moving,
    PilotError,
    Replica,
    StoresMany,
    Wanted,
)
from pilot_core.sdk.io import sum_file

OPERATIONS: Final = {IN: "read", OUT: "write"}
LONGEST_S: Final = 10800
ALONE: Final = {"RUCIO_CLIENT_MODE": "True", "RUCIO_CONFIG": os.devnull}
"""The library goes by what it is given, and not by files that somebody left here."""
log = logging.getLogger(__name__)


class Rucio(FetchesMany, StoresMany, Looks):
    """Moves files by whatever protocol Rucio has for their storage."""

    name = "rucio"
    needs = "rucio"
    schemes = SCHEMES
    isolation = Isolation.PROCESS
    options = RucioOptions

    @classmethod
    def probe(cls) -> str | None:
        return lacking("rucio", cls.needs)

    def takes(self, replica: Replica) -> bool:
        """Places in storages that Rucio knows by name, if there is a server to ask; not signed ones."""
        named = bool(replica.endpoint and self.settings.of(RucioOptions).host)
        return named and not replica.signed and super().takes(replica)

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Bring a file."""
        with self._doors(IN, moving) as doors, doors.open(replica) as storage:
            return fetch(storage, replica, target, moving)

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Store a file under a name of its own, and rename it when the storage has told that it is right."""
        with self._doors(OUT, moving) as doors, doors.open(replica) as storage:
            return store(storage, source, replica, file, moving)

    def look(self, replica: Replica, file: FileSpec, moving: Moving) -> Found | None:
        """Ask the storage."""
        with self._doors(IN, moving) as doors, doors.open(replica) as storage:
            return look(storage, replica, file)

    def fetch_many(self, wanted: Sequence[Wanted], moving: Moving) -> Iterator[tuple[Wanted, Moved | PilotError]]:
        """Bring many by a few doors that stay open."""

        def bring(storage: Copier, each: Wanted, moving: Moving) -> Moved:
            return fetch(storage, each.replica, each.path, moving)

        return self._move_many(IN, wanted, moving, bring)

    def store_many(self, wanted: Sequence[Wanted], moving: Moving) -> Iterator[tuple[Wanted, Moved | PilotError]]:
        """Store many by a few doors that stay open."""

        def bring(storage: Copier, each: Wanted, moving: Moving) -> Moved:
            return store(storage, each.path, each.replica, each.file, moving)

        return self._move_many(OUT, wanted, moving, bring)

    def _move_many(
        self, direction: str, wanted: Sequence[Wanted], moving: Moving, bring: Callable[[Copier, Wanted, Moving], Moved]
    ) -> Iterator[tuple[Wanted, Moved | PilotError]]:
        with self._doors(direction, moving) as doors:

            def move(each: Wanted, moving: Moving) -> Moved:
                with doors.open(each.replica) as storage:
                    return bring(storage, each, moving)

            yield from move_many(move, wanted, moving, self.settings.of(RucioOptions).lanes)

    @contextmanager
    def _doors(self, direction: str, moving: Moving) -> Iterator[Doors]:
        options = self.settings.of(RucioOptions)
        os.environ.update(ALONE)
        if proxy := moving.proxy or options.proxy:
            os.environ["X509_USER_PROXY"] = str(proxy)
        token = read_secret(options.token, "rucio.token").strip() if options.token else None
        doors = Doors(server_of(options), direction, moving, token)
        try:
            yield doors
        finally:
            doors.close()


class Doors:
    """Connections to storages: each is lent to one thread at a time, and kept for the next."""

    def __init__(self, server: Server, direction: str, moving: Moving, token: str | None) -> None:
        self._server = server
        self._direction = direction
        self._budget_s = int(moving.budget_s or LONGEST_S)
        self._token = token
        self._idle: dict[str, list[Door]] = defaultdict(list)

    @contextmanager
    def open(self, replica: Replica) -> Iterator[Door]:
        """The storage as it is seen through the door that this place lies behind."""
        begin = f"{replica.endpoint} {replica.domain} {'/'.join(replica.url.split('/', 3)[:3])}"
        idle = self._idle[begin]
        door = idle.pop() if idle else self._connect(replica)
        yield door
        idle.append(door)

    def close(self) -> None:
        """Leave all that are not in use."""
        for door in (door for idle in self._idle.values() for door in idle):
            door.close()

    def _connect(self, replica: Replica) -> Door:
        """Go through the door whose beginning the URL has."""
        from rucio.common.exception import RucioException
        from rucio.rse import rsemanager

        known = self._known(replica)
        for attributes in known["protocols"]:
            domain = _domain(attributes, OPERATIONS[self._direction], replica.domain)
            if not domain:
                continue
            protocol: Any = rsemanager.create_protocol(
                dict(known), OPERATIONS[self._direction], domain=domain, protocol_attr=attributes,
                auth_token=self._token, logger=_log,
            )  # fmt: skip
            try:
                protocol.parse_pfns([replica.url])
            except RucioException:
                continue
            return Door(protocol, self._direction, self._budget_s, replica.url)
        raise PilotError(
            Code.NOSTORAGEPROTOCOL if self._direction == OUT else Code.NOREPLICAS,
            f"{shown(replica.url)} lies behind no door of {replica.endpoint} that Rucio knows",
        )

    def _known(self, replica: Replica) -> Any:
        from pilot_copytools._side import IN as FETCHING
        from pilot_copytools._side import OUT as STORING

        with (STORING if self._direction == OUT else FETCHING).told():
            return self._server.storage(replica.endpoint)


class Door(Copier):
    """A storage as a protocol of the library shows it, seen for one direction."""

    def __init__(self, protocol: Any, direction: str, budget_s: int, url: str) -> None:
        self.renames = bool(protocol.renaming)
        self._protocol = protocol
        self._direction = direction
        self._budget_s = budget_s
        self._seen: dict[str, dict[str, Any]] = {}
        with self._told(url), same_signals():
            protocol.connect()

    def close(self) -> None:
        """Leave the storage."""
        self._protocol.close()

    def get(self, url: str, target: Path, moving: Moving) -> None:
        with self._told(url):
            self._protocol.get(url, str(target), transfer_timeout=self._budget_s)

    def put(self, source: Path, url: str, moving: Moving) -> None:
        self._seen.clear()
        with opened(source) as fd, self._told(url):
            self._protocol.put(str(fd), url, f"/proc/{os.getpid()}/fd", transfer_timeout=self._budget_s)
            moving.progress(os.fstat(fd).st_size)

    def size(self, url: str) -> int | None:
        with self._told(url):
            if not self._protocol.exists(url):
                return None
            self._seen[url] = self._stat(url)
            return int(self._seen[url]["filesize"])

    def checksum(self, url: str, kind: str) -> Checksum | None:
        with self._told(url):
            told = self._seen.get(url) or self._stat(url)
        if value := told.get(kind):
            return Checksum.parse(f"{kind}:{value}")
        return self._read_back(url, kind) if self._direction == OUT else None

    def rename(self, url: str, to: str) -> None:
        self._seen.clear()
        with self._told(url):
            self._protocol.rename(url, to)

    def remove(self, url: str) -> None:
        self._seen.clear()
        with self._told(url):
            self._protocol.delete(url)

    def _stat(self, url: str) -> dict[str, Any]:
        found: dict[str, Any] = self._protocol.stat(url)
        return found

    def _read_back(self, url: str, kind: str) -> Checksum:
        """The checksum of what lies there, where the storage tells none."""
        with TemporaryDirectory(prefix="rucio-") as folder, self._told(url):
            copy = Path(folder, "copy")
            self._protocol.get(url, str(copy), transfer_timeout=self._budget_s)
            return Checksum(kind, sum_file(copy, [kind]).sums[kind])

    @contextmanager
    def _told(self, url: str) -> Iterator[None]:
        from rucio.common.exception import RucioException

        try:
            yield
        except RucioException as error:
            raise failure(self._direction, shown(url), error) from None


def _domain(attributes: Any, operation: str, wanted: str) -> str:
    """The domain in which a door can be used so, if there is one; the wanted one rather than the other."""
    return next((name for name in (wanted, "wan", "lan") if attributes["domains"].get(name, {}).get(operation)), "")


def _log(level: int, told: object, *more: object, **_: object) -> None:
    """What the library says, for whoever asks why something failed."""
    log.log(min(level, logging.DEBUG), told, *more)
