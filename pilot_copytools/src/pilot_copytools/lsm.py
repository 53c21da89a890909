"""The copy tool "lsm": the site's own movers, ``lsm-get`` and ``lsm-put``.

They are the site's word for how its storage is reached, and what they leave with is a table. What a mover fetched is
weighed and summed by the pilot; of what it stored, it alone can tell, so it is given size and checksum to compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from pilot_copytools._cli import Access, Ended, Program, installed
from pilot_copytools._storage import KIND, Known
from pilot_copytools._told import IN, OUT, checked, go_on, removed_on_failure, told
from pilot_core.sdk import (
    Code,
    ErrorCode,
    Fetches,
    FileSpec,
    Moved,
    Moving,
    PilotError,
    Replica,
    Settings,
    Stores,
    option,
)

GET: Final = "lsm-get"
PUT: Final = "lsm-put"
THERE_ALREADY: Final = 212

_BUSY: Final = (Code.SERVICENOTAVAILABLE, Code.SERVICENOTAVAILABLE)
_SUM_DIFFERS: Final = (Code.GETADMISMATCH, Code.PUTADMISMATCH)
_DENIED: Final = (Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE)
STATUSES: Final[Mapping[int, tuple[ErrorCode, ErrorCode]]] = {
    203: (Code.BADQUEUECONFIGURATION, Code.BADQUEUECONFIGURATION),
    204: _SUM_DIFFERS,
    205: _SUM_DIFFERS,
    206: (Code.STAGEINFAILED, Code.MKDIR),
    207: _DENIED,
    208: _BUSY,
    209: _SUM_DIFFERS,
    210: _SUM_DIFFERS,
    211: (Code.FILEEXISTS, Code.FILEEXISTS),
    213: (Code.NOLOCALSPACE, Code.NOREMOTESPACE),
    220: _BUSY,
}
"""What the movers leave with: on the way in, on the way out. Of any other status their words are the story."""


@frozen(kw_only=True)
class LsmOptions(Access):
    """How the site's movers are called."""

    section = "lsm"

    space_token: str = option("", help="The space token that lsm-put is told of.")


class Lsm(Fetches, Stores):
    """Moves files by the site's movers."""

    name = "lsm"
    schemes = ("srm", "gsiftp", "root", "davs", "https", "dcap", "file")
    options = LsmOptions

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._options = settings.of(LsmOptions)

    @classmethod
    def probe(cls) -> str | None:
        if lacking := [name for name in (GET, PUT) if not installed(name)]:
            return f"{' and '.join(lacking)} not found on PATH: they are the site's own, and belong on every node's"
        return None

    def fetch(self, replica: Replica, target: Path, file: FileSpec, moving: Moving) -> Moved:
        """Let the site bring a file."""
        with told(IN), removed_on_failure(target):
            ended = Program(self._options, IN).run(get(checked(replica.url), target), moving, grows=target)
            check(ended, IN)
            size_b = target.stat().st_size
            moving.progress(size_b)
            go_on(moving)
        return Moved(size_b=size_b)

    def store(self, source: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
        """Let the site store a file, and compare what it stored with the size and the checksum of this one."""
        with told(OUT):
            known = Known(source, file, moving)
            argv = put(known, checked(replica.url), self._options.space_token)
            ended = Program(self._options, OUT).run(argv, moving)
            if ended.status != THERE_ALREADY:
                check(ended, OUT)
            moving.progress(known.size_b)
        return known.moved


def get(url: str, target: Path) -> list[str]:
    """The arguments of ``lsm-get``."""
    return [GET, url, str(target)]


def put(known: Known, url: str, space_token: str) -> list[str]:
    """The arguments of ``lsm-put``."""
    about = ["--size", str(known.size_b), "--checksum", str(known.of_kind(KIND))]
    token = ["-t", space_token] if space_token else []
    guid = ["--guid", known.file.guid] if known.file.guid else []
    return [PUT, *about, *token, *guid, str(known.source), url]


def check(ended: Ended, direction: str) -> None:
    """Raise what the status of a mover says."""
    if ended.status == 0:
        return
    told_by_words = ended.error(direction)
    codes = STATUSES.get(ended.status)
    if codes is None:
        raise told_by_words
    raise PilotError(codes[0] if direction == IN else codes[1], told_by_words.detail, status=ended.status)
