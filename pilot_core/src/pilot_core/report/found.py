"""What is found of a job, wherever it lies: the raw material of an account."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from pilot_core.control.history import masked
from pilot_core.redact import Redactor
from pilot_core.report import account as told
from pilot_core.report.account import Span

SAID: Final = ("payload.stdout", "payload.stderr")
TAIL_B: Final = 32_768
LARGEST_B: Final = 4 << 20
"""Of a file with JSON in it no more is read; one that is larger is none of ours."""


class NothingToTell(LookupError):
    """There is no job in what was named."""


@define(eq=False)
class Found:
    """The raw material of one account, from wherever it came; no secret is in it."""

    source: str
    named: str
    """The job's number as the place is named, should nothing else tell it."""
    redactor: Redactor = field(factory=Redactor)
    record: Mapping[str, Any] = field(factory=dict)
    asked: Mapping[str, Any] = field(factory=dict)
    message: Mapping[str, Any] = field(factory=dict)
    spans: tuple[Span, ...] = ()
    usage: bytes = b""
    log: str = ""
    said: dict[str, str] = field(factory=dict)
    open: bool = False
    remarks: list[str] = field(factory=list)

    def load(self, name: str, data: bytes) -> Mapping[str, Any]:
        """A JSON object, masked; an empty one, and a remark, if it is none."""
        try:
            if len(data) > LARGEST_B:
                raise ValueError(f"it is larger than {LARGEST_B} B")
            value = json.loads(data)
            if not isinstance(value, dict):
                raise TypeError("it is no JSON object")
            return told.table(masked(value, self.redactor))
        except (ValueError, TypeError, RecursionError) as error:
            self.remarks.append(f"{name} cannot be read: {error}")
            return {}

    def tail(self, data: bytes) -> str:
        """The end of a text, from a whole line on."""
        text = self.redactor.scrub(data.decode(errors="replace"))
        return text if len(data) < TAIL_B else text.partition("\n")[2]
