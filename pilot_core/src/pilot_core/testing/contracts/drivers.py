"""What every driver must do: a class for each kind. Copy tools and workflows have modules of their own.

Subclass the one of your kind, answer ``make`` and whatever else is abstract, and its tests are yours. What a driver
can't do is named in ``does_not_promise``, by the name of the test, which is then skipped by that name.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import asdict, evolve

from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.schema import CORE
from pilot_core.errors import Code, PilotError
from pilot_core.model.job import FAILED, FINISHED, Job
from pilot_core.model.payload import Command, Usage
from pilot_core.model.queue import Queue, Resources
from pilot_core.model.wire import BadMessage
from pilot_core.spec.drivers import (
    Communicator,
    Container,
    Driver,
    EventChannel,
    InfoSource,
    Launcher,
    Letter,
    LogShipper,
    Monitor,
    Offer,
    Reading,
    Reply,
    Resource,
    Update,
    View,
)

ARGV = ("run me.sh", "-x", "two words", 'it\'s "quoted"', "$HOME", "*", "")


class DriverContract(ABC):
    """What holds for every driver."""

    __test__ = False
    kind: ClassVar[type[Driver]] = Driver
    does_not_promise: ClassVar[Sequence[str]] = ()
    options: ClassVar[Mapping[str, object]] = {}
    """Settings to make it with, by ``section.name``."""

    def __init_subclass__(cls) -> None:
        """Whoever answers the questions is a test; another contract is not."""
        cls.__test__ = "driver" in vars(cls) or cls.__test__

    @property
    @abstractmethod
    def driver(self) -> type[Any]:
        """The class under test; a class attribute will do."""

    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        name = request.node.originalname
        if name in self.does_not_promise:
            pytest.skip(f"the driver does not promise {name}")
        self.here = tmp_path
        self.made = self.make()

    def make(self) -> Any:
        """The driver, made as a pilot makes it."""
        return self.driver(self.settings())

    def settings(self) -> Settings:
        """The core's sections and the driver's own, with ``options`` set."""
        own = () if self.driver.options is None else (self.driver.options,)
        nested: dict[str, dict[str, object]] = {}
        for path, value in self.options.items():
            section, _, name = path.partition(".")
            nested.setdefault(section, {})[name] = value
        return Schema(dict.fromkeys((*CORE, *own))).merge(Layer(Rank.SITE, "the contract", nested))

    def test_it_is_a_driver_of_its_kind_with_a_name(self) -> None:
        assert issubclass(self.driver, self.kind)
        assert isinstance(self.made, self.kind)
        assert self.driver.name
        assert self.driver.name == self.driver.name.strip().lower()

    def test_its_probe_says_why_not_or_nothing(self) -> None:
        why = self.driver.probe()
        assert why is None or (isinstance(why, str) and why)

    def test_making_it_leaves_the_process_as_it_is(self) -> None:
        before = os.getcwd(), dict(os.environ)
        self.make()
        assert (os.getcwd(), dict(os.environ)) == before


class CommunicatorContract(DriverContract):
    """For those who get jobs and report them."""

    kind = Communicator

    @abstractmethod
    def raw_job(self) -> Mapping[str, object]:
        """A raw job as ``acquire`` would bring it: JSON values."""

    def job(self) -> Job:
        """The job in it."""
        read: Job = self.made.read(self.raw_job())
        return read

    def test_reading_a_job_is_pure(self) -> None:
        raw = json.loads(json.dumps(self.raw_job()))
        assert self.made.read(raw) == self.made.read(raw) == self.job()
        assert raw == json.loads(json.dumps(self.raw_job()))
        assert self.job().id

    @pytest.mark.parametrize("broken", [{}, {"x": 1}, {"jobs": None}])
    def test_what_is_no_job_is_refused_with_a_reason(self, broken: dict[str, object]) -> None:
        with pytest.raises(BadMessage) as refused:
            self.made.read(broken)
        assert str(refused.value)

    def test_a_request_fits_what_is_free(self) -> None:
        fields = self.made.request_fields(Queue(name="q"), Resources(cores=3))
        assert json.loads(json.dumps(dict(fields))) == dict(fields)

    @pytest.mark.parametrize("phase", ["accepted", "running", FINISHED, FAILED])
    def test_a_letter_is_complete_and_can_wait_on_disk(self, phase: Any) -> None:
        letter = self.letter(phase)
        assert (letter.communicator, letter.job) == (self.driver.name, self.job().id)
        assert letter.final == (phase in {FINISHED, FAILED})
        assert letter == self.letter(phase)
        json.dumps(dict(letter.body))

    def letter(self, phase: Any) -> Letter:
        """The letter of a job in this phase."""
        errors = (PilotError(Code.PAYLOADEXECUTIONFAILURE, "as told"),) if phase == FAILED else ()
        job = evolve(self.job(), phase=phase, errors=errors, times={phase: 1.0})
        letter: Letter = self.made.compose(Update(job=job, final=phase in {FINISHED, FAILED}, at=2.0, node="here"))
        return letter

    def test_a_failed_job_is_not_reported_like_a_finished_one(self) -> None:
        assert self.letter(FAILED).body != self.letter(FINISHED).body

    def test_a_letter_may_be_sent_twice(self) -> None:
        offer = self.made.acquire(self.made.request_fields(Queue(name="q"), Resources(cores=1)))
        assert isinstance(offer, Offer)
        for _ in range(2):
            assert isinstance(self.made.send(self.letter(FINISHED)), Reply)

    def test_a_job_that_cannot_be_read_is_refused_by_a_letter_or_not_at_all(self) -> None:
        error = PilotError(Code.CONVERSIONFAILURE, "it makes no sense")
        letter = self.made.refuse(self.raw_job(), error)
        assert letter is None or letter.final
        assert self.made.refuse({}, error) is None or self.made.refuse({}, error).final


class _CommandContract(DriverContract):
    """For those who build a command around another."""

    @abstractmethod
    def built(self, command: Command) -> Command:
        """The command that runs this one."""

    def test_every_argument_arrives_as_it_is(self) -> None:
        argv = self.built(Command(*ARGV)).argv
        assert all(isinstance(word, str) for word in argv)
        assert argv[-len(ARGV) :] == ARGV

    def test_the_environment_is_kept(self) -> None:
        assert dict(self.built(Command("true", env={"A": "b c"})).env).items() >= {"A": "b c"}.items()

    def test_it_is_pure(self) -> None:
        assert self.built(Command("true")) == self.built(Command("true"))
        assert list(self.here.iterdir()) == []


class ContainerContract(_CommandContract):
    """For container runtimes."""

    kind = Container
    image: ClassVar[str] = "image.sif"

    def built(self, command: Command) -> Command:
        """The command in the image."""
        wrapped: Command = self.made.wrap(command, self.image, self.here, ())
        return wrapped

    def test_no_value_of_the_environment_stands_on_the_command_line(self) -> None:
        assert not [word for word in self.built(Command("true", env={"A": "hunter2"})).argv if "hunter2" in word]

    def test_it_says_what_it_cannot_prevent_or_nothing(self) -> None:
        assert self.driver.lacks == self.driver.lacks.strip()
        assert self.made.inside(self.here).is_absolute()


class LauncherContract(_CommandContract):
    """For launchers."""

    kind = Launcher

    def built(self, command: Command) -> Command:
        """The command on the job's nodes."""
        launched: Command = self.made.launch(command, Job(id="1", needs=Resources(cores=2)))
        return launched


class ResourceContract(DriverContract):
    """For those who know the slot."""

    kind = Resource

    def test_a_slot_can_run_something(self) -> None:
        slot = self.made.slot(self.here)
        assert isinstance(slot, Resources)
        assert slot.cores >= 1
        assert all(size is None or size > 0 for size in (slot.memory_b, slot.disk_b))
        assert len(slot.gpus) == len({*slot.gpus})
        assert list(self.here.iterdir()) == []

    def test_the_time_left_is_told_or_not(self) -> None:
        left_s = self.made.time_left_s()
        assert left_s is None or left_s >= 0

    def test_what_is_allotted_is_the_slot_and_says_who_tells_it(self) -> None:
        allotted, slot = self.made.allotted(self.here), self.made.slot(self.here)
        told = [value for value in asdict(allotted, recurse=False).values() if value is not None]
        assert all(value.by for value in told)
        assert allotted.cores is None or allotted.cores.value == slot.cores
        assert allotted.memory_b is None or allotted.memory_b.value == slot.memory_b


class MonitorContract(DriverContract):
    """For monitors."""

    kind = Monitor

    def view(self, **changes: Any) -> View:
        """What a running payload looks like that does no harm."""
        usage = Usage(cpu_user_s=1.0, rss_b=1, rss_peak_b=1, processes=1)
        fields = {"job": Job(id="1"), "queue": Queue(name="q"), "workdir": self.here, "usage": usage}
        return View(**{**fields, "running_s": 1.0, "mono": 1.0, **changes})

    @abstractmethod
    def bad_view(self) -> View:
        """What it is there to find; ``self.view(...)`` with changes."""

    def test_a_payload_that_does_no_harm_goes_on(self) -> None:
        reading = self.made.look(self.view())
        assert isinstance(reading, Reading)
        assert reading.breach is None
        assert all(isinstance(each, int | float) for each in reading.measures.values())

    def test_what_it_is_there_for_is_found(self) -> None:
        breach = self.made.look(self.bad_view()).breach
        assert isinstance(breach, PilotError)
        assert breach.detail

    def test_looking_changes_nothing(self) -> None:
        (self.here / "file").write_text("x")
        self.made.look(self.view())
        assert [path.name for path in self.here.iterdir()] == ["file"]
        assert self.driver.interval_s >= 0


class LogShipperContract(DriverContract):
    """For those who send log records somewhere."""

    kind = LogShipper

    @abstractmethod
    def arrived(self) -> Sequence[Mapping[str, object]]:
        """The records that arrived so far."""

    @abstractmethod
    def hinder(self, hindered: bool) -> None:
        """Have the receiver take nothing from now on, or take everything again."""

    def test_records_arrive_in_order(self) -> None:
        records = [{"message": f"line {number}", "level": "INFO"} for number in range(3)]
        self.made.ship(records[:2])
        self.made.ship(records[2:])
        self.made.ship([])
        self.made.close()
        assert [each["message"] for each in self.arrived()] == [each["message"] for each in records]

    def test_what_is_not_taken_is_an_error_and_can_be_sent_again(self) -> None:
        records = [{"message": f"line {number}", "level": "INFO"} for number in range(3)]
        self.hinder(True)
        for _ in range(4):
            with pytest.raises(Exception):  # noqa: B017, PT011 -- the caller guards it
                self.made.ship(records)
        assert not self.arrived()
        self.hinder(False)
        self.made.ship(records)
        self.made.close()
        assert [each["message"] for each in self.arrived()] == [each["message"] for each in records]

    def test_many_records_are_one_call(self) -> None:
        records = [{"message": f"line {number}", "level": "INFO"} for number in range(501)]
        self.made.ship(records)
        self.made.close()
        assert len(self.arrived()) == len(records)


class InfoSourceContract(DriverContract):
    """For those who know queues."""

    kind = InfoSource
    known: ClassVar[str]
    """The name of a queue that it knows."""

    def test_a_known_queue_has_facts(self) -> None:
        facts = self.made.queue(self.known)
        assert facts
        json.dumps(dict(facts))

    def test_an_unknown_queue_is_none_of_its_business(self) -> None:
        refusal: PilotError | None = None
        try:
            assert self.made.queue("no such queue") is None
        except PilotError as error:
            refusal = error
        assert refusal is None or (refusal.code is Code.QUEUEDATA and "no such queue" in refusal.detail)


class EventChannelContract(DriverContract):
    """For those who talk with a running payload."""

    kind = EventChannel

    @abstractmethod
    def say(self, environment: Mapping[str, str], message: str) -> Any:
        """Send a message as a payload would; give whatever ``hear`` needs."""

    @abstractmethod
    def hear(self, said: Any) -> str:
        """The answer to what was said."""

    def test_a_payload_is_heard_and_answered(self) -> None:
        environment = self.made.open(self.here)
        try:
            assert environment
            assert self.made.receive(0.0) is None
            said = self.say(environment, "Ready for events")
            assert self.made.receive(5.0) == "Ready for events"
            self.made.send("No more events")
            assert self.hear(said) == "No more events"
        finally:
            self.made.close()

    def test_nothing_is_left_behind(self) -> None:
        descriptors = len(os.listdir("/proc/self/fd"))
        made = self.make()
        made.open(self.here)
        made.close()
        assert list(self.here.iterdir()) == []
        assert len(os.listdir("/proc/self/fd")) <= descriptors
