"""The report that a transform writes about itself, ``jobReport.json``; a payload may write anything there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final, Self

from attrs import frozen

from pilot_core.sdk.io import Inside

NAME: Final = "jobReport.json"
OLDER: Final = "metadata.xml"
LARGEST_B: Final = 64 << 20
WARNINGS: Final = 25
"""So many warnings of one step are sent on."""
OK: Final = "OK"


class BadReport(ValueError):
    """There is a report, and it cannot be read."""


@frozen
class Entry:
    """An output as its transform reports it."""

    guid: str = ""
    entries: int | None = None
    size_b: int | None = None


@frozen
class JobReport:
    """The document, and what it says; whatever is missing in it or of another kind is not there."""

    told: Mapping[str, Any]

    @classmethod
    def read(cls, workdir: Path) -> Self | None:
        """The report in a job's directory, ``None`` if there is none; ``BadReport`` if it makes no sense."""
        try:
            with Inside(workdir) as folder, folder.open_read(NAME) as file:
                data = file.read(LARGEST_B + 1)
            if len(data) > LARGEST_B:
                raise BadReport(f"{NAME} is longer than {LARGEST_B} B")
            told = json.loads(data, parse_constant=lambda _: None)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise BadReport(f"{NAME} cannot be read: {error}") from None
        if not isinstance(told, dict):
            raise BadReport(f"{NAME} is no JSON object")
        return cls(told)

    # --- how it ended ---

    @property
    def exit_code(self) -> int:
        """The transform's own."""
        return _number(self.told.get("exitCode")) or 0

    @property
    def exit_message(self) -> str:
        """Its reason, on one line."""
        return " ".join(str(self.told.get("exitMsg") or "").split())

    def details(self, level: str) -> Iterator[str]:
        """What its steps complained of at this level."""
        for each in _details(self.told, level):
            yield " ".join(str(each.get("message", "")).split())

    # --- what it made ---

    @property
    def outputs(self) -> Mapping[str, Entry] | None:
        """The files that it made, by name; ``None`` if it has no list of them."""
        listed = _table(self.told.get("files")).get("output")
        if not isinstance(listed, list):
            return None
        files = (file for group in _tables(listed) for file in _tables(group.get("subFiles")))
        return {str(file["name"]): _entry(file) for file in files if file.get("name")}

    @property
    def n_events(self) -> int | None:
        """The events that it processed, or else those in its outputs."""
        told = _number(_table(self._resource.get("transform")).get("processedEvents"))
        if told is not None:
            return told
        counts = [entry.entries for entry in (self.outputs or {}).values() if entry.entries is not None]
        return sum(counts) if counts else None

    # --- what it used ---

    @property
    def database(self) -> Mapping[str, float]:
        """Time with the database and bytes from it, and events simulated again: sums over its steps."""
        steps = list(_tables(_table(self._resource.get("executor")).values()))
        sums = {name: [_amount(step.get(name)) for step in steps] for name in ("dbTime", "dbData", "resimevents")}
        return {name: sum(filter(None, each)) for name, each in sums.items() if any(one is not None for one in each)}

    @property
    def _resource(self) -> dict[str, Any]:
        return _table(self.told.get("resource"))

    def sendable(self) -> str:
        """The document without most of its warnings."""
        shorter: Any = deepcopy(self.told)
        for step in _tables(shorter.get("executor")):
            details = _table(_table(step.get("logfileReport")).get("details"))
            if isinstance(told := details.get("WARNING"), list):
                del told[WARNINGS:]
        return json.dumps(shorter, separators=(",", ":"))


def _details(told: Mapping[str, Any], level: str) -> Iterator[Mapping[str, Any]]:
    for step in _tables(told.get("executor")):
        yield from _tables(_table(_table(step.get("logfileReport")).get("details")).get(level))


def _entry(file: Mapping[str, Any]) -> Entry:
    size_b = _number(file.get("file_size"))
    return Entry(str(file.get("file_guid") or ""), _number(file.get("nentries")), size_b)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> Iterator[dict[str, Any]]:
    listed: Iterable[object] = value if isinstance(value, Iterable) and not isinstance(value, str | dict) else ()
    return (each for each in listed if isinstance(each, dict))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _amount(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
