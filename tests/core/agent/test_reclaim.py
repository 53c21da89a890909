"""A notice that the slot is taken back, and the lifetime that it may cut short."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from attrs import define, field

from pilot_core.agent.lifetime import Lifetime
from pilot_core.agent.reclaim import Reclaim
from pilot_core.config.schema import PilotOptions, SlotOptions
from pilot_core.errors import Code, PilotError

NOW = 1_788_264_000.0


@define(slots=False)
class Stage:
    """Everything that a lifetime needs of a pilot, with a clock that is set by hand."""

    told: float | None = None
    limit_s: float | None = None
    timers: dict = field(factory=dict)
    posted: list = field(factory=list)
    mono_s: float = 0.0

    def __attrs_post_init__(self):
        self.loop = self.poster = self.clock = self.settings = self.hooks = self
        self.queue = SimpleNamespace(wall_limit_s=self.limit_s)
        self.resource = SimpleNamespace(plugin=None, time_left_s=lambda: self.told)

    def of(self, section):
        return PilotOptions(lifetime_s=1000.0)

    def guarded(self, plugin, name, call):
        return call()

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

    def begin(self, **slot):
        lifetime = Lifetime(self, self.resource, self, self, self)
        lifetime.begin(self)
        Reclaim(lifetime, SlotOptions(ask_s=30.0, **slot)).begin(self)
        return lifetime

    def go(self, key):
        """Let the time pass until this timer goes off."""
        self.mono_s, call = self.timers.pop(key)
        call()


@pytest.mark.parametrize(("told", "limit_s", "at"), [
    (None, None, 975.0), (None, 500.0, 475.0), (400.0, 500.0, 375.0), (20.0, None, 10.0), (-5.0, None, 0.0),
])  # fmt: skip
def test_the_shortest_counts_less_what_a_stop_takes(told, limit_s, at):
    stage = Stage(told, limit_s)
    lifetime = stage.begin()
    assert stage.timers["lifetime"][0] == lifetime.left_s() == at
    stage.go("lifetime")
    (halt,) = stage.posted
    assert halt.error.code is Code.REACHEDMAXTIME


def test_without_a_place_nobody_looks():
    stage = Stage()
    stage.begin()
    assert "notice" not in stage.timers


@pytest.mark.parametrize(("seconds", "stops"), [(599, True), (700, False)])
def test_a_notice_stops_at_once_when_it_is_near(tmp_path, seconds, stops):
    stage, notice = Stage(), tmp_path / "notice"
    stage.begin(notice=str(notice))
    stage.go("notice")
    assert stage.posted == []
    notice.write_text(str(NOW + 60 + seconds))
    stage.go("notice")
    assert [halt.error.code for halt in stage.posted] == [Code.PREEMPTION] * stops
    if not stops:
        stage.go("notice")
    stage.go("lifetime")
    assert len(stage.posted) == 1, "one stop is enough: a second one would shorten it"


def test_the_last_seconds_are_all_that_is_left(tmp_path):
    stage, notice = Stage(), tmp_path / "notice"
    notice.write_text(str(NOW + 30 + 7))
    stage.begin(notice=str(notice))
    stage.go("notice")
    assert stage.posted[0].hurry_s == 7.0


def test_trouble_is_told_once(tmp_path, caplog):
    notice = tmp_path / "notice"
    notice.write_text("perhaps")
    stage = Stage()
    stage.begin(notice=str(notice))
    for _ in range(3):
        stage.go("notice")
    assert stage.posted == []
    assert caplog.text.count("not known") == 1
