"""Log records as text or JSON, with the job and plugin they are about, and without secrets.

Built on ``logging``; nothing is configured until a process asks for it with ``setup``.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, TextIO

from pilot_core.redact import Redactor, Scrub

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ROOM = 1024
"""Characters that a pipe takes in one piece, whatever they are, once it takes any."""
PATIENCE_MS = 500
_bound: ContextVar[Mapping[str, str]] = ContextVar("bound log fields", default=MappingProxyType({}))


@contextmanager
def bound(**fields: str) -> Iterator[None]:
    """Within the block, records carry these fields besides those bound already: ``with bound(job="4711"):``.

    A new thread starts with none; run its work in ``contextvars.copy_context()`` to hand them on.
    """
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def setup(
    level: str | int,
    redactor: Redactor,
    *,
    as_json: bool = False,
    file: Path | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send records to ``stream`` (standard error by default) and ``file``. Once, where a process begins."""
    logging.raiseExceptions = False  # where a log cannot be written, tracebacks would only fill another
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(_dressed(Shy(stream or sys.stderr), redactor, as_json))
    if file is not None:
        root.addHandler(_dressed(_File(file), redactor, as_json))


@contextmanager
def job_log(path: Path, job: str, redactor: Redactor, *, as_json: bool = False) -> Iterator[None]:
    """Within the block, records bound to this job go to its own file too."""
    handler = _dressed(JobFile(path, job), redactor, as_json)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with suppress(OSError):  # a full disk has been told about elsewhere
            handler.close()


class _File(logging.FileHandler):
    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")


class JobFile(_File):
    """Has what is bound to one job, and does nothing about any other record: many jobs may be under way."""

    def __init__(self, path: Path, job: str) -> None:
        super().__init__(path)
        self._job = job

    def handle(self, record: logging.LogRecord) -> bool:
        """Take the record if it is this job's."""
        return _bound.get().get("job") == self._job and super().handle(record)


class Shy(logging.StreamHandler[TextIO]):
    """Writes to a stream only what it takes at once: nobody waits for a terminal that was stopped or a full pipe."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or leave it out, and say so as soon as somebody reads again."""
        text = self.format(record) + self.terminator
        if not self._write(text):
            self._left_out += 1
        elif self._left_out and self._write(f"{self._left_out} records were left out: nobody read them\n"):
            self._left_out = 0

    def _write(self, text: str) -> bool:
        try:
            for begin in range(0, len(text), ROOM):
                if not self._takes():
                    return False
                self.stream.write(text[begin : begin + ROOM])
                self.stream.flush()
        except (OSError, ValueError):
            return False
        return True

    def _takes(self) -> bool:
        import select

        try:
            descriptor = self.stream.fileno()
        except (OSError, ValueError, AttributeError):
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(0 if self._left_out else PATIENCE_MS))


class TextFormatter(logging.Formatter):
    """``time | level | message``, in UTC, the bound fields at the end; while debugging also who says it.

    Only a record begins at the margin: a payload that prints a line like ours cannot forge one.
    """

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, made once for all who write it, as long as it says the same."""
        said = record.msg, record.exc_text, record.stack_info
        if getattr(record, "said", None) != said:
            record.said, record.text = said, self._text(record)
        text: str = record.text  # type: ignore[attr-defined]
        return text

    def _text(self, record: logging.LogRecord) -> str:
        said = record.getMessage()
        if fields := _fields(record):
            said = f"{said} [{' '.join(f'{name}={value}' for name, value in fields.items())}]"
        who = (record.name, record.funcName or "") if _debugging() else ()
        line = " | ".join((self.formatTime(record), f"{record.levelname:<8}", *who, said))
        return _printable("\n".join(filter(None, (line, _trace(record))))).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """A JSON object a line: bound fields, UTC ``time``, ``level``, ``logger``, ``message`` and ``trace``."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            **_fields(record),
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := _trace(record):
            line["trace"] = trace
        return json.dumps(line)


def _dressed(handler: logging.Handler, redactor: Redactor, as_json: bool) -> logging.Handler:
    handler.addFilter(_note_fields)
    handler.addFilter(Scrub(redactor))
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    return handler


def _note_fields(record: logging.LogRecord) -> bool:
    record.fields = _bound.get()
    return True


def _fields(record: logging.LogRecord) -> Mapping[str, str]:
    fields: Mapping[str, str] = getattr(record, "fields", {})
    return fields


def _trace(record: logging.LogRecord) -> str:
    """Where an error came from, as the scrubbing filter left it."""
    return "\n".join(filter(None, (record.exc_text, record.stack_info)))


def _debugging() -> bool:
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def _printable(text: str) -> str:
    """Terminal controls spelt out."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
