"""The words that a server takes, as data: for each field its type and how much of it there is room for.

A server of the first version checks types to the letter and refuses a whole message for one field; its database refuses
a row for one text that is a byte too long. So whatever is sent passes here, and comes out in shape or not at all. The
names are those of the first version; ``dialects`` has what an older server calls them.
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from pilot_core.sdk.wire import clean

log = logging.getLogger(__name__)
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)

LONGEST_RECORD: Final = 20 * 10**6

Fit = Callable[[object], object]
"""Brings a value into shape; ``None`` says that nothing of it can be sent."""
Words = Mapping[str, Fit]


def fitted(words: Words, values: Mapping[str, object]) -> dict[str, object]:
    """The values in shape, without those that are not set or that no word is there for."""
    sent: dict[str, object] = {}
    for name, value in values.items():
        fit = words.get(name)
        if fit is None:
            log.warning("%s is not sent: the server has no such field", name)
        elif value is not None and (shaped := fit(value)) is not None and shaped != "":
            sent[name] = shaped
    return sent


# --- texts ------------------------------------------------------------------------------------------------------------


def head(text: str, limit_b: int) -> str:
    """The beginning of a text, at most so many bytes of UTF-8, no character split."""
    return text.encode()[:limit_b].decode(errors="ignore")


def tail(text: str, limit_b: int) -> str:
    """The end of a text, likewise."""
    return text.encode()[-limit_b:].decode(errors="ignore") if limit_b else ""


def line(limit_b: int) -> Fit:
    """A text of one line, cut at its end."""
    return lambda value: head(" ".join(clean(str(value)).split()), limit_b).rstrip()


def pairs(limit_b: int) -> Fit:
    """Words with blanks between, none cut in two."""

    def fit(value: object) -> str:
        text = " ".join(clean(str(value)).split())
        kept = head(text, limit_b)
        whole_word = len(kept) == len(text) or text[len(kept)] == " "
        return kept if whole_word else kept.rpartition(" ")[0]

    return fit


def last_lines(limit_b: int) -> Fit:
    """A text of several lines, of which the end matters."""
    return lambda value: tail(clean(str(value)), limit_b)


def document(value: object) -> str:
    """A text that is worth nothing in part, such as JSON."""
    return str(value).replace("\0", "").encode(errors="replace").decode()


def record(value: object) -> str | None:
    """An object in JSON, as a value or written already; what nobody could read, or is not worth its length, is none."""
    text = document(value if isinstance(value, str) else json.dumps(value))
    why = f"it has {len(text)} characters" if len(text) > LONGEST_RECORD else _unreadable(text)
    if text and why:
        log.warning("a payload's report is not sent: %s", why)
    return None if why else text


def _unreadable(text: str) -> str:
    try:
        return "" if isinstance(json.loads(text), dict) else "it is no JSON object"
    except (ValueError, RecursionError) as error:
        return f"it is no JSON: {error}"


def moment(value: object) -> str | None:
    """A time as the server reads it: UTC, to the second."""
    written = value if isinstance(value, str) else _written(_finite(value))
    return written if _MOMENT.fullmatch(written) else None


def _written(seconds: float | None) -> str:
    try:
        return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):
        return ""


# --- numbers ----------------------------------------------------------------------------------------------------------


def count(most: int) -> Fit:
    """A whole number from 0 on; one that nobody can mean is left out."""

    def fit(value: object) -> int | None:
        number = _finite(value)
        return round(number) if number is not None and 0 <= round(number) <= most else None

    return fit


def code(value: object) -> int | None:
    """An error code or an exit status; the server knows no negative ones."""
    number = _finite(value)
    return round(abs(number)) if number is not None and abs(number) < 10**7 else None


def real(value: object) -> int | float | None:
    """A number from 0 on, whole or not."""
    number = _finite(value)
    return number if number is not None and number >= 0 else None


def flag(value: object) -> bool | None:
    """True or false."""
    return value if isinstance(value, bool) else None


def _finite(value: object) -> int | float | None:
    """The number in a value, which may be written as text."""
    if isinstance(value, str):
        try:
            value = float(value) if "." in value else int(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


# --- the tables -------------------------------------------------------------------------------------------------------

_ID: Final = count(10**18)
_KILOBYTES: Final = count(10**10 - 1)
_BYTES: Final = count(10**18)

ASKS: Final[Words] = {
    "site_name": line(128),
    "prod_source_label": line(20),
    "computing_element": line(128),
    "node": line(128),
    "memory": count(10**9),
    "disk_space": count(10**9),
    "remaining_time": count(10**9),
    "job_type": line(20),
    "resource_type": line(56),
    "n_jobs": count(10**4),
    "task_id": _ID,
    "prod_user_id": line(250),
    "background": flag,
    "via_topic": flag,
    "harvester_id": line(128),
    "worker_id": _ID,
    "scheduler_id": line(128),
    "timeout": count(10**4),
}
"""What a request for work may say."""

TELLS: Final[Words] = {
    "job_id": _ID,
    "job_status": line(15),
    "attempt_nr": _ID,
    "job_sub_status": line(80),
    "site_name": line(128),
    "node": line(128),
    "scheduler_id": line(128),
    "pilot_id": line(200),
    "batch_id": line(80),
    "start_time": moment,
    "end_time": moment,
    "core_count": count(10**6 - 1),
    "mean_core_count": count(10**6 - 1),
    "n_events": count(10**10 - 1),
    "n_input_files": count(10**5 - 1),
    "cpu_consumption_time": count(10**9),
    "cpu_consumption_unit": line(128),
    "cpu_conversion_factor": real,
    "cpu_architecture_level": line(20),
    **{f"{how}_{what}": _KILOBYTES for how in ("max", "avg") for what in ("rss", "vmem", "swap", "pss")},
    **{f"{how}_{what}": _BYTES for how in ("tot", "rate") for what in ("rchar", "wchar", "rbytes", "wbytes")},
    "job_metrics": pairs(500),
    "pilot_timing": line(100),
    "trans_exit_code": code,
    "pilot_error_code": code,
    "pilot_error_diag": line(500),
    "exe_error_code": code,
    "exe_error_diag": line(500),
    "job_output_report": document,
    "meta_data": record,
    "pilot_log": last_lines(1024),
    "stdout": last_lines(2048),
    "corrupted_files": document,
    "grid": line(50),
    "source_site": line(36),
    "destination_site": line(36),
    "timeout": count(10**4),
}
"""What an update may say."""
