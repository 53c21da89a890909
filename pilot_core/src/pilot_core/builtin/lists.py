"""The plugin that writes lists of files which a payload wants to read, where its job came with any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pilot_core.sdk import Job, JobKey, hookimpl

TEXTS: Final[JobKey[Mapping[str, str]]] = JobKey("job.texts")
"""Files to be written into the job's directory before the payload begins, unless they are there: text by name."""


@hookimpl
def pilot_inputs_staged(job: Job, workdir: Path) -> Mapping[str, str]:
    """Write the lists that are not there yet."""
    texts = job.extras.get(TEXTS) or {}
    return {name: text for name, text in texts.items() if not (workdir / name).exists()}
