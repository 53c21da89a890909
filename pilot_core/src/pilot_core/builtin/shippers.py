"""Log shippers over HTTP: "loki" speaks its push API, "logstash" to the HTTP input, a JSON array a request."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Final

from attrs import frozen

from pilot_core.sdk import Code, LogShipper, PilotError, Settings, option
from pilot_core.sdk.web import Answer, Web

LIMIT_S: Final = 10.0
UNFIT: Final = frozenset({400, 413, 422})
"""Statuses that mean these very records, which no other time will change."""
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
    """Sends records as one request. What the receiver will never take is left out, and told."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._web = self._reach()
        self._refused = False

    def ship(self, records: Sequence[Mapping[str, object]]) -> None:
        """Send these records; raises if they are to be sent again."""
        if not records:
            return
        answer = self._send(records)
        told = f"{answer.url} answers {answer.status}: {answer.body[:200].decode(errors='replace')}"
        refused = answer.status in UNFIT
        if answer.status >= 300 and not refused:
            raise PilotError(Code.COMMUNICATIONFAILURE, told)
        if refused and not self._refused:
            log.warning("log shipper %s: %d records are left out: %s", self.name, len(records), told)
        self._refused = refused

    def close(self) -> None:
        """End the conversation."""
        self._web.close()

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
