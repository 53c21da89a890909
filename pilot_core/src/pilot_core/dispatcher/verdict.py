"""What an update comes to: the word that it says of its job, and why a job did not finish. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pilot_core.dispatcher import leases
from pilot_core.dispatcher.leases import Lease, Word
from pilot_core.dispatcher.updates import Report, error_of, told_error
from pilot_core.errors import Code


def word_of(update: Mapping[str, Any]) -> Word:
    """An update as far as it decides how its job stands. One without an attempt can mean none but a job's first."""
    return Word(
        status=update["job_status"],
        attempt=update.get("attempt_nr", 1),
        batch_id=update.get("batch_id", ""),
        error_code=abs(update.get("pilot_error_code", 0)),
    )


def closed_as(state: str, error: Mapping[str, object] | None) -> str:
    """How an attempt ended whose job stands so now."""
    if state != leases.WAITING:
        return state
    saved = error is not None and error["code"] == Code.CHECKPOINTED.number
    return leases.CHECKPOINTED if saved else leases.FAILED


def why_failed(lease: Lease, word: Word, update: Mapping[str, Any], report: Report) -> dict[str, object]:
    """Why a job did not finish, whichever way it was told."""
    if word.missing:
        told = report.problem or "the pilot's report does not name them"
        return told_error(leases.MISSING_OUTPUT, f"finished without {', '.join(word.missing)}: {told}")
    error = error_of(update) or told_error(0, "", "The pilot gave no reason")
    if lease.worn_out and leases.evicted(word.error_code):
        told = f"it lost its slot in attempt {lease.attempt} and is put back by itself no more"
        way_out = "look whether the job itself costs its pilots their slots, then retry"
        error["detail"] = "; ".join(filter(None, (str(error["detail"]), told, way_out)))
    return error


def why_lost(lease: Lease, silent_s: float) -> dict[str, object]:
    """Why a job is taken from a pilot that was silent for so long."""
    number = leases.loss_code(lease.state)
    sentence = "No pilot answered for the job" if number == leases.UNANSWERED else "The job's pilot fell silent"
    return told_error(
        number, f"attempt {lease.attempt} was {lease.state} and not heard of for {silent_s:g} s", sentence
    )
