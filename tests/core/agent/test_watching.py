"""What a monitor has announced stops a payload without another look, on a node that has no thread to give."""

from __future__ import annotations

from types import SimpleNamespace

from pilot_core.agent.watching import Watching
from pilot_core.errors import Code, PilotError
from pilot_core.machine import events as e
from pilot_core.model.payload import Usage

OVER = PilotError(Code.REACHEDMAXTIME, "over")


class Timers:
    """What a loop would call, and after how long."""

    def __init__(self):
        self.calls = {}

    def after(self, key, delay_s, call):
        self.calls[key] = delay_s, call

    def drop(self, key):
        self.calls.pop(key, None)


class Idle:
    """Workers that do nothing: the node has no threads."""

    def busy(self, _):
        return False

    def begin(self, *_):
        pass


def test_an_announced_breach_comes_by_a_timer_and_goes_when_taken_back():
    loop, posted, clock = Timers(), [], SimpleNamespace(mono=lambda: 100.0)
    watch = SimpleNamespace(pause_s=30.0, coming={"walltime": (107.0, OVER)}, again_s=None, end=lambda: None)
    monitors = SimpleNamespace(begin=lambda *_: watch)
    held = SimpleNamespace(id="1", queue=None, workdir=None, settings=None, ran_s=0.0, watch=None)
    watching = Watching(loop, Idle(), monitors, posted.append, clock)
    watching.begin(held, None, 0, None)
    watching._looked(held, (Usage(), ()))
    delay_s, call = loop.calls["1/breach"]
    assert delay_s == 7.0
    call()
    assert e.StopAsked(job="1", error=OVER) in posted
    watch.coming.clear()
    watching._looked(held, (Usage(), ()))
    assert set(loop.calls) == {"1/look"}
    watch.coming["walltime"] = 107.0, OVER
    watching._looked(held, (Usage(), ()))
    watching.end(held)
    assert loop.calls == {}
