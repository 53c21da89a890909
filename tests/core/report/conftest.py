"""Jobs that lived in this process, and pages taken apart again."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from attrs import define, field

from pilot_core.agent.recover import record_of
from pilot_core.control.history import line_of
from pilot_core.io.journal import Journal
from pilot_core.machine import events as e
from pilot_core.machine.phases import Step
from pilot_core.model.job import Job
from pilot_core.model.payload import Outcome, Usage

STEPS = (
    Step(name="stage_in", phase="stage_in"),
    Step(name="run", phase="running", slot=True, resumes=True),
    Step(name="store_log", phase="stage_out", always=True, resumes=True),
)


@define
class StillClock:
    at: float = 2000.0

    def now(self) -> float:
        return self.at

    def mono(self) -> float:
        return self.at


@define
class Element:
    """An element of a page: its name, attributes and the text in it and in what it holds."""

    name: str
    attributes: dict[str, str]
    text: str = ""


class Parsed(HTMLParser):
    """A page as a browser sees it: every element, closed in order."""

    VOID = ("meta", "br", "hr")

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def named(self, name: str) -> list[Element]:
        return [each for each in self.elements if each.name == name]

    def classed(self, word: str) -> list[Element]:
        return [each for each in self.elements if word in each.attributes.get("class", "").split()]

    @property
    def text(self) -> str:
        return self.named("html")[0].text


@define
class Life:
    """A control directory that is written as a pilot writes it, an event at a time, ten seconds apart."""

    root: Path
    job: Job
    raw: dict[str, object] = field(factory=dict)
    at: float = 1000.0
    ticket: int = 0
    journal: Journal = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.control.mkdir(mode=0o700)
        self.journal = Journal.create(self.control / "journal", 0)
        self.journal.append({"raw": self.raw})
        self.tell(e.Accepted, value=self.job, steps=STEPS)

    @property
    def control(self) -> Path:
        return self.root / f"{self.job.directory}.control"

    def tell(self, kind: type[e.JobEvent], **more: object) -> None:
        event = kind(at=self.at, mono=self.at, job=self.job.id, **more)
        self.journal.append(record_of(event))
        self.at += 10.0

    def done(self, **more: object) -> None:
        self.ticket += 1
        self.tell(e.WorkDone, ticket=self.ticket, result=e.Result(**more))

    def sample(self, *usages: Usage) -> None:
        lines = (line_of(self.at + 10.0 * number, usage) for number, usage in enumerate(usages))
        (self.control / "usage.jsonl").write_bytes(b"".join(lines))

    def run(self) -> None:
        """Up to the running payload."""
        self.done()
        self.ticket += 1
        self.tell(e.SlotGranted, ticket=self.ticket)
        self.ticket += 1
        self.tell(e.PayloadStarted, ticket=self.ticket, pid=17)

    def end(self, outcome: Outcome, **more: object) -> None:
        """From the running payload to the end."""
        self.tell(e.WorkDone, ticket=self.ticket, result=e.Result(outcome=outcome, **more))
        for _ in range(3):
            self.done()
        self.journal.seal({"over": self.job.id})


@pytest.fixture
def parsed() -> Callable[[str], Parsed]:
    return Parsed


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def life(tmp_path: Path) -> Callable[..., Life]:
    def begin(raw: dict[str, object] | None = None, began: float = 1000.0, **job: object) -> Life:
        return Life(tmp_path, Job(**{"id": "1", "transformation": "run.sh", **job}), raw or {}, began)

    return begin
