"""Sending the pilot's log somewhere while it runs: bounded, aside, and never in anybody's way."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pilot_core.errors import PilotError
from pilot_core.io.logs import JsonFormatter
from pilot_core.plugins.drivers import Usable
from pilot_core.plugins.guard import PluginFailed
from pilot_core.plugins.hooks import Hooks
from pilot_core.redact import Redactor, Scrub
from pilot_core.spec.drivers import LogShipper

WAITING = 2000
STRIKES = 3
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


class Shipping:
    """Ships the log to every shipper of the site; one that keeps failing is left out."""

    def __init__(self, shippers: Sequence[tuple[Usable, LogShipper]], hooks: Hooks, redactor: Redactor) -> None:
        self.shipment = Shipment(redactor)
        self._shippers = list(shippers)
        self._hooks = hooks
        self._strikes: dict[str, int] = {}
        logging.getLogger().addHandler(self.shipment)

    def ship(self) -> None:
        """Send what waits. Called in a worker thread, once at a time."""
        import json

        records: list[Mapping[str, Any]] = [json.loads(line) for line in self.shipment.take()]
        lost, self.shipment.lost = self.shipment.lost, 0
        if lost:
            records.insert(0, {"level": "WARNING", "message": f"{lost} records were left out: they came too fast"})
        for usable, shipper in self._shippers if records else ():
            if self._strikes.get(usable.name, 0) < STRIKES:
                self._try(usable, "ship", lambda shipper=shipper: shipper.ship(records))  # type: ignore[misc]

    def close(self) -> None:
        """Send the last records and let the shippers go."""
        logging.getLogger().removeHandler(self.shipment)
        self.ship()
        for usable, shipper in self._shippers:
            self._try(usable, "close", shipper.close)

    def _try(self, usable: Usable, what: str, call: Callable[[], None]) -> None:
        try:
            self._hooks.guarded(usable.plugin, what, call)
        except (PluginFailed, PilotError) as failed:
            strikes = self._strikes[usable.name] = self._strikes.get(usable.name, 0) + 1
            ends = "; it gets no more records" if strikes == STRIKES else ""
            log.warning("log shipper %s: %s%s", usable.name, failed, ends)
        else:
            self._strikes[usable.name] = 0
