"""The workflow "standard": inputs, payload, outputs, log.

A job waits for its share of the slot only when its inputs are there, so the next one's arrive while this one runs.
What is stored, and the log, are left to a pilot that recovers; a failure or a stop skips what is not ``always``.
Outputs that are being stored when the slot is taken away have the rest of its time.
"""

from __future__ import annotations

from pilot_core.sdk import RUNNING, STAGE_IN, STAGE_OUT, Step, Workflow

VERIFY = Step(name="verify", phase=STAGE_IN, budget_s=120.0, failed=1319, expired=1317)
BRING = Step(name="stage_in", phase=STAGE_IN, budget_s=10800.0, failed=1099, expired=1151)
PAYLOAD = (
    Step(name="prepare", phase=RUNNING, budget_s=300.0, slot=True, failed=1310, expired=1317),
    Step(name="run", phase=RUNNING, slot=True, resumes=True, failed=1305, expired=1213),
    Step(
        name="diagnose",
        phase=STAGE_OUT,
        budget_s=300.0,
        always=True,
        cut=False,
        saves=True,
        resumes=True,
        failed=1310,
        expired=1317,
    ),
)
STORE = Step(
    name="stage_out",
    phase=STAGE_OUT,
    budget_s=10800.0,
    always=True,
    saves=True,
    resumes=True,
    failed=1137,
    expired=1152,
)
LOG = (
    Step(
        name="archive",
        phase=STAGE_OUT,
        budget_s=3600.0,
        always=True,
        cut=False,
        saves=True,
        resumes=True,
        failed=1320,
        expired=1376,
    ),
    Step(
        name="store_log",
        phase=STAGE_OUT,
        budget_s=3600.0,
        always=True,
        cut=False,
        saves=True,
        resumes=True,
        failed=1137,
        expired=1152,
    ),
)


class Standard(Workflow):
    """Bring the inputs, run the payload, store what it made, and the log."""

    name = "standard"
    steps = (VERIFY, BRING, *PAYLOAD, STORE, *LOG)
