"""``root://`` by the Python bindings: blocks are read ahead and summed while they are written.

The library waits in C for as long as it likes, so all this belongs into a child that can be ended. One connection to a
server serves all files. Servers sum few files at a time and let a client wait for long that asks for more: it asks
for one after the other.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, Final

from pilot_copytools._cli import credentials
from pilot_copytools._storage import KIND, Storage
from pilot_copytools._told import IN, checked, failed, go_on, opened, shown, told
from pilot_copytools.xrootd.settings import XrootdOptions, limits
from pilot_copytools.xrootd.words import NO_CHECKSUM, NOT_FOUND, error_of, path_of, read_checksum, server_of, with_query
from pilot_core.sdk import Checksum, FileSpec, Moved, Moving, PilotError, Replica
from pilot_core.sdk.io import Digest

BLOCK_B: Final = 2 << 20
AHEAD: Final = 8
LONGEST_S: Final = 10800
_summing = Lock()


def lacking() -> str:
    """Why the bindings cannot be used, or nothing."""
    try:
        import_module("XRootD.client")
    except ImportError as error:
        return str(error)
    return ""


class Bound(Storage):
    """The storage as the bindings show it, seen for one direction."""

    def __init__(self, options: XrootdOptions, direction: str) -> None:
        self.renames = options.rename
        self._direction = direction
        self._client: Any = import_module("XRootD.client")
        self._flags: Any = import_module("XRootD.client.flags")
        self._server: Callable[[str], Any] = cache(self._client.FileSystem)
        for name, value in limits(options).items():
            self._client.EnvPutInt(name, value)
        os.environ.update(credentials(options))

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Read a file in order, write it and sum it in one pass, behind what is there already."""
        kind = file.checksum.kind if file.checksum else KIND
        with told(IN), self._opened(checked(replica.url), self._flags.OpenFlags.READ) as remote:
            size_b = self._done(remote.stat(), replica.url).size
            with _writing(target, moving) as fd:
                digest = Digest([kind])
                done_b = _sum_kept(fd, digest, moving)
                for block in self._blocks(remote, range(done_b, size_b, BLOCK_B), size_b, replica.url):
                    _write(fd, block)
                    digest.update(block)
                    done_b += len(block)
                    moving.progress(done_b)
                    go_on(moving)
        return Moved(size_b=done_b, checksum=Checksum(kind, digest.hexdigests()[kind]), summed=True)

    def size(self, url: str) -> int | None:
        return self._known(self._at(url).stat(path_of(url)), url)

    def checksum(self, url: str, kind: str) -> Checksum | None:
        asked = with_query(path_of(url), f"cks.type={kind}")
        with _summing:
            status, answer = self._at(url).query(self._flags.QueryCode.CHECKSUM, asked, timeout=LONGEST_S)
        if not status.ok and status.errno in NO_CHECKSUM:
            return None
        return read_checksum(bytes(self._done((status, answer), url)).decode(), kind)

    def put(self, source: Path, url: str, moving: Moving) -> None:
        flags = self._flags.OpenFlags
        how = flags.DELETE | flags.MAKEPATH | (0 if self.renames else flags.POSC)
        with opened(source) as fd, self._opened(url, how) as remote:
            self._write_behind(remote, fd, url, moving)

    def rename(self, url: str, to: str) -> None:
        self._done(self._at(url).mv(path_of(url), path_of(to)), url)

    def remove(self, url: str) -> None:
        self._done(self._at(url).rm(path_of(url)), url)

    # --- a file ---

    @contextmanager
    def _opened(self, url: str, flags: int) -> Iterator[Any]:
        """Within the block the file is open there; that it could be closed is part of its success."""
        remote = self._client.File()
        self._done(remote.open(url, flags), url)
        with ExitStack() as unless_done:
            unless_done.callback(remote.close)
            yield remote
            unless_done.pop_all()
        self._done(remote.close(), url)

    def _blocks(self, remote: Any, places: range, end: int, url: str) -> Iterator[bytes]:
        """The blocks at these places in order, the next ones on their way meanwhile."""
        waiting: deque[tuple[int, _Box]] = deque()
        left = iter(places)
        while True:
            for place in islice(left, AHEAD - len(waiting)):
                box = _Box()
                length = min(places.step, end - place)
                self._done((remote.read(place, length, callback=box.put), None), url)
                waiting.append((length, box))
            if not waiting:
                return
            length, box = waiting.popleft()
            block: bytes = self._done(box.get(), url)
            if len(block) != length:
                told = f"{shown(url)} ends early: {end} B by the server's word, {len(block)} B of {length} came"
                raise PilotError(failed(self._direction), told)
            yield block

    def _write_behind(self, remote: Any, fd: int, url: str, moving: Moving) -> None:
        """Send the file, with some blocks on their way at a time; they are kept until they have arrived."""
        waiting: deque[tuple[bytes, _Box]] = deque()
        sent_b = done_b = 0
        while True:
            block = os.read(fd, BLOCK_B)
            go_on(moving)
            if block:
                box = _Box()
                self._done((remote.write(block, sent_b, callback=box.put), None), url)
                waiting.append((block, box))
                sent_b += len(block)
            while waiting and (len(waiting) == AHEAD or not block):
                arrived, box = waiting.popleft()
                self._done(box.get(), url)
                done_b += len(arrived)
                moving.progress(done_b)
            if not block:
                return

    # --- questions ---

    def _at(self, url: str) -> Any:
        return self._server(server_of(url))

    def _known(self, answer: tuple[Any, Any], url: str) -> int | None:
        """The size in an answer, ``None`` if nothing is there."""
        status, about = answer
        return None if status.errno == NOT_FOUND and not status.ok else int(self._done((status, about), url).size)

    def _done(self, answer: tuple[Any, Any], url: str) -> Any:
        """What the library answers, if it says that it could be done."""
        status, found = answer
        if not status.ok:
            raise error_of(self._direction, status, shown(url))
        return found


class _Box:
    """Where an answer comes in, from a thread of the library."""

    def __init__(self) -> None:
        self._answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()

    def put(self, status: Any, found: Any, _: object) -> None:
        self._answers.put((status, found))

    def get(self) -> tuple[Any, Any]:
        return self._answers.get()


@contextmanager
def _writing(target: Path, moving: Moving) -> Iterator[int]:
    """The file to be written; what came of it stays for another try, unless it was given up."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(target, flags if moving.kept_b else flags | os.O_CREAT | os.O_EXCL, 0o644)
    with ExitStack() as leaving:
        leaving.callback(os.close, fd)
        with ExitStack() as unless_done:
            unless_done.callback(_drop, fd, target, moving)
            yield fd
            unless_done.pop_all()


def _drop(fd: int, target: Path, moving: Moving) -> None:
    if moving.cancel.is_set() or not os.fstat(fd).st_size:
        target.unlink(missing_ok=True)


def _sum_kept(fd: int, digest: Digest, moving: Moving) -> int:
    """Sum what an earlier try left; how much that is."""
    while block := os.read(fd, BLOCK_B):
        go_on(moving)
        digest.update(block)
    return os.lseek(fd, 0, os.SEEK_CUR)


def _write(fd: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(fd, left) :]
