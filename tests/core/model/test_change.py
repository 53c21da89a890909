"""Our ``evolve`` does what ``attrs.evolve`` does, for every value of the machine."""

from __future__ import annotations

import attrs
import pytest
from attrs import field, frozen

from pilot_core.machine.course import Course
from pilot_core.machine.pilot import Pilot
from pilot_core.model.change import evolve
from pilot_core.model.files import FileSpec
from pilot_core.model.job import Job, Phase
from pilot_core.model.queue import Resources


@frozen
class One:
    only: int = field(validator=attrs.validators.instance_of(int))


@frozen(slots=False)
class Roomy:
    first: int = 1
    second: int = 2


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        (Job(id="1", inputs=(FileSpec(lfn="a"),)), {"phase": Phase("running"), "attempt": 3}),
        (Course(job=Job(id="1")), {"ticket": 4, "holds_slot": True}),
        (Pilot(slot=Resources(cores=2)), {"taken": 1}),
        (Resources(cores=2), {}),
        (One(1), {"only": 2}),
        (One(1), {}),
        (Roomy(3), {"second": 4}),
    ],
    ids=lambda each: type(each).__name__,
)
def test_it_changes_what_is_asked_and_nothing_else(value, changes):
    before = attrs.asdict(value)
    assert evolve(value, **changes) == attrs.evolve(value, **changes)
    assert attrs.asdict(value) == before


def test_a_field_that_is_not_there_is_refused():
    with pytest.raises(TypeError, match="colour"):
        evolve(Resources(), colour="red")


def test_validators_have_their_say():
    with pytest.raises(TypeError):
        evolve(One(1), only="two")
