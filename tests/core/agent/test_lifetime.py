"""How long the slot lasts: what stops the pilot, when, and what only seems to."""

from __future__ import annotations

import pytest
from attrs import define, field

from pilot_core.agent.lifetime import Lifetime
from pilot_core.config.schema import PilotOptions, SlotOptions
from pilot_core.errors import Code, PilotError

NOW = 1_788_264_000.0


@define(slots=False)
class Stage:
    """Everything that a lifetime needs of a pilot, with a clock that is set by hand."""

    told: list = field(factory=lambda: [None])
    timers: dict = field(factory=dict)
    posted: list = field(factory=list)
    mono_s: float = 0.0

    def __attrs_post_init__(self):
        self.loop = self.poster = self.clock = self

    def time_left_s(self):
        answer = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def after(self, key, after_s, call):
        self.timers[key] = (self.mono_s + after_s, call)

    def post(self, event):
        self.posted.append(event)

    def mono(self):
        return self.mono_s

    def now(self):
        return NOW + self.mono_s

    def within(self, budget_s, key, name, work, end):
        try:
            end(work())
        except (PilotError, ValueError) as failed:
            end(failed if isinstance(failed, PilotError) else PilotError(Code.INTERNALPILOTPROBLEM, str(failed)))

    def go(self, key):
        """Let the time pass until this timer goes off."""
        self.mono_s, call = self.timers.pop(key)
        call()


def begin(stage, *, limit_s=None, **slot):
    lifetime = Lifetime(stage, stage, PilotOptions(lifetime_s=1000.0), SlotOptions(**slot), limit_s)
    lifetime.begin()
    return lifetime


@pytest.mark.parametrize(("told", "limit_s", "at"), [
    (None, None, 975.0), (None, 500.0, 475.0), (400.0, 500.0, 375.0), (20.0, None, 10.0), (-5.0, None, 0.0),
])  # fmt: skip
def test_the_shortest_counts_less_what_a_stop_takes(told, limit_s, at):
    stage = Stage([told])
    lifetime = begin(stage, limit_s=limit_s)
    assert stage.timers["lifetime"][0] == lifetime.left_s == at
    stage.go("lifetime")
    (halt,) = stage.posted
    assert halt.error.code.number == 1213


def test_nobody_is_asked_again_who_does_not_know():
    stage = Stage()
    begin(stage)
    assert "slot" not in stage.timers


def test_a_slot_that_ends_sooner_is_left_sooner_and_never_later():
    stage = Stage([900.0, 500.0, 5000.0])
    begin(stage, ask_s=30.0)
    assert stage.timers["lifetime"][0] == 875.0
    stage.go("slot")
    assert stage.timers["lifetime"][0] == 30.0 + 475.0
    stage.go("slot")
    assert stage.timers["lifetime"][0] == 30.0 + 475.0


@pytest.mark.parametrize(("seconds", "stops"), [(599, True), (700, False)])
def test_a_notice_stops_at_once_when_it_is_near(tmp_path, seconds, stops):
    stage, notice = Stage(), tmp_path / "notice"
    begin(stage, notice=str(notice), ask_s=30.0)
    stage.go("slot")
    assert stage.posted == []
    notice.write_text(str(NOW + 60 + seconds))
    stage.go("slot")
    assert [halt.error.code.number for halt in stage.posted] == [1379] * stops
    stage.go("slot")
    stage.go("lifetime")
    assert len(stage.posted) == 1, "one stop is enough: a second one would shorten it"


def test_the_last_seconds_are_all_that_is_left(tmp_path):
    stage, notice = Stage(), tmp_path / "notice"
    notice.write_text(str(NOW + 30 + 7))
    begin(stage, notice=str(notice), ask_s=30.0)
    stage.go("slot")
    assert stage.posted[0].hurry_s == 7.0


def test_trouble_is_told_once(tmp_path, caplog):
    notice = tmp_path / "notice"
    notice.write_text("perhaps")
    stage = Stage()
    begin(stage, notice=str(notice), ask_s=30.0)
    for _ in range(3):
        stage.go("slot")
    assert stage.posted == []
    assert caplog.text.count("not known") == 1
