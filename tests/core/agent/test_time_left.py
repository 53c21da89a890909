"""The pilot knows when its slot is taken away, asks again, and stops before that."""

from __future__ import annotations

import threading

from pilot_core.errors import Code, PilotError
from pilot_core.sdk import Resource, Resources
from pilot_core.testing import PilotKit


class Leased(Resource):
    """A slot that lasts as long as a test says, answer by answer; the last is repeated."""

    name = "leased"
    answers = ()

    def slot(self, workdir):
        return Resources(cores=1)

    def time_left_s(self):
        self.asked.append(threading.current_thread())
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, PilotError):
            raise answer
        return answer


def run(tmp_path, script, *answers):
    leased = type("Leased", (Leased,), {"answers": answers, "asked": []})
    settings = {"pilot.resource": "leased", "pilot.time_left_again_s": 1, "pilot.stop_s": 1, "payload.grace_s": 0.1}
    kit = PilotKit(process="real", tmp=tmp_path, settings=settings, drivers={"resource": {"leased": leased}})
    return kit.run({"described": {"id": "1", "script": script}, "file": {"path": "job.yaml", "origin": ""}}), leased


def test_a_slot_that_is_shortened_ends_the_job_in_time(tmp_path):
    done, _ = run(tmp_path, "sleep 100", 3600.0, None, PilotError(Code.GENERALERROR, "nobody answers"), 1.0)
    assert done.trail[-1] == "failed"
    assert done.error.code == Code.REACHEDMAXTIME
    assert "how long the slot lasts is not known" in done.log


def test_a_slot_that_is_lengthened_lets_the_job_finish(tmp_path):
    done, leased = run(tmp_path, "sleep 4", 3600.0, 600.0, 7200.0)
    assert done.trail[-1] == "finished"
    assert len(leased.asked) >= 2


def test_only_the_first_answer_is_waited_for(tmp_path):
    _, leased = run(tmp_path, "sleep 4", 3600.0)
    first, *later = leased.asked
    assert first is threading.current_thread()
    assert later
    assert first not in later
