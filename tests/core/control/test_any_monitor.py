"""A third party's monitor, from its ten lines to the server's update, the dispatcher's samples and the report."""

from __future__ import annotations

import json
import time
from pathlib import Path

from attrs import evolve

from pilot_core.builtin.panda.updating import Identity as Who
from pilot_core.builtin.panda.updating import fields_of
from pilot_core.control.history import USAGE
from pilot_core.dispatcher.updates import usage_of
from pilot_core.report.account import samples_of
from pilot_core.sdk import Monitor, Reading, Update, Usage, View
from pilot_core.sdk.wire import unpack
from pilot_core.testing import PilotKit, a_job


class Cold(Monitor):
    """What a third party writes."""

    name = "cold"
    interval_s = 0.0

    def look(self, view: View) -> Reading:
        if view.usage.more:
            (view.workdir / "measured").touch()
        return Reading(measures={"fridge.celsius": 3.5})


UNTIL_MEASURED = "while ! [ -e measured ]; do sleep 0.01; done"


def test_its_samples_reach_the_server_the_dispatcher_and_the_report(tmp_path: Path) -> None:
    kit = PilotKit(
        tmp=tmp_path,
        process="real",
        drivers={"monitor": {"cold": Cold}},
        settings={"monitor.monitors": ["cold"], "monitor.sample_s": 0.05},
    )
    run = kit.run(a_job(command=["sh", "-c", UNTIL_MEASURED]))
    assert run.job is not None
    usage = unpack(Usage, run.record["usage"])
    assert usage.more == {"fridge.celsius": 3.5}
    update = fields_of(Update(job=evolve(run.job, usage=usage), at=time.time(), final=True), Who())
    assert "fridge.celsius=3.5" in str(update["job_metrics"]).split()
    assert usage_of(update).more == {"fridge.celsius": 3.5}
    lines = run.workdir.with_name(f"{run.workdir.name}.control") / USAGE
    assert json.loads(lines.read_text().splitlines()[0])["more"] == {"fridge.celsius": 3.5}
    assert samples_of(lines.read_bytes().splitlines())[0].more == {"fridge.celsius": 3.5}
