"""Files by which others see that a pilot lives."""

from __future__ import annotations

import json
import os

import pytest

from pilot_core.agent.living import BEAT_S, SUSPENDED_S, Living


class Turning:
    """A clock and a loop that turn when they are told to."""

    def __init__(self):
        self.time, self.next = 1000.0, None

    def now(self):
        return self.time

    def after(self, name, wait_s, call):
        self.next = (name, wait_s, call)

    def turn(self, after_s):
        self.time += after_s
        self.next[2]()


@pytest.fixture
def life(tmp_path):
    turning = Turning()
    Living(tmp_path / "life.json", tmp_path / "log", turning, turning).begin()
    return turning, tmp_path


def said(place):
    return json.loads((place / "life.json").read_text())


def test_it_is_written_with_each_turn_and_the_log_is_touched(life):
    turning, place = life
    assert said(place) == {"last_pilot_update": 1000, "max_diff_time": 0, "time_since_detection": 0}
    (place / "log").touch()
    os.utime(place / "log", (1, 1))
    turning.turn(BEAT_S)
    assert said(place) == {"last_pilot_update": 1060, "max_diff_time": 60, "time_since_detection": 0}
    assert (place / "log").stat().st_mtime > 1
    assert turning.next[:2] == ("life", BEAT_S)


def test_a_suspension_is_told_from_then_on(life):
    turning, place = life
    turning.turn(SUSPENDED_S + 1)
    turning.turn(BEAT_S)
    assert said(place) == {"last_pilot_update": 1661, "max_diff_time": 601, "time_since_detection": 60}


def test_a_place_that_cannot_be_written_stops_nobody(tmp_path, caplog):
    turning = Turning()
    Living(tmp_path / "none" / "life.json", tmp_path / "log", turning, turning).begin()
    assert turning.next
    assert "that the pilot lives could not be shown" in caplog.text
