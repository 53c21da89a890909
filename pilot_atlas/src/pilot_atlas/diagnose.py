"""What the end of an ATLAS payload counts as, by its job report. What logs say is known by patterns, in ``data``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pilot_atlas.job import AtlasJob, is_analysis, program_of
from pilot_atlas.outputs import is_made
from pilot_atlas.report import NAME, OK, OLDER, BadReport, Entry, JobReport
from pilot_core.sdk import Code, ErrorCode, FileSpec, Job, Outcome, PilotError

PATTERNS: Final = Path(__file__).with_name("data") / "failures.yaml"
NO_TARBALL: Final = 146
NOTHING_TO_DO: Final = 160
SILENT: Final = frozenset({"Archive_tf.py"})
"""Transforms that write no report."""
MANAGED: Final = "managed"
UNCOUNTED: Final = ("TXT", "NTUP", "HIST")
"""Outputs whose names begin so have no entries to be counted."""
FRONTIER: Final = ("Cannot get a valid connection from Frontier", "No more servers/proxies", "frontier server error")


def problems(job: Job, outcome: Outcome, workdir: Path) -> Iterator[PilotError]:
    """Everything that the report says is wrong, or that there is none."""
    if outcome.note:
        return  # it was not begun, as there was nothing to do
    if outcome.exit_code == NO_TARBALL:
        yield PilotError(Code.NOUSERTARBALL, f"the transform ended with {outcome}", trf=NO_TARBALL)
    try:
        report = JobReport.read(workdir)
    except BadReport as bad:
        if not is_analysis(job):
            yield PilotError(Code.NOPAYLOADMETADATA, str(bad), trf=outcome.transform_code)
        return
    if report is None:
        yield from _missing(job, outcome, workdir)
        return
    yield from _reported(report, outcome)
    if outcome.clean and not report.exit_code:
        yield from _unmade(job, report)


def _missing(job: Job, outcome: Outcome, workdir: Path) -> Iterator[PilotError]:
    """A transform of a release that says that all is well says also what it made."""
    of_release = AtlasJob.of(job).has_release and not is_analysis(job) and program_of(job) not in SILENT
    if not of_release or not outcome.clean or (workdir / OLDER).is_file():
        return
    yield PilotError(Code.NOPAYLOADMETADATA, f"neither {NAME} nor {OLDER} is there", trf=0)


def _reported(report: JobReport, outcome: Outcome) -> Iterator[PilotError]:
    code = _code_of(report, outcome)
    if code is None:
        return
    said = report.exit_message if report.exit_message not in ("", OK) else next(report.details("ERROR"), "")
    told = said or f"the transform reports exit code {report.exit_code}"
    facts = {"exe": report.exit_code} if report.exit_code else {}
    yield PilotError(code, told, **facts, trf=outcome.transform_code)


def _code_of(report: JobReport, outcome: Outcome) -> ErrorCode | None:
    """The code of what the report says, or nothing if it says nothing wrong; the surest first."""
    details = [*report.details("ERROR"), *report.details("FATAL")]
    if "got a SIGSEGV signal" in report.exit_message:
        return Code.PAYLOADSIGSEGV
    if any(sign in detail for detail in (*details, report.exit_message) for sign in FRONTIER):
        return Code.FRONTIER
    match report.exit_code:
        case 0:
            return None
        case number if number == NO_TARBALL:
            return Code.NOUSERTARBALL
        case number if number == NOTHING_TO_DO and outcome.clean:
            return None
    if any("bad_alloc" in detail for detail in details):
        return Code.BADALLOC
    return Code.UNKNOWNPAYLOADFAILURE if outcome.clean else Code.PAYLOADEXECUTIONFAILURE


def _unmade(job: Job, report: JobReport) -> Iterator[PilotError]:
    """Outputs that the transform was to make and does not list, or of which the server would miss something there."""
    made = report.outputs
    for file in job.outputs:
        entry = (made or {}).get(file.lfn)
        if file.members or not is_made(file, entry):
            continue
        if entry is None and made is not None and not is_analysis(job):
            yield PilotError(Code.MISSINGOUTPUTFILE, f"{NAME} does not list {file.lfn}", lfn=file.lfn, trf=0)
        elif job.label == MANAGED and (missed := _missed(file, entry or Entry())):
            told = f"{NAME} has no {missed} of {file.lfn}; the server wants it of each output of a managed job"
            yield PilotError(Code.NOPAYLOADMETADATA, told, lfn=file.lfn, trf=0)


def _missed(file: FileSpec, entry: Entry) -> str:
    """What the server reads of an output and this entry lacks."""
    uncounted = file.lfn.startswith(UNCOUNTED)
    known = {"file_guid": bool(entry.guid), "nentries": uncounted or entry.entries is not None}
    return " and no ".join(name for name, is_known in known.items() if not is_known)
