"""Programs that a job names by an address: which addresses are allowed, and how such a program comes to the job.

An address is compared in parts, so that ``https://good.example.org.evil.test/`` begins with nothing that is allowed,
and a server sends on to allowed addresses only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import SplitResult, urlsplit

from attrs import define, frozen

from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.io.inside import Inside
from pilot_core.model.names import UnsafeName, safe_name

if TYPE_CHECKING:
    from pilot_core.io.http import Web

LARGEST_B: Final = 64 << 20
log = logging.getLogger(__name__)


def is_address(program: str) -> bool:
    """Whether a program has to be fetched."""
    return "://" in program


@frozen(kw_only=True)
class Programs:
    """Where programs may come from: beginnings of addresses. What one of them lacks, another may have."""

    bases: tuple[str, ...]
    rounds: int = 3
    pause_s: float = 1.0
    each_s: float = 30.0

    def allows(self, url: str) -> bool:
        """Whether an address lies below one of the beginnings."""
        return any(_is_below(url, base) for base in self.bases)

    def places(self, url: str) -> tuple[str, ...]:
        """The addresses that a program may be had from: its own, then the same path below the other beginnings."""
        own = next((base for base in self.bases if _is_below(url, base)), None)
        if own is None:
            return ()
        below = urlsplit(url).path.removeprefix(urlsplit(own).path.rstrip("/"))
        others = (base.rstrip("/") + below for base in self.bases if base != own)
        return tuple(dict.fromkeys((url, *others)))


def _is_below(url: str, base: str) -> bool:
    try:
        asked, allowed = urlsplit(url), urlsplit(base)
        same = _server(asked) == _server(allowed) and not asked.username
    except ValueError:
        return False
    return same and asked.path.startswith(f"{allowed.path.rstrip('/')}/") and not {".", ".."} & {*asked.path.split("/")}


def _server(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"https": 443, "http": 80}.get(url.scheme)


def bring_program(url: str, workdir: Path, programs: Programs, open_web: Callable[[], Web]) -> str:
    """The name of the program in the job's directory, where it can be run then; one that is there already stays."""
    name = _name(url, programs)
    with Inside(workdir) as folder:
        if not folder.exists(name):
            with closing(open_web()) as web:
                _bring(url, name, folder, programs, web)
    return name


def _name(url: str, programs: Programs) -> str:
    if not programs.allows(url):
        allowed = ", ".join(programs.bases) or "there are none"
        raise PilotError(
            Code.TRFDOWNLOADFAILURE, f"{url} is below none of the addresses allowed for programs: {allowed}"
        )
    try:
        return safe_name(urlsplit(url).path.rpartition("/")[2])
    except UnsafeName as unsafe:
        raise PilotError(Code.TRFDOWNLOADFAILURE, f"{url}: {unsafe}") from None


def _bring(url: str, name: str, folder: Inside, programs: Programs, web: Web) -> None:
    failed: dict[str, str] = {}
    for place in _attempts(url, programs):
        try:
            _fetch(place, name, folder, programs, web)
        except PilotError as error:
            if error.code is Code.CHMODTRF:
                raise
            failed[place] = f"{place}: {error.detail}"
            log.warning("the program %s: %s", name, failed[place])
        else:
            return
    raise PilotError(Code.TRFDOWNLOADFAILURE, "; ".join(failed.values()))


def _attempts(url: str, programs: Programs) -> Iterator[str]:
    """Each place in turn, round after round with a pause between."""
    clock = CancelFlag()
    for number in range(programs.rounds):
        if number:
            clock.wait(programs.pause_s)
        yield from programs.places(url)


def _fetch(place: str, name: str, folder: Inside, programs: Programs, web: Web) -> None:
    """Have the program appear under its name when all of it is there."""
    part = f".{name}.part"
    try:
        with folder.open_write(part) as file:
            sink, cancel = _Sink(file), CancelFlag()
            answer = web.fetch(place, sink, limit_s=programs.each_s, cancel=cancel, allowed=programs.allows)
            if answer.status != 200:
                raise PilotError(Code.TRFDOWNLOADFAILURE, f"the server answers {answer.status}")
            _make_executable(file, name)
        folder.rename(part, name)
    finally:
        folder.remove_tree(part)


@define
class _Sink:
    file: BinaryIO
    left_b: int = LARGEST_B

    def write(self, data: memoryview, /) -> None:
        self.left_b -= len(data)
        if self.left_b < 0:
            raise PilotError(Code.TRFDOWNLOADFAILURE, f"it is longer than {LARGEST_B} bytes")
        self.file.write(data)


def _make_executable(file: BinaryIO, name: str) -> None:
    try:
        os.fchmod(file.fileno(), 0o755)
    except OSError as error:
        raise PilotError(Code.CHMODTRF, f"{name}: {error.strerror}") from None
