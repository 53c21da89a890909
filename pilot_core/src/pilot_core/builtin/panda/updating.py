"""How a job stands, in the server's words. Pure; what does not fit is cut by ``words`` before it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Final

from attrs import frozen

from pilot_core.builtin.panda.extras import BATCH
from pilot_core.builtin.panda.words import TELLS, head
from pilot_core.sdk import (
    ACCEPTED,
    RUNNING,
    STAGE_IN,
    STAGE_OUT,
    Job,
    Phase,
    PilotError,
    Receipt,
    Update,
    Usage,
    Verdict,
    failure_of,
)

STATES: Final[Mapping[Phase, str]] = {ACCEPTED: "starting", STAGE_IN: "starting"}
"""The server's word for a phase; every other one is ``running``, until the job is over."""
SHORT_DIAG_B: Final = 250
SPARED: Final = frozenset({"job_metrics", "pilot_log", "stdout", "meta_data", "cpu_consumption_unit", "job_sub_status"})
"""What a final update that the database refuses can do without."""
MEASURED: Final = frozenset(
    ("n_events", *(name for name in TELLS if name.partition("_")[0] in ("max", "avg", "tot", "rate")))
)
"""Fields that a monitor fills which measures something of that name; all else that is measured is a metric."""
_STAMP: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?\s*", re.ASCII)
_UNFIT: Final = re.compile(r"[\s=,]+")


@frozen(kw_only=True)
class Identity:
    """Who this pilot is to the server; what is empty is not said."""

    site: str = ""
    node: str = ""
    pilot: str = ""
    batch: str = ""
    scheduler: str = ""


def fields_of(
    update: Update, who: Identity, node: Mapping[str, object] | None = None, got_s: float = 0.0
) -> dict[str, object]:
    """The fields of an update, named as the server names them; ``node`` are those that tell of the node.

    ``got_s`` is how long it took to get the job.
    """
    job = update.job
    batch: str | None = job.extras.get(BATCH)
    fields: dict[str, object] = {
        "job_id": int(job.id) if job.id.isdecimal() else job.id,
        "attempt_nr": job.attempt,
        "job_status": state_of(update),
        "job_sub_status": "" if update.final else job.phase,
        "site_name": who.site,
        "node": who.node or update.node,
        "scheduler_id": who.scheduler,
        "pilot_id": who.pilot,
        "batch_id": batch,
        "start_time": job.times.get(RUNNING),
        "core_count": job.needs.cores,
        "n_input_files": len(job.inputs),
        "stdout": update.log_tail if update.debug else "",
        **(node or {}),
        **_used(update),
    }
    return fields | (_last(update, got_s) if update.final else {})


def sendable(body: Mapping[str, object], *, final: bool) -> Mapping[str, object]:
    """Without a payload's report, but in the last word on a job that finished: a server keeps the first one."""
    if final and body.get("job_status") != "failed":
        return body
    return {name: value for name, value in body.items() if name != "meta_data"}


def state_of(update: Update) -> str:
    """The server's word for where the job stands."""
    return update.job.verdict.value if update.final else STATES.get(update.job.phase, "running")


def reduced(fields: Mapping[str, object]) -> dict[str, object]:
    """A final update with only what matters, in the plainest letters: one that any database takes."""
    plain = {name: _plain(value) for name, value in fields.items() if name not in SPARED}
    return plain | {
        name: head(str(value), SHORT_DIAG_B) for name, value in plain.items() if name.endswith("_error_diag")
    }


def _plain(value: object) -> object:
    return value.encode("ascii", "replace").decode() if isinstance(value, str) else value


# --- numbers ----------------------------------------------------------------------------------------------------------


def _used(update: Update) -> dict[str, object]:
    """What the payload used so far, once there is anything to tell."""
    job = update.job
    usage = job.usage if job.outcome is None else job.usage.ended(job.outcome.usage)
    if usage == Usage():
        return {}
    ran_s = _ran_s(update)
    return {
        "cpu_consumption_time": usage.cpu_s,
        "cpu_conversion_factor": 1.0,
        "mean_core_count": usage.cpu_s / ran_s if ran_s else None,
        **_peaks(usage),
        **_moved(usage, ran_s),
        **{name: value for name, value in usage.more.items() if name in MEASURED},
        "job_metrics": metrics_of(job, usage),
    }


def _peaks(usage: Usage) -> dict[str, object]:
    """In kilobytes; what was not measured is not said."""
    peaks = {"pss": usage.pss_peak_b, "swap": usage.swap_peak_b, "vmem": usage.vmem_peak_b}
    told: dict[str, object] = {f"max_{name}": peak / 1024 for name, peak in peaks.items() if peak}
    return {"max_rss": max(usage.rss_peak_b, usage.rss_b) / 1024, **told}


def _moved(usage: Usage, ran_s: float) -> dict[str, object]:
    """Bytes in all, and bytes a second."""
    moved = {"rbytes": usage.read_b, "wbytes": usage.written_b}
    moved |= {name: size for name, size in (("rchar", usage.rchar_b), ("wchar", usage.wchar_b)) if size}
    rates = {f"rate_{name}": size / ran_s if ran_s else None for name, size in moved.items()}
    return {**{f"tot_{name}": size for name, size in moved.items()}, **rates}


def _ran_s(update: Update) -> float:
    job = update.job
    if job.outcome is not None:
        return max(job.outcome.wall_s, 0.0)
    return max(update.at - job.times[RUNNING], 0.0) if RUNNING in job.times else 0.0


def metrics_of(job: Job, usage: Usage) -> str:
    """Pairs that say what was measured, what everybody asks for first."""
    measured: dict[str, float] = {
        "cpu": usage.cpu_s,
        "rss": usage.rss_b,
        "processes": usage.processes,
        "workDirSize": usage.disk_b,
    }
    told = {name: value for name, value in measured.items() if value} | {"coreCount": job.needs.cores}
    for name, value in usage.more.items():
        if name not in MEASURED:
            told.setdefault(_UNFIT.sub("_", name), value)
    return " ".join(f"{name}={_written(value)}" for name, value in told.items() if isfinite(value))


def _written(value: float) -> str:
    """A number without an exponent."""
    return str(value) if isinstance(value, int) else f"{value:.3f}".rstrip("0").rstrip(".")


# --- the last word ----------------------------------------------------------------------------------------------------


def _last(update: Update, got_s: float) -> dict[str, object]:
    job = update.job
    return {
        "end_time": update.at,
        "pilot_timing": timing_of(update, got_s),
        "trans_exit_code": _exit_code(job),
        "pilot_log": update.log_tail,
        "job_output_report": report_of(job),
        **(_errors(job.error) if job.error is not None else _lacks(job)),
        **_found(update),
    }


def _found(update: Update) -> dict[str, object]:
    """What was found out about a failure, before what was measured: a long list of metrics is cut at its end."""
    if update.job.error is None:
        return {}
    words = " ".join(f"{name}={word}" for name, word in failure_of(update.job.error).words().items())
    return {"job_metrics": " ".join(filter(None, (words, str(_used(update).get("job_metrics", "")))))}


def _exit_code(job: Job) -> int | None:
    """The payload's exit status; nothing, if there was no payload to have one."""
    if job.outcome is not None:
        return job.outcome.transform_code
    return 0 if job.verdict is Verdict.FINISHED else None


def _lacks(job: Job) -> dict[str, object]:
    """No error, and what a job goes without all the same."""
    return {"pilot_error_code": 0, "pilot_error_diag": _timeless(str(job.notes.get("log_lost", "")))}


def _errors(error: PilotError) -> dict[str, object]:
    said: dict[str, object] = {"pilot_error_code": error.code.number, "pilot_error_diag": diagnosis_of(error)}
    own = error.facts.get("exe")
    return said | ({"exe_error_code": own, "exe_error_diag": _timeless(error.detail)} if own is not None else {})


def diagnosis_of(error: PilotError) -> str:
    """What went wrong, without times of day: the same error is to read the same for every job."""
    said = f"{error.code.sentence}: {error.detail}" if error.detail else error.code.sentence
    remedy = error.facts.get("remedy")
    return _timeless(f"{said}; {remedy}" if remedy else said)


def _timeless(text: str) -> str:
    return _STAMP.sub("", text)


def timing_of(update: Update, got_s: float) -> str:
    """Whole seconds of getting the job, stage-in, payload, stage-out, the pilot's set-up and the payload's."""
    times = update.job.times
    in_s = _between(times, STAGE_IN, (RUNNING, STAGE_OUT), update.at)
    out_s = _between(times, STAGE_OUT, (), update.at)
    setup_s = _between(times, ACCEPTED, (STAGE_IN, RUNNING, STAGE_OUT), update.at)
    prepared_s = max(_began(update.job) - times[RUNNING], 0.0) if RUNNING in times else 0.0
    return "|".join(str(round(each)) for each in (got_s, in_s, _ran_s(update), out_s, setup_s, prepared_s))


def _began(job: Job) -> float:
    """When the payload began, by the wall clock; long ago if it never did."""
    began = job.notes.get("payload_at")
    return began if isinstance(began, float) else 0.0


def _between(times: Mapping[str, float], begun: Phase, ended: tuple[Phase, ...], now: float) -> float:
    """How long a phase lasted by the wall clock, which may have been set back meanwhile."""
    if begun not in times:
        return 0.0
    return max(next((times[phase] for phase in ended if phase in times), now) - times[begun], 0.0)


def report_of(job: Job) -> str:
    """What was stored, as JSON by name; of a failed job the log alone, and what was asked for whatever happens."""
    files = {file.lfn: file for file in job.outputs if file.always or job.verdict is Verdict.FINISHED}
    if job.log is not None:
        files[job.log.lfn] = job.log
    stored = {
        each.lfn: _entry(each, files[each.lfn].guid)
        for each in job.receipts
        if each.direction == "out" and each.lfn in files
    }
    return json.dumps(stored) if stored else ""


def _entry(receipt: Receipt, guid: str) -> dict[str, object]:
    entry = {"guid": receipt.guid or guid, "fsize": receipt.size_b, **_digest(receipt), "surl": receipt.url}
    return entry | ({"endpoint": receipt.endpoint} if receipt.endpoint else {})


def _digest(receipt: Receipt) -> dict[str, object]:
    keys = {"adler32": "adler32", "md5": "md5sum"}
    checksum = receipt.checksum
    return {keys[checksum.kind]: checksum.value} if checksum is not None and checksum.kind in keys else {}
