"""The workflow "stagein": inputs only, left in the node's cache for a later job."""

from __future__ import annotations

from attrs import evolve

from pilot_core.sdk import Workflow
from pilot_core.workflows.standard import BRING, LOG, VERIFY


class StageIn(Workflow):
    """Fill the cache with the inputs and run nothing."""

    name = "stagein"
    steps = (VERIFY, evolve(BRING, work="fill_cache"), *LOG)
