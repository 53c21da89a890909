"""The drawing of the machine: every rule was tried, and nothing that can happen is missing from it."""

from __future__ import annotations

import random
from importlib import import_module
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve

from pilot_core.machine.course import Course, Stand
from pilot_core.machine.job import RULES, step
from pilot_core.model.job import Job

from .snippets import DOCS


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    return import_module("pilot_machine")


def test_every_rule_was_tried(machine):
    assert {*machine.explore()} == {*RULES}


@pytest.mark.parametrize("seed", range(5))
def test_no_course_goes_a_way_that_is_not_drawn(machine, seed):
    """Random walks, with time passing as it may, against what the exploration by marks found."""
    leads, chance = machine.explore(), random.Random(seed)
    for _ in range(100):
        course, mono = Course(job=Job(id="1")), 0.0
        for _ in range(30):
            mono += chance.choice((0, 1, 30, 1000))
            event = evolve(chance.choice([*machine._events(course)]), mono=mono)
            moved, _ = step(course, event)
            assert moved.stand in leads[course.stand, type(event)], f"{course.stand} by {event}"
            course = moved


def test_the_drawing_is_xml_with_an_arrow_for_each_way(machine):
    leads = {(Stand.NEW, kind): {Stand.NEW, Stand.WORK} for stand, kind in RULES if stand is Stand.NEW}
    drawn = ET.fromstring(machine.drawing(leads))
    arrows = [each for each in drawn.iter("line") if "marker-end" in each.attrib]
    labels = [each.text for each in drawn.iter("text") if each.get("class") == "label"]
    assert (len(arrows), labels) == (1, ["Accepted"])
