"""Inputs through the cache that the pilots of a node share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pilot_core.config.schema import DataOptions
from pilot_core.control.calls import budget_s
from pilot_core.control.sides import IN
from pilot_core.control.transfer import Mover
from pilot_core.control.trip import remove
from pilot_core.errors import Code, PilotError
from pilot_core.io.cache import Cache, content_key, url_key
from pilot_core.io.cancel import CancelFlag, Cancelled
from pilot_core.io.files import free_bytes
from pilot_core.model.files import FileSpec, Receipt, Replica, Transfer
from pilot_core.spec.work import Task

_TOOL = "cache"


class _NotKept(Exception):
    """What a tool brought is no file of its own but a link to somebody else's."""

    def __init__(self, receipt: Receipt) -> None:
        super().__init__(f"{receipt.lfn} came as a link")
        self.receipt = receipt


class Cached:
    """Fetches by way of the cache, or takes from it alone."""

    def __init__(self, task: Task, mover: Mover, root: Path) -> None:
        self._limit_b = task.settings.of(DataOptions).cache_b
        self._cache = Cache(root, self._limit_b)
        self._root = root
        self._mover = mover
        self._flag = task.cancel if isinstance(task.cancel, CancelFlag) else None

    def fetch(self, transfer: Transfer, target: Path) -> Receipt:
        """Bring the file from the cache, or from elsewhere and keep it; what is spoilt there is fetched anew."""
        try:
            return self._fetch(transfer, target)
        except _NotKept as linked:
            return linked.receipt

    def fill(self, transfer: Transfer, target: Path) -> Receipt:
        """Have the cache keep the file."""
        if _key(transfer) is None:
            raise PilotError(IN.failed, f"{transfer.file.lfn}: cannot be cached without size and checksum, or a URL")
        try:
            return self._fetch(transfer, target)
        except _NotKept as linked:
            told = f"{linked}, which {self._root} cannot keep: have the copy tool copy"
            raise PilotError(Code.BADQUEUECONFIGURATION, told) from None

    def lost(self, transfer: Transfer) -> PilotError | None:
        """Why the cache does not keep a file that it was filled with, if it does not."""
        key = _key(transfer)
        if key is None or self._cache.has(key):
            return None
        room = f"data.cache_b is {self._limit_b} B, {free_bytes(self._root)} B are free there"
        told = f"{transfer.file.lfn} was brought, and the cache {self._root} does not keep it: {room}"
        return PilotError(Code.NOLOCALSPACE, told, lfn=transfer.file.lfn)

    def take(self, transfer: Transfer, target: Path) -> Receipt:
        """Bring the file from the cache and from nowhere else; what is spoilt there is dropped."""
        key = _key(transfer)
        began = time.monotonic()
        if key is None or not self._cache.get(key, target):
            raise PilotError(Code.MISSINGINPUTFILE, f"{transfer.file.lfn} is not in the cache {self._root}")
        return self._taken(transfer.file, key, target, began)

    def _fetch(self, transfer: Transfer, target: Path) -> Receipt:
        key = _key(transfer)
        if key is None:
            return self._mover.fetch(transfer, target)
        began = time.monotonic()
        fetched: list[Receipt] = []

        def bring(path: Path) -> None:
            fetched.append(self._mover.fetch(transfer, path))
            if path.is_symlink() or path.stat().st_nlink > 1:
                raise _NotKept(fetched[0])

        for _ in range(2):
            if not self._get(transfer, key, target, bring):
                return fetched[0]
            try:
                return self._taken(transfer.file, key, target, began)
            except PilotError as spoilt:
                if spoilt.code is not IN.mismatch(transfer.file):
                    raise
        return self._mover.fetch(transfer, target)

    def _get(self, transfer: Transfer, key: str, target: Path, bring: Callable[[Path], None]) -> bool:
        """Have the file at ``target``; whether it came from the cache."""
        try:
            return self._cache.fetch_once(key, target, bring, budget_s(transfer.file.size_b), self._flag)
        except Cancelled:
            raise self._mover.give_up(IN, transfer.file.lfn) from None

    def _taken(self, file: FileSpec, key: str, target: Path, began: float) -> Receipt:
        """Sum what the cache gave, as it is trusted no more than a tool; what is wrong is not given again."""
        try:
            found = self._mover.verify(file, target)
        except PilotError as spoilt:
            remove(target)
            if spoilt.code is IN.mismatch(file):
                self._cache.drop(key)
            raise
        way = Replica(self._root.absolute().as_uri(), file.endpoint), _TOOL
        return self._mover.receipt(IN, file, way, found, time.monotonic() - began)


def _key(transfer: Transfer) -> str | None:
    """The name of the content, or else of its first address, if that is not a mere path: files there change."""
    file = transfer.file
    if file.checksum is not None and file.size_b is not None:
        return content_key(file.checksum.kind, file.checksum.value, file.size_b)
    urls = [each.url for each in transfer.candidates]
    if not urls or "://" not in urls[0] or urls[0].startswith("file:"):
        return None
    return url_key(urls[0])
