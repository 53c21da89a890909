"""What pilots say: the fields of their calls typed as PanDA types them, and what is to be read out of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from attrs import field, frozen

from pilot_core.config.spelling import meant
from pilot_core.dispatcher.again import found_in
from pilot_core.errors import Code, NoSuchCode, code
from pilot_core.model.failure import TOLD
from pilot_core.model.wire import shown

_NUMBER: Final = (int, float)
_Kind = type | tuple[type, ...]
ACQUIRE: Final[Mapping[str, _Kind]] = {
    **dict.fromkeys(
        ("site_name", "prod_source_label", "computing_element", "node", "job_type", "resource_type", "prod_user_id"),
        str,
    ),
    **dict.fromkeys(("harvester_id", "scheduler_id", "get_proxy_key"), str),
    **dict.fromkeys(("memory", "disk_space", "n_jobs", "task_id", "worker_id", "timeout"), int),
    **dict.fromkeys(("background", "via_topic"), bool),
    "remaining_time": object,
}
UPDATE: Final[Mapping[str, _Kind]] = {
    **dict.fromkeys(("job_id", "attempt_nr", "core_count", "mean_core_count", "n_events", "n_input_files"), int),
    **dict.fromkeys(("cpu_consumption_time", "trans_exit_code", "pilot_error_code", "exe_error_code", "timeout"), int),
    **dict.fromkeys(
        [f"{how}_{what}" for how in ("max", "avg") for what in ("rss", "vmem", "swap", "pss")]
        + [f"{how}_{what}" for how in ("tot", "rate") for what in ("rchar", "wchar", "rbytes", "wbytes")]
        + ["cpu_conversion_factor"],
        _NUMBER,
    ),
    **dict.fromkeys(
        ("job_status", "job_sub_status", "site_name", "node", "scheduler_id", "pilot_id", "batch_id", "start_time"), str
    ),
    **dict.fromkeys(("end_time", "cpu_consumption_unit", "cpu_architecture_level", "job_metrics", "pilot_timing"), str),
    **dict.fromkeys(("pilot_error_diag", "exe_error_diag", "job_output_report", "meta_data", "pilot_log"), str),
    **dict.fromkeys(("stdout", "corrupted_files", "grid", "source_site", "destination_site"), str),
}
BULK: Final[Mapping[str, _Kind]] = {"job_list": list, "harvester_id": str}
DEBUG: Final[Mapping[str, _Kind]] = {"job_id": int, "mode": bool}
STATES: Final[Mapping[str, _Kind]] = {"job_ids": list, "timeout": list}
WORKER: Final[Mapping[str, _Kind]] = dict.fromkeys(
    ("worker_id", "harvester_id", "status", "node_id", "timeout"), object
)
NODE: Final[Mapping[str, _Kind]] = {
    **dict.fromkeys(
        ("site", "host_name", "cpu_model", "panda_queue", "cpu_architecture", "cpu_architecture_level"), str
    ),
    **dict.fromkeys(("n_logical_cpus", "n_sockets", "cores_per_socket", "threads_per_core"), int),
    **dict.fromkeys(("total_memory", "total_local_disk", "timeout"), int),
    "clock_speed": float,
}
GPU: Final[Mapping[str, _Kind]] = {
    **dict.fromkeys(("site", "host_name", "vendor", "model", "architecture", "framework", "framework_version"), str),
    **dict.fromkeys(("count", "vram", "timeout"), int),
    "driver_version": str,
}
NEVER_NULL: Final = frozenset({"job_output_report", "meta_data", "pilot_log", "stdout", "n_jobs", "timeout"})
WIDTHS: Final = {
    **dict.fromkeys(("node", "scheduler_id", "computing_element", "cpu_consumption_unit"), 128),
    **dict.fromkeys(("job_sub_status", "batch_id"), 80),
    **dict.fromkeys(("job_metrics", "pilot_error_diag", "exe_error_diag"), 500),
    **dict.fromkeys(("source_site", "destination_site"), 36),
    "pilot_id": 200,
    "pilot_timing": 100,
    "grid": 50,
    "cpu_architecture_level": 20,
}
"""The bytes that PanDA's database has room for. A row that wants more is refused as a whole."""
CUT: Final = {
    **{name: WIDTHS[name] for name in WIDTHS.keys() - {"scheduler_id", "cpu_consumption_unit", "pilot_timing"}},
    "pilot_log": 4000,
}
"""The characters, not bytes, that PanDA cuts an update's texts to before."""
STDOUT_MOST: Final = 2048


class Mistyped(ValueError):
    """A call is refused as a whole; the message is PanDA's own form."""


class Broken(Mistyped):
    """So that PanDA's own check of types breaks at it, and with it the call."""


def read_typed(raw: object, kinds: Mapping[str, _Kind], required: Iterable[str]) -> dict[str, Any]:
    """The arguments of a pilot's call without those that say nothing; or ``Mistyped``."""
    if not isinstance(raw, Mapping):
        raise Mistyped("Argument error: the body wants to be one JSON object, sent as application/json")
    if missing := [name for name in required if raw.get(name) is None]:
        raise Mistyped(f"Argument error: missing a required argument: '{missing[0]}'")
    for name, value in raw.items():
        kind = kinds.get(name)
        if kind is None:
            raise Mistyped(f"Argument error: got an unexpected keyword argument {name!r:.80}{meant(name, kinds)}")
        if kind is not str or type(value) is not str:
            _check_type(name, value, kind)
    return said(raw, required)


def said(raw: Mapping[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    """What says something, and what must be there, as texts that can be stored."""
    return {
        name: clean(value) if isinstance(value, str) else value
        for name, value in raw.items()
        if value is not None and (value != "" or name in required)
    }


def _check_type(name: str, value: object, kind: _Kind) -> None:
    if isinstance(value, int) and value.bit_length() > 63:
        raise Mistyped(f"Type error: '{name}' has more digits than any number here")
    if isinstance(value, kind) or (value is None and name not in NEVER_NULL):
        return
    wanted = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
    told = f"Type error: '{name}' must be of type {wanted}, got {type(value).__name__}."
    raise Broken(told) if isinstance(kind, tuple) else Mistyped(told)


def cut(update: Mapping[str, Any]) -> dict[str, Any]:
    """An update as PanDA cuts it; its output is kept whole or not at all."""
    kept = {name: value[: CUT[name]] if name in CUT else value for name, value in update.items()}
    if len(kept.get("stdout", "")) > STDOUT_MOST:
        del kept["stdout"]
    return kept


def too_wide(values: Mapping[str, Any]) -> str:
    """Why a database of PanDA's would refuse these values, or nothing."""
    for name, value in values.items():
        if name in WIDTHS and len(value) > WIDTHS[name] // 4 and (size_b := len(value.encode())) > WIDTHS[name]:
            return f"{name!r} has {size_b} bytes; there is room for {WIDTHS[name]}"
    return ""


def clean(text: str) -> str:
    """A text that any database and any page takes."""
    if text.isascii():
        return text.replace("\0", "") if "\0" in text else text
    return text.encode(errors="replace").decode().replace("\0", "")


def seconds(value: object) -> int:
    """A time that may be anything; what is no number is 0."""
    try:
        return max(int(value), 0) if isinstance(value, (int, float, str)) else 0
    except (ValueError, OverflowError):
        return 0


@frozen(kw_only=True)
class Usage:
    """What a job has used up to one update."""

    cpu_s: float | None = None
    rss_b: int | None = None
    rss_peak_b: int | None = None
    """The most there ever was; ``rss_b`` is what there is now."""
    read_b: int | None = None
    written_b: int | None = None
    processes: int | None = None
    disk_b: int | None = None
    more: Mapping[str, float] = field(factory=dict)
    """What monitors measured, under their own names."""

    def row(self) -> tuple[object, ...]:
        """As the database keeps it."""
        told = (self.cpu_s, self.rss_b, self.read_b, self.written_b, self.processes, self.disk_b)
        return *told, json.dumps(self.more)


_NOTHING_USED: Final = Usage()
_PLACED: Final = frozenset({"cpu", "rss", "processes", "workDirSize", "coreCount", "disk_b", *TOLD})
MOST_MEASURES: Final = 20
_USED: Final = frozenset({"job_metrics", "max_rss", "cpu_consumption_time", "tot_rbytes", "tot_wbytes"})


def usage_of(update: Mapping[str, Any]) -> Usage:
    """What an update says of use; its own metrics tell more than the fixed fields."""
    if _USED.isdisjoint(update):
        return _NOTHING_USED
    metrics = dict(each.partition("=")[::2] for each in update.get("job_metrics", "").split())
    peak_kb = _number(update.get("max_rss"))
    peak_b = None if peak_kb is None else int(peak_kb * 1024)
    rss_b = _whole(metrics.get("rss"))
    return Usage(
        cpu_s=_number(metrics.get("cpu", update.get("cpu_consumption_time"))),
        rss_b=peak_b if rss_b is None else rss_b,
        rss_peak_b=max((each for each in (peak_b, rss_b) if each is not None), default=None),
        read_b=_whole(update.get("tot_rbytes")),
        written_b=_whole(update.get("tot_wbytes")),
        processes=_whole(metrics.get("processes")),
        disk_b=_whole(metrics.get("workDirSize")),
        more=_others(metrics),
    )


def _others(metrics: Mapping[str, str]) -> dict[str, float]:
    """What has no place of its own, as far as it is a number; so much of it."""
    told = ((name, _number(text)) for name, text in metrics.items() if name and name not in _PLACED)
    known = [(name, number) for name, number in told if number is not None]
    return dict(known[:MOST_MEASURES])


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and 0 <= number < 2**62 else None


_TIMES: Final = ("get_job", "stage_in", "payload", "stage_out", "initial_setup", "setup")


def timing_of(text: str) -> dict[str, int]:
    """Seconds by stretch from the pilot's timing, ``getjob|stagein|payload|stageout|...``."""
    return {
        name: int(each.strip())
        for name, each in zip(_TIMES, text.split("|"), strict=False)
        if each.isascii() and each.strip().isdigit()
    }


@frozen(kw_only=True)
class Report:
    """The files that a final update tells of; ``problem`` says why the report cannot be read."""

    files: tuple[Mapping[str, object], ...] = ()
    problem: str = ""
    names: frozenset[str] = frozenset()

    def tells_of(self, name: str) -> bool:
        """Whether a file is in it, or several of that name with a number behind it."""
        several = re.compile(rf"{re.escape(name)}\.?_\d+", re.ASCII)
        return name in self.names or any(map(several.fullmatch, self.names))


def read_report(text: str) -> Report:
    """The output report of a final update: JSON by LFN, each with a guid."""
    try:
        raw = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return Report(problem="the pilot's output report is no JSON")
    if not isinstance(raw, Mapping):
        return Report(problem=f"the pilot's output report wants to be an object, not {shown(raw)}")
    for lfn, entry in raw.items():
        if not isinstance(entry, Mapping) or not entry.get("guid"):
            return Report(problem=f"the pilot's output report has no guid for {shown(lfn)}")
    return Report(files=tuple(_stored(lfn, entry) for lfn, entry in raw.items()), names=frozenset(raw))


def _stored(lfn: str, entry: Mapping[str, object]) -> dict[str, object]:
    adler, md5 = entry.get("adler32"), entry.get("md5sum")
    digest = f"adler32:{adler}" if adler else f"md5:{md5}" if md5 else None
    url = clean(str(entry.get("surl") or ""))[:2048]
    size_b = _whole(entry.get("fsize"))
    return {"name": clean(lfn)[:256], "size_b": size_b, "checksum": digest and clean(digest)[:80], "url": url}


def error_of(update: Mapping[str, Any]) -> dict[str, object] | None:
    """Why a job failed in its pilot's words, and what it found out about that."""
    error = _coded_error(update)
    return error | {"failure": found} if error is not None and (found := found_in(update)) else error


def _coded_error(update: Mapping[str, Any]) -> dict[str, object] | None:
    """The pilot's own code before the payload's, before a bare exit code."""
    if number := update.get("pilot_error_code", 0):
        return told_error(abs(number), update.get("pilot_error_diag", ""))
    if number := update.get("exe_error_code", 0):
        return told_error(number, update.get("exe_error_diag", ""), "The payload reported an error")
    if number := update.get("trans_exit_code", 0):
        return told_error(Code.PAYLOADEXECUTIONFAILURE.number, f"exit code {number}")
    return None


def told_error(number: int, detail: str = "", sentence: str = "") -> dict[str, object]:
    """An error as people are shown it; ``sentence`` is for numbers that are not the pilot's."""
    acronym = ""
    if not sentence:
        with suppress(NoSuchCode):
            row = code(number)
            acronym, sentence = row.acronym, row.sentence
            detail = detail.removeprefix(f"{sentence}: ")
    return {"code": number, "acronym": acronym, "sentence": sentence or "The pilot gave a code", "detail": detail}
