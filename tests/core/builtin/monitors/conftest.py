"""What a monitor is shown of a payload."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue
from pilot_core.sdk import View


@pytest.fixture
def view(tmp_path: Path) -> View:
    return View(job=Job(id="1"), queue=Queue(name="q"), workdir=tmp_path, usage=Usage(), running_s=0.0, mono=1000.0)
