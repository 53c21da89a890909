"""Log shippers over HTTP: "loki" speaks its push API, "logstash" to the HTTP input, a JSON array a request."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from attrs import frozen

from pilot_core.sdk import Code, LogShipper, PilotError, Settings, option
from pilot_core.sdk.web import Answer, Web

BATCH: Final = 500
MOST_WAITING: Final = 5000
LIMIT_S: Final = 10.0
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
PASSING: Final = frozenset({408, 425, 429})
"""Statuses that ask to come again, as all from 500 on do."""
LEVELS: Final[Mapping[str, str]] = {"DEBUG": "debug", "WARNING": "warn", "ERROR": "error", "CRITICAL": "critical"}


log = logging.getLogger(__name__)


@frozen(kw_only=True)
class LogstashOptions:
    """Shipping the pilot's log to Logstash."""

    section = "logstash"

    url: str = option("", help="Where its HTTP input listens.")
    token: Path | None = option(None, help="The file with a token to show there.")
    ca_file: Path | None = option(None, help="Authorities that vouch for it, instead of the system's.")


@frozen(kw_only=True)
class LokiOptions:
    """Shipping the pilot's log to Loki."""

    section = "loki"

    url: str = option("", help="Where it listens, without the path of the push API.")
    token: Path | None = option(None, help="The file with a token to show there.")
    ca_file: Path | None = option(None, help="Authorities that vouch for it, instead of the system's.")
    tenant: str = option("", help="The tenant, where it has several.")
    labels: Mapping[str, str] = option({}, help="Labels of the stream, beside service_name and level.")


class Shipped(LogShipper):
    """Sends records in batches. While the receiver is out of reach they wait; which had to go is said afterwards."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._waiting: deque[Mapping[str, object]] = deque()
        self._lost = 0
        self._pause_s = 0.0
        self._not_before = 0.0
        self._web = self._reach()

    def ship(self, records: Sequence[Mapping[str, object]]) -> None:
        """Send what waits and these, unless the receiver was out of reach a moment ago."""
        self._waiting.extend(records)
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._lost += 1
        if time.monotonic() >= self._not_before:
            self._send_all()

    def close(self) -> None:
        """Try once more, whatever the receiver was like."""
        try:
            self._send_all()
        finally:
            self._web.close()

    def _send_all(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if self._lost:
                told = f"{self._lost} records were left out: the receiver was out of reach"
                batch.insert(0, {**batch[0], "level": "WARNING", "message": told})
            if not self._delivered(batch):
                self._waiting.extendleft(reversed(batch[bool(self._lost) :]))
                return
            self._lost = 0

    def _delivered(self, batch: Sequence[Mapping[str, object]]) -> bool:
        """Whether the receiver took it; one that will never take it is an error, and the batch is gone."""
        try:
            answer = self._send(batch)
        except PilotError as error:
            return self._rest(error)
        if answer.status in PASSING or answer.status >= 500:
            return self._rest(f"{answer.url} answers {answer.status}")
        if answer.status >= 300:
            said = answer.body[:200].decode(errors="replace")
            raise PilotError(Code.COMMUNICATIONFAILURE, f"{answer.url} answers {answer.status}: {said}")
        self._pause_s = 0.0
        return True

    def _rest(self, why: object) -> bool:
        """Leave the receiver alone, each time for longer; it is told once."""
        if not self._pause_s:
            log.warning("log shipper %s: records wait: %s", self.name, why)
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._not_before = time.monotonic() + self._pause_s
        return False

    @abstractmethod
    def _reach(self) -> Web:
        """The receiver."""

    @abstractmethod
    def _send(self, batch: Sequence[Mapping[str, object]]) -> Answer:
        """Send one batch in the receiver's form."""


class Logstash(Shipped):
    """Sends an array of events, which the receiver's JSON codec splits."""

    name = "logstash"
    options: ClassVar[type | None] = LogstashOptions

    def _reach(self) -> Web:
        asked = self.settings.of(LogstashOptions)
        return _web(self.name, asked.url, asked.token, asked.ca_file)

    def _send(self, batch: Sequence[Mapping[str, object]]) -> Answer:
        events = [{"@timestamp": each.get("time"), "@version": "1", "type": "pilot", **each} for each in batch]
        return self._web.call("POST", "/", json=events, limit_s=LIMIT_S, compress=True)


class Loki(Shipped):
    """Sends one stream for each level: a label for each value of more would cost the receiver too much."""

    name = "loki"
    options: ClassVar[type | None] = LokiOptions

    def _reach(self) -> Web:
        asked = self.settings.of(LokiOptions)
        return _web(self.name, asked.url, asked.token, asked.ca_file)

    def _send(self, batch: Sequence[Mapping[str, object]]) -> Answer:
        tenant = self.settings.of(LokiOptions).tenant
        headers = {"X-Scope-OrgID": tenant} if tenant else {}
        body = {"streams": self._streams(batch)}
        return self._web.call("POST", "/loki/api/v1/push", json=body, headers=headers, limit_s=LIMIT_S, compress=True)

    def _streams(self, batch: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
        from json import dumps

        own = {**self.settings.of(LokiOptions).labels, "service_name": "pilot"}
        streams: dict[str, list[list[str]]] = {}
        for record in batch:
            level = LEVELS.get(str(record.get("level")), "info")
            streams.setdefault(level, []).append([str(_nanoseconds(record.get("time"))), dumps(record)])
        return [{"stream": {**own, "level": level}, "values": values} for level, values in streams.items()]


def _nanoseconds(written: object) -> int:
    """The time of a record; now, if it has none."""
    try:
        at = datetime.fromisoformat(str(written))
    except ValueError:
        return time.time_ns()
    return round(at.timestamp() * 1000) * 10**6


def _web(name: str, url: str, token: Path | None, ca_file: Path | None) -> Web:
    if not url:
        raise PilotError(Code.SETUPFAILURE, f"log shipper {name}: {name}.url is not set: write where it listens")
    return Web((url,), token=token, ca_file=ca_file)
