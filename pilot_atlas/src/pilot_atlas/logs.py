"""What does not belong in the log of an ATLAS job: releases, sandboxes, data, and what payloads leave behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import Final

from pilot_core.sdk import Code, Job
from pilot_core.sdk.io import Inside

LEFT_OUT: Final = Path(__file__).with_name("data") / "left_out.txt"
"""By their names in the job's own directory, one a line."""
WORK: Final = "workDir"
KEPT: Final = re.compile(r"runargs|runwrapper|jobReport|log\.|xrdlog")
"""Whatever holds one of these stays."""
NEEDS_ITS_WORK: Final = frozenset({Code.LOOPINGJOB, Code.PAYLOADEXCEEDMAXMEM})
"""After these errors the payload's own work tells why."""


def left_out(job: Job, workdir: Path) -> Sequence[str]:
    """What is there of these, and is not to be kept, as patterns."""
    patterns = LEFT_OUT.read_text().split()
    wanted = patterns if NEEDS_ITS_WORK & {error.code for error in job.errors} else [*patterns, WORK]
    with Inside(workdir) as folder:
        found = {name for pattern in wanted for name in folder.glob(pattern)}
    return sorted(escape(name) for name in found if not KEPT.search(name))
