"""Monitor Control over real process trees, with monitors that count, fail, dawdle and hang on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from attrs import define

from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.control.monitor import STRIKES, MonitorControl, Watch, node_problems, numbers
from pilot_core.errors import Code, PilotError
from pilot_core.io.proctree import tree_of
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue
from pilot_core.plugins.drivers import Usable
from pilot_core.plugins.guard import PluginRef
from pilot_core.plugins.hooks import Hooks, Tier
from pilot_core.spec import payload
from pilot_core.spec.drivers import Monitor, Reading, View
from pilot_core.spec.markers import hookimpl

MIB = 1 << 20


@define
class HandClock:
    """Moved by hand."""

    at: float = 1000.0

    def now(self) -> float:
        return self.at

    def mono(self) -> float:
        return self.at


class Counting(Monitor):
    """Says how often it looked, or whatever ``says`` holds next."""

    name = "counting"
    interval_s = 60.0
    views: ClassVar[list[View]]
    says: ClassVar[list[Any]]
    dawdle: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    def look(self, view: View) -> Reading:
        self.views.append(view)
        type(self).dawdle()
        said = self.says.pop(0) if self.says else Reading(measures={"looks": len(self.views)})
        if isinstance(said, Exception):
            raise said
        return said  # type: ignore[no-any-return]


def counting(*says: Any, dawdle: Callable[[], None] = lambda: None) -> type[Counting]:
    return type("Counting", (Counting,), {"views": [], "says": list(says), "dawdle": staticmethod(dawdle)})


def settings(**slot: object) -> Settings:
    return Schema(CORE).merge(Layer(Rank.SITE, "the test", {"slot": slot}))


def control(
    *monitors: type[Monitor], clock: Any = None, budget_s: float = 10.0, **impls: Callable[..., Any]
) -> MonitorControl:
    hooks = Hooks(payload)
    marked = SimpleNamespace(**{name: hookimpl(impl) for name, impl in impls.items()})
    hooks.register(marked, "p0", tier=Tier.PLUGIN, distribution="pilot-p0", version="1.2")
    hooks.seal()
    usable = [Usable(PluginRef(each.name, "pilot-m", "1.0"), each.name, each) for each in monitors]
    return MonitorControl(usable, hooks, clock or HandClock(), budget_s)


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that prints a line when it is ready and ends, with all that it started, when it is let go."""
    argv = [sys.executable, "-I", "-S", "-c", "import os, sys, time, subprocess\n" + program]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            import psutil

            for each in (*psutil.Process(process.pid).children(recursive=True), process):
                each.kill()


READY = "print('ready', flush=True); time.sleep(600)\n"


def watch(of: MonitorControl, workdir: Path, pid: int = 0) -> Watch:
    return of.begin(Job(id="1"), Queue(name="q"), workdir, pid, settings())


def test_a_look_measures_the_tree_and_tells_it(tmp_path: Path) -> None:
    told: list[Usage] = []
    monitor = counting()

    def hear(usage: Usage) -> None:
        told.append(usage)

    mine = control(monitor, pilot_payload_sample=lambda: {"p0.x": 3}, pilot_payload_sampled=hear)
    program = f"b = bytearray({64 * MIB}); subprocess.Popen(['sleep', '600'])\nwhile time.process_time() < 0.2: pass\n"
    with running(program + READY) as process:
        looking = watch(mine, tmp_path, process.pid)
        usage, breaches = looking.look()
        looking.end()
    assert breaches == []
    assert usage.processes == 2
    assert usage.rss_b > 64 * MIB
    assert usage.rss_peak_b == usage.rss_b
    assert usage.cpu_user_s + usage.cpu_system_s >= 0.18
    assert usage.more == {"looks": 1.0, "p0.x": 3.0}
    assert told == [usage]
    assert monitor.views[0].usage.rss_b == usage.rss_b
    assert monitor.views[0].workdir == tmp_path


KEEPER = """
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
payload = subprocess.Popen([sys.executable, '-I', '-S', '-c', '''
import os, time
if not os.fork():
    os.setsid()
    if not os.fork():
        b = bytearray(64 << 20)
        print("escaped", flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
'''], stdout=subprocess.PIPE, text=True)
payload.stdout.readline()
print(payload.pid, flush=True)
time.sleep(600)
"""


def test_what_escaped_from_the_payload_is_measured_too(tmp_path: Path) -> None:  # pilot:E20
    argv = [sys.executable, "-I", "-S", "-c", "import os, sys, time, subprocess\n" + KEEPER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as keeper:
        import psutil

        assert keeper.stdout is not None
        pid = int(keeper.stdout.readline())
        try:
            with tree_of(pid) as tree:
                sample = tree.sample()
        finally:
            for each in (*psutil.Process(keeper.pid).children(recursive=True), keeper):
                each.kill()
    assert keeper.pid not in {member.pid for member in sample.members}
    assert pid in {member.pid for member in sample.members}
    assert len(sample.members) == 2
    assert sample.rss_b > 64 * MIB


def test_the_pilots_own_child_is_measured_without_the_pilot() -> None:
    with running(READY) as process, tree_of(process.pid) as tree:
        assert [member.pid for member in tree.sample().members] == [process.pid]


def test_a_payload_that_is_gone_measures_as_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    usage, _ = watch(control(), tmp_path, process.pid).look()
    assert usage == Usage()


def test_monitors_look_at_their_own_interval(tmp_path: Path) -> None:
    clock, often, seldom = HandClock(), counting(), counting()
    seldom.interval_s, seldom.name = 300.0, "seldom"
    looking = watch(control(often, seldom, clock=clock), tmp_path)
    for _ in range(20):
        looking.look()
        clock.at += 30.0
    assert [view.mono - 1000 for view in often.views] == [60.0 * n for n in range(10)]
    assert [view.running_s for view in seldom.views] == [0.0, 270.0, 540.0]


def test_breaches_and_measures_come_back_and_measures_stay(tmp_path: Path) -> None:
    clock, full = HandClock(), PilotError(Code.USERDIRTOOLARGE, "full")
    looking = watch(control(counting(Reading(measures={"disk_b": 7.0}, breach=full)), clock=clock), tmp_path)
    usage, breaches = looking.look()
    assert (usage.disk_b, breaches) == (7, [full])
    clock.at += 1
    usage, breaches = looking.look()
    assert (usage.disk_b, breaches) == (7, [])


def test_what_a_monitor_announces_stands_until_it_takes_it_back(tmp_path: Path) -> None:
    clock, over = HandClock(), PilotError(Code.REACHEDMAXTIME, "over")
    says = counting(Reading(breach=over, breach_in_s=700.0), ZeroDivisionError("by hand"), Reading())
    looking = watch(control(says, clock=clock), tmp_path)
    for stands in (True, True, False):
        assert looking.look()[1] == []
        assert looking.coming == ({"counting": (1700.0, over)} if stands else {})
        clock.at += 60


def test_a_payload_of_too_many_threads_is_stopped_whatever_monitors_run(tmp_path: Path) -> None:
    program = (
        "import threading\nfor _ in range(20): threading.Thread(target=time.sleep, args=[600], daemon=True).start()\n"
    )
    few = Schema(CORE).merge(Layer(Rank.SITE, "the test", {"payload": {"threads": 20}}))
    with running(program + READY) as process:
        looking = control().begin(Job(id="1"), Queue(name="q"), tmp_path, process.pid, few)
        _, breaches = looking.look()
        assert [breach.detail for breach in breaches] == [
            "the payload has 21 threads in all its processes, 20 are allowed"
        ]
        assert watch(control(), tmp_path, process.pid).look()[1] == []
        looking.end()


def test_a_monitor_that_fails_rests_after_three_and_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # pilot:E24
    clock, good = HandClock(), counting()
    bad = counting(*[ZeroDivisionError("by hand")] * 9)
    looking = watch(control(bad, good, clock=clock), tmp_path)
    for _ in range(6):
        looking.look()
        clock.at += 60
    assert (len(bad.views), len(good.views)) == (STRIKES, 6)
    assert caplog.text.count("plugin counting (pilot-m 1.0) failed in look: ZeroDivisionError: by hand") == STRIKES
    assert "rests until the next job" in caplog.text


def test_failures_count_only_in_a_row(tmp_path: Path) -> None:
    clock = HandClock()
    shaky = counting(*[KeyError(), None, Reading()] * 4)
    looking = watch(control(shaky, clock=clock), tmp_path)
    for _ in range(12):
        looking.look()
        clock.at += 60
    assert len(shaky.views) == 12


def test_a_costly_monitor_takes_no_more_than_a_hundredth_of_the_time(tmp_path: Path) -> None:  # pilot:E25
    clock = HandClock()

    def dawdle() -> None:
        clock.at += 5.0

    slow = counting(dawdle=dawdle)
    looking = watch(control(slow, clock=clock), tmp_path)
    for _ in range(200):
        looking.look()
        clock.at += 30.0
    spent_s, lasted_s = 5.0 * len(slow.views), clock.at - 1000
    assert len(slow.views) > 5
    assert spent_s / lasted_s < 0.011


def test_a_monitor_without_an_interval_paces_itself(tmp_path: Path) -> None:
    clock = HandClock()

    def dawdle() -> None:
        clock.at += 5.0

    itself = counting(dawdle=dawdle)
    itself.interval_s = 0.0
    looking = watch(control(itself, clock=clock), tmp_path)
    for _ in range(3):
        looking.look()
    assert len(itself.views) == 3


def test_a_plugin_that_fails_to_measure_is_benched_and_the_look_goes_on(tmp_path: Path) -> None:
    asked: list[int] = []

    def sample() -> dict[str, float]:
        asked.append(1)
        raise RuntimeError("no")

    mine = control(counting(), pilot_payload_sample=sample)
    looking = watch(mine, tmp_path)
    for _ in range(5):
        usage, _ = looking.look()
        assert usage.more == {"looks": 1.0}
    assert len(asked) == STRIKES
    assert mine.hooks.benched() == [("p0", "pilot_payload_sample")]


def test_only_finite_numbers_are_taken_for_measures(caplog: pytest.LogCaptureFixture) -> None:
    measures: dict[str, object] = {"a": 1, "b": float("nan"), "c": float("inf"), "d": "5", "e": None}
    assert numbers("p", measures) == {"a": 1.0}
    assert caplog.text.count("no finite number") == 4


def test_a_monitor_that_cannot_be_made_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Counting):
        def __init__(self, settings: Settings) -> None:
            raise OSError("no such device")

    good = counting()
    usage, _ = watch(control(Broken, good), tmp_path).look()
    assert usage.more == {"looks": 1.0}
    assert "no such device" in caplog.text


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What hangs until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def test_monitors_that_hang_keep_no_other_from_looking(
    tmp_path: Path, held: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    clock, good = HandClock(), counting()
    hanging = [counting(dawdle=held.wait) for _ in range(3)]
    for number, each in enumerate(hanging):
        each.name = f"hangs{number}"
    mine = control(*hanging, good, clock=clock, budget_s=0.1)
    looking = watch(mine, tmp_path)
    for _ in range(5):
        looking.look()
        clock.at += 60
    assert len(good.views) == 5
    assert [len(each.views) for each in hanging] == [1, 1, 1]
    assert len(threads_of("monitor hangs")) == 3
    assert [told.split()[1] for told in mine.left_behind()] == ["hangs0/1", "hangs1/1", "hangs2/1"]
    assert caplog.text.count("was left behind in threading.py:") == 3


def test_a_monitor_that_came_home_late_may_look_again(tmp_path: Path) -> None:
    clock, go_on = HandClock(), threading.Event()
    late = counting(dawdle=lambda: go_on.wait(10) and None)
    mine = control(late, clock=clock, budget_s=0.1)
    looking = watch(mine, tmp_path)
    looking.look()
    go_on.set()
    for thread in threads_of("monitor counting"):
        thread.join(10)
    clock.at += 60
    usage, _ = looking.look()
    assert usage.more == {"looks": 2.0}
    assert mine.left_behind() == ()


def test_a_monitor_is_made_in_its_first_look_and_may_hang_in_it(tmp_path: Path, held: threading.Event) -> None:
    made: list[str] = []

    class Slow(Counting):
        name = "slow"

        def __init__(self, settings: Settings) -> None:
            made.append(threading.current_thread().name)
            held.wait()

    good = counting()
    looking = watch(control(Slow, good, budget_s=0.1), tmp_path)
    assert made == []
    for _ in range(3):
        usage, _ = looking.look()
    assert usage.more == {"looks": 1.0}
    assert made == ["monitor slow/1"]


def test_a_sample_that_is_never_answered_keeps_nobody_from_looking(
    tmp_path: Path, held: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    def sample() -> None:
        held.wait()

    good = counting()
    looking = watch(control(good, budget_s=0.1, pilot_payload_sample=sample), tmp_path)
    for _ in range(3):
        usage, _ = looking.look()
    assert usage.more == {"looks": 1.0}
    assert len(threads_of("pilot_payload_sample")) == 1
    assert "pilot_payload_sample/1 was left behind in" in caplog.text


def test_an_end_during_a_look_waits_for_no_one_and_closes_all(tmp_path: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def dawdle() -> None:
        inside.set()
        assert go_on.wait(10)

    with running(READY) as process:
        looking = watch(control(counting(dawdle=dawdle)), tmp_path, process.pid)
        looker = threading.Thread(target=looking.look)
        looker.start()
        assert inside.wait(10)
        assert looking.tree._known
        looking.end()
        assert looking.tree._known
        go_on.set()
        looker.join(10)
        assert not looking.tree._known
        assert looking.look() == (Usage(), [])
        assert not looking.tree._known


def test_a_node_with_too_little_disk_takes_no_work(tmp_path: Path) -> None:  # pilot:A09
    assert node_problems(tmp_path, settings(free_disk_b=1)) == ()
    (problem,) = node_problems(tmp_path, settings(free_disk_b=10**18))
    assert problem.code is Code.NOLOCALSPACE
    assert problem.code.exit_code == 69
    assert str(tmp_path) in str(problem)


def test_a_young_payload_is_looked_at_often_and_an_old_one_as_usual(tmp_path):
    clock = HandClock()
    watch = control(clock=clock).begin(Job(id="1"), Queue(name="q"), tmp_path, os.getpid(), settings())
    pauses = []
    for _ in range(7):
        pauses.append(watch.pause_s)
        clock.at += pauses[-1]
    assert pauses == [2, 2, 4, 8, 16, 30, 30]
    watch.end()
