"""Reports that Rucio did not take before a pilot ended, in a directory where a later pilot finds them.

Each pilot leaves one file, and whoever removes a file has what was in it: no report is sent twice by two of them.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from stat import S_ISREG
from typing import Final

from attrs import frozen

from pilot_core.sdk.io import NotJson, read_json, write_atomic

Trace = Mapping[str, object]

SPOOL_B: Final = 16 << 20
"""All files together hold no more."""
ENDING: Final = ".traces"
log = logging.getLogger(__name__)


@frozen
class Spool:
    """The directory, which several pilots may share."""

    folder: Path

    def put(self, traces: Sequence[Trace]) -> int:
        """Keep the last of these, as many as there is room for; how many that were."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            room_b = SPOOL_B - sum(self._files().values())
            lines = _that_fit(traces, room_b)
            if lines:
                write_atomic(self.folder / f"{os.urandom(8).hex()}{ENDING}", f"[{','.join(lines)}]")
        except OSError as error:
            log.warning("rucio.spool: %s cannot keep reports of transfers: %s", self.folder, error.strerror)
            return 0
        return len(lines)

    def take(self) -> list[Trace]:
        """All that waits, which is here no more."""
        return [trace for path in self._files() for trace in _taken(path)]

    def _files(self) -> dict[Path, int]:
        """Those that this user wrote, with their sizes: nobody else's reports are sent as ours."""
        found = {}
        for path in self.folder.glob(f"*{ENDING}"):
            with suppress(FileNotFoundError):
                about = path.lstat()
                if S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
                    found[path] = about.st_size
        return found


def _that_fit(traces: Sequence[Trace], room_b: int) -> list[str]:
    """The last reports as JSON that fit, in their order."""

    def sized() -> Iterator[tuple[str, int]]:
        size_b = 2
        for trace in reversed(traces):
            line = json.dumps(trace)
            size_b += len(line) + 1
            yield line, size_b

    return [line for line, _ in takewhile(lambda told: told[1] <= room_b, sized())][::-1]


def _taken(path: Path) -> list[Trace]:
    """What is in a file that nobody else took meanwhile."""
    try:
        traces = read_json(path)
        path.unlink()
    except FileNotFoundError:
        return []
    except NotJson as broken:
        log.warning("rucio.spool: reports of transfers are lost: %s", broken)
        path.unlink(missing_ok=True)
        return []
    except OSError as error:
        log.warning("rucio.spool: %s cannot be read: %s", path, error.strerror)
        return []
    return [trace for trace in traces if isinstance(trace, dict)] if isinstance(traces, list) else []
