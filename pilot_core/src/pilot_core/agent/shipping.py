"""Sending the pilot's log somewhere while it runs: bounded, aside, and never in anybody's way."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from attrs import define, field

from pilot_core.errors import PilotError
from pilot_core.io.logs import JsonFormatter
from pilot_core.plugins.drivers import Usable
from pilot_core.plugins.guard import PluginFailed
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor, Scrub
from pilot_core.spec.drivers import LogShipper

WAITING = 2000
MOST_WAITING = 5000
BATCH = 500
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
log = logging.getLogger(__name__)


class Shipment(logging.Handler):
    """Keeps the latest records until they are shipped; what there is no room for is counted."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.addFilter(Scrub(redactor))
        self.setFormatter(JsonFormatter())
        self.lost = 0
        self._records: deque[str] = deque(maxlen=WAITING)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record; shipping's own are left out, or a failure would feed itself."""
        if record.name != __name__:
            self.lost += len(self._records) == WAITING
            self._records.append(self.format(record))

    def take(self) -> list[str]:
        """All that waits."""
        return [self._records.popleft() for _ in range(len(self._records))]


@define(eq=False)
class Line:
    """A shipper, what waits for it, and how long it is left alone since it failed."""

    usable: Usable
    shipper: LogShipper
    waiting: deque[Mapping[str, Any]] = field(factory=lambda: deque(maxlen=MOST_WAITING))
    lost: int = 0
    pause_s: float = 0.0
    not_before: float = 0.0

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Let these wait; for what there is no room the oldest go, and are counted."""
        self.lost += max(len(self.waiting) + len(records) - MOST_WAITING, 0)
        self.waiting.extend(records)

    def batch(self) -> list[Mapping[str, Any]]:
        """What to send next, with a word on what is missing before it."""
        first = _left_out(self.lost, "the receiver took none") if self.lost else []
        return [*first, *islice(self.waiting, BATCH)]

    def sent(self, batch: Sequence[Mapping[str, Any]]) -> None:
        """It was taken."""
        for _ in range(len(batch) - bool(self.lost)):
            self.waiting.popleft()
        self.lost, self.pause_s, self.not_before = 0, 0.0, 0.0

    def rest(self) -> None:
        """Leave it alone, each time for longer."""
        self.pause_s = min(max(2 * self.pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self.not_before = time.monotonic() + self.pause_s


class Shipping:
    """Ships the log to every shipper of the site. One that fails is left alone for a while, and nothing else waits."""

    def __init__(self, shippers: Sequence[tuple[Usable, LogShipper]], hooks: Hooks, redactor: Redactor) -> None:
        self.shipment = Shipment(redactor)
        self._lines = [Line(usable, shipper) for usable, shipper in shippers]
        self._hooks = hooks
        logging.getLogger().addHandler(self.shipment)

    def ship(self) -> None:
        """Send what waits. Called in a worker thread, once at a time."""
        self._share_out()
        for line in self._lines:
            if time.monotonic() >= line.not_before:
                self._send(line)

    def close(self) -> None:
        """Send the last records, whatever a receiver was like, and let the shippers go."""
        logging.getLogger().removeHandler(self.shipment)
        self._share_out()
        for line in self._lines:
            self._send(line)
            self._tried(line, "close", line.shipper.close)

    def _share_out(self) -> None:
        import json

        records: list[Mapping[str, Any]] = [json.loads(line) for line in self.shipment.take()]
        lost, self.shipment.lost = self.shipment.lost, 0
        for line in self._lines:
            line.add([*(_left_out(lost, "they came too fast") if lost else []), *records])

    def _send(self, line: Line) -> None:
        while line.waiting:
            batch = line.batch()
            if not self._tried(line, "ship", partial(line.shipper.ship, batch)):
                line.rest()
                return
            line.sent(batch)

    def _tried(self, line: Line, what: str, call: Callable[[], None]) -> bool:
        """Whether it went well; of a row of failures the first is told."""
        try:
            self._hooks.guarded(line.usable.plugin, what, call)
        except (PluginFailed, PilotError) as failed:
            if not line.pause_s:
                log.warning("log shipper %s: records wait: %s", line.usable.name, failed)
            return False
        return True


def _left_out(number: int, why: str) -> list[Mapping[str, Any]]:
    return [{"level": "WARNING", "message": f"{number} records were left out: {why}"}]
