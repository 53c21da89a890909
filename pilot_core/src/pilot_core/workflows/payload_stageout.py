"""The workflow "payload_stageout": as the standard one, from a cache that was filled before."""

from __future__ import annotations

from attrs import evolve

from pilot_core.sdk import Workflow
from pilot_core.workflows.standard import BRING, LOG, PAYLOAD, STORE, VERIFY


class PayloadStageOut(Workflow):
    """Take the inputs from the cache and from nowhere else; then payload, outputs, log."""

    name = "payload_stageout"
    steps = (VERIFY, evolve(BRING, work="take_inputs"), *PAYLOAD, STORE, *LOG)
