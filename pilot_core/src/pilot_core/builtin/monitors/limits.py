"""Limits, and the words in which something is said to be beyond one."""

from __future__ import annotations

from pilot_core.sdk import ErrorCode, PilotError, View


def share_b(view: View, limit_b: int | None) -> float | None:
    """What a queue grants a whole slot, for a job with fewer cores than that."""
    if limit_b is None:
        return None
    return limit_b * min(1.0, view.job.needs.cores / (view.queue.cores or 1))


def too_much(code: ErrorCode, what: str, value_b: float, limit_b: float) -> PilotError:
    """Something is larger than it may be."""
    told = f"{what}: {value_b / 1e6:.1f} MB, {limit_b / 1e6:.1f} MB are allowed"
    return PilotError(code, told, value_b=int(value_b), limit_b=int(limit_b))
