"""The pilot and its jobs as one value: each event goes to whom it concerns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from pilot_core.machine import commands as c
from pilot_core.machine import events as e
from pilot_core.machine import job as job_machine
from pilot_core.machine import pilot as pilot_machine
from pilot_core.machine.course import Course
from pilot_core.machine.pilot import Pilot, claim_left
from pilot_core.model.change import evolve

Move = tuple["Agent", tuple[c.Command, ...]]


@frozen(kw_only=True)
class Agent:
    """Everything there is to know: the pilot and the courses of its jobs."""

    pilot: Pilot
    courses: Mapping[str, Course] = field(factory=dict)


def take_over(pilot: Pilot, courses: Iterable[Course]) -> Agent:
    """An agent that goes on with jobs of a dead pilot: it doesn't end before they do, whatever comes first."""
    left = {course.job.id: course for course in courses}
    claims = {job: claim_left(course.job, course.runs_on) for job, course in left.items()}
    return Agent(pilot=evolve(pilot, claims=claims), courses=left)


def step(agent: Agent, event: e.Event) -> Move:
    """The next agent and the commands for the world outside."""
    if not isinstance(event, e.JobEvent):
        pilot, commands = pilot_machine.step(agent.pilot, event)
        return evolve(agent, pilot=pilot), commands
    course = agent.courses.get(event.job)
    if isinstance(event, e.Accepted) and course is None:
        course = Course(job=event.value)
    if course is None:
        return agent, ()
    moved, commands = job_machine.step(course, event)
    courses = {**agent.courses, event.job: moved}
    if any(isinstance(command, c.Forget) for command in commands):
        del courses[event.job]
    return _tell_pilot(evolve(agent, courses=courses), commands)


def _tell_pilot(agent: Agent, commands: tuple[c.Command, ...]) -> Move:
    """Give the pilot at once what a job posts for it, so that the two never disagree."""
    kept: list[c.Command] = []
    for command in commands:
        if isinstance(command, c.Post) and not isinstance(command.event, e.JobEvent):
            agent, more = step(agent, command.event)
            kept.extend(more)
        else:
            kept.append(command)
    return agent, tuple(kept)
