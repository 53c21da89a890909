"""What a running pilot says of itself, where no job is needed to hear it all."""

from __future__ import annotations

import json

from pilot_core.agent.status import status_of
from pilot_core.clock import SystemClock
from pilot_core.machine.agent import Agent
from pilot_core.machine.course import Course
from pilot_core.machine.pilot import Pilot
from pilot_core.model.job import Job
from pilot_core.model.queue import Resources


def told(courses, **more):
    pilot = Pilot(slot=Resources(cores=8))
    agent = Agent(pilot=pilot, courses={course.job.id: course for course in courses})
    return json.loads(json.dumps(status_of(agent, SystemClock(), ("t in x.py:1",), **more)))


def test_files_on_their_way_are_told_with_their_job():
    courses = [Course(job=Job(id=name, needs=Resources(cores=2))) for name in ("1", "2")]
    moving = [{"name": "a", "direction": "in", "done_b": 1, "size_b": 2, "began": 3.0, "running_s": 4.0}]
    said = told(courses, queue="q", moves={"2": moving, "gone": moving})
    assert [job["transfers"] for job in said["jobs"]] == [[], moving]
    assert [job["cores"] for job in said["jobs"]] == [2, 2]
    assert (said["queue"], said["left_behind"]) == ("q", ["t in x.py:1"])


def test_an_idle_pilot():
    said = told([])
    assert (said["queue"], said["jobs"], said["slot"]["cores"]) == ("", [], 8)
