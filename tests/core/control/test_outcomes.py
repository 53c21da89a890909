"""Every mixture of tools, places, failures and deaths of the pilot: no output is lost, and none is stored twice.

A place where a file lies answers that it is there once a pilot died: while it does not, nobody can know.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilot_core.control.data import DataControl
from pilot_core.errors import Code, PilotError
from pilot_core.io.cancel import CancelFlag
from pilot_core.model.change import evolve
from pilot_core.model.files import FileSpec, Leaving, Receipt, Replica
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome
from pilot_core.redact import Redactor
from pilot_core.spec.drivers import Found, Moved

FAILURES = ("late", "lost", "vague", "full")
ERRORS = {
    "late": Code.SERVICENOTAVAILABLE,
    "lost": Code.COMMUNICATIONFAILURE,
    "vague": Code.STAGEOUTFAILED,
    "full": Code.NOREMOTESPACE,
}
ROUNDS = 2


class World:
    """Storage, a catalogue and a journal, which outlive the pilots that die at the ``deaths`` of all steps."""

    def __init__(self, deaths):
        self.deaths = set(deaths)
        self.steps = 0
        self.held = defaultdict(set)
        self.registered = defaultdict(set)
        self.leaving: dict[str, Leaving] = {}
        self.stored: dict[str, Receipt] = {}
        self.asked = Counter()
        self.begin()

    def begin(self):
        self.dead = False
        self.cancel = CancelFlag()

    def step(self):
        """One more step; nothing that a dead pilot does has any effect."""
        self.steps += not self.dead
        if self.steps in self.deaths and not self.dead:
            self.deaths.discard(self.steps)
            self.dead = True
            self.cancel.set()
        if self.dead:
            raise PilotError(Code.GENERALERROR, "the pilot is dead")

    def leave(self, files):
        try:
            self.step()
        except PilotError:
            return
        self.leaving.update({each.file.lfn: each for each in files})

    def store(self, receipt):
        try:
            self.step()
        except PilotError:
            return
        self.stored[receipt.lfn] = receipt

    def register(self, receipts):
        self.step()
        for each in receipts:
            self.registered[each.lfn].add(each.url)
        self.step()


def tool_of(kind, name, world, fates):
    """A tool of the bench that stores into this world, as often as its fates say not before they are spent."""

    class Tool(kind):
        def store(self, source, replica, file, moving):
            world.step()
            fate = self._fate(replica)
            if fate not in ("", "lost"):
                raise PilotError(ERRORS[fate], fate)
            world.held[file.lfn].add(replica.url)
            world.step()
            if fate == "lost":
                raise PilotError(ERRORS[fate], fate)
            return Moved(size_b=file.size_b, checksum=file.checksum, summed=True)

        def look(self, replica, file, moving):
            world.step()
            return Found(size_b=file.size_b, checksum=file.checksum) if replica.url in world.held[file.lfn] else None

        def _fate(self, replica):
            """What comes of this try; where the file lies, a second pilot hears that it does."""
            number = world.asked[self.name, replica.url]
            world.asked[self.name, replica.url] += 1
            told = fates[self.name, replica.url]
            return told[min(number, len(told) - 1)]

    return Tool(name)


WORKS = st.lists(st.sampled_from(FAILURES), max_size=ROUNDS - 1).map(lambda first: [*first, ""])
NEVER = st.sampled_from([["vague"], ["full"]])


@st.composite
def worlds(draw):
    names = [f"f{number}" for number in range(draw(st.integers(1, 3)))]
    tools = ["one", "two"][: draw(st.integers(1, 2))]
    places = range(draw(st.integers(1, 3)))
    urls = {name: [f"mem://h{place}/{name}" for place in places] for name in names}
    ways = [(tool, url) for tool in tools for each in urls.values() for url in each]
    deaths = draw(st.lists(st.integers(1, 40), max_size=3, unique=True))
    fates = {way: draw(st.one_of(WORKS, NEVER)) for way in ways}
    return urls, tools, fates, deaths, draw(st.booleans()), draw(st.booleans())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=worlds())
def test_no_output_is_lost_and_none_is_stored_twice(drawn, tmp_path_factory, make_bench, crate, single):
    """data:K-04 (stage-out)"""
    urls, names, fate, deaths, bulk, registers = drawn
    world, bench = World(deaths), make_bench(tmp_path_factory.mktemp("w"))
    tools = [tool_of(type(crate) if bulk else single, name, world, fate) for name in names]
    files = tuple(FileSpec(lfn=name, replicas=tuple(map(Replica, places))) for name, places in urls.items())
    for name in urls:
        (bench.workdir / name).write_text(name)
    while not live(world, bench, tools, files, registers):
        world.begin()
        fate.update({way: [""] for way in fate if way[1] in world.held[way[1].rpartition("/")[2]]})
    for name, places in urls.items():
        working = [way for way, told in fate.items() if way[1] in places and told[-1] == ""]
        assert len(world.held[name]) <= 1
        assert bool(working) == (name in world.stored)
        if name in world.stored:
            assert {world.stored[name].url} == world.held[name]
            assert not registers or world.registered[name] == world.held[name]


def live(world, bench, tools, files, registers) -> bool:
    """The life of one pilot; whether it came to its end."""

    def register(job, receipts):
        world.register(receipts)

    hooks = bench.hooks(**({"pilot_outputs_register": register} if registers else {}))
    receipts, leaving = tuple(world.stored.values()), dict(world.leaving)
    job = Job(id="1", outputs=files, receipts=receipts, leaving=leaving, outcome=Outcome(exit_code=0))
    bench.cancel = world.cancel
    task = evolve(bench.task(job, attempts=ROUNDS, budget_s=20.0), stored=world.store, leaving=world.leave)
    DataControl(hooks, tools, Redactor(), pause_s=0.0).stage_out(task)
    return not world.dead
