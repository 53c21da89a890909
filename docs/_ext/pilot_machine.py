"""The job machine drawn from its table: every rule is tried on small jobs, and where it leads becomes an arrow.

``pilot-machine`` is the drawing, ``pilot-machine-table`` the whole table in words.
"""

from __future__ import annotations

import functools
import inspect
from collections import defaultdict
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from docutils import nodes
from pilot_reference import Written, table
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pilot_core.errors import Code, PilotError
from pilot_core.machine import events as e
from pilot_core.machine.course import Course, Stand
from pilot_core.machine.final import WAITS_IN
from pilot_core.machine.job import RULES, Ticketed, step
from pilot_core.machine.phases import Step
from pilot_core.model.files import Receipt
from pilot_core.model.job import RUNNING, STAGE_IN, STAGE_OUT, Job
from pilot_core.model.payload import Usage

Leads = dict[tuple[Stand, type[e.JobEvent]], set[Stand]]

STEPS: Final = (
    Step(name="bring", phase=STAGE_IN),
    Step(name="run", phase=RUNNING, slot=True, resumes=True),
    Step(name="judge", phase=STAGE_OUT, always=True, cut=False),
    Step(name="store", phase=STAGE_OUT, always=True, saves=True, resumes=True),
)
TABLES: Final = (STEPS, STEPS[1:2], ())
LATER_S: Final = 1e6
SHORT_S: Final = 10.0
WRONG: Final = PilotError(Code.GENERALERROR)


# --- where each rule can lead ---------------------------------------------------------------------------------------


@functools.cache
def explore() -> Leads:
    """For each rule of the table, the stands that it leads to in any course of small jobs."""
    leads: Leads = defaultdict(set)
    waiting, seen = [Course(job=Job(id="1"))], set()
    while waiting:
        course = waiting.pop()
        for event in _events(course):
            moved, _ = step(course, event)
            leads[course.stand, type(event)].add(moved.stand)
            if (mark := _mark(moved)) not in seen:
                seen.add(mark)
                waiting.append(moved)
    return dict(leads)


def _mark(course: Course) -> tuple[object, ...]:
    """What of a course decides what may follow."""
    job = course.job
    notes = tuple(sorted(name for name, note in job.notes.items() if note))
    hurried = None if course.hurry_until is None else course.hurry_until > SHORT_S
    done = (bool(job.errors), course.excuse is not None, notes, course.payload_started)
    return (course.stand, course.at, len(course.steps), course.holds_slot, hurried, course.tries > 0, *done)


def _events(course: Course) -> Iterator[e.JobEvent]:
    """All that may come now, in the ways that make a difference."""
    for stand, kind in RULES:
        if stand is course.stand:
            for fields in _ways(kind):
                ticket = {"ticket": course.ticket} if issubclass(kind, Ticketed) else {}
                yield kind(job="1", **ticket, **fields)


def _ways(kind: type[e.JobEvent]) -> list[dict[str, Any]]:
    receipt = Receipt(lfn="f", direction="out", url="kit://f", tool="kit", size_b=1)
    ways: dict[type[e.JobEvent], list[dict[str, Any]]] = {
        e.Accepted: [{"value": Job(id="1"), "steps": steps} for steps in TABLES],
        e.WorkDone: [{"result": e.Result(notes=notes)} for notes in ({}, {WAITS_IN: "outbox"})],
        e.WorkFailed: [{"error": WRONG, "mono": mono} for mono in (0.0, LATER_S)],
        e.WorkExpired: [{"mono": mono} for mono in (0.0, LATER_S)],
        e.StopAsked: [{"error": WRONG, "hurry_s": hurry_s} for hurry_s in (None, 0.0, 60.0)],
        e.Resumed: [{"error": WRONG}],
        e.PayloadStarted: [{"pid": 1}],
        e.FileStored: [{"receipt": receipt}],
        e.FilesLeaving: [{"files": ()}],
        e.HeartbeatSet: [{"every_s": 1.0}],
        e.Sampled: [{"usage": Usage()}],
        e.JournalLost: [{"detail": "gone"}],
    }
    return ways.get(kind, [{}])


# --- the table in words ---------------------------------------------------------------------------------------------


def machine_table() -> Iterator[str]:
    """Every rule: what comes where, what is done, which stand follows."""
    leads = explore()
    for stand in Stand:
        rules = {kind: rule for (at, kind), rule in RULES.items() if at is stand}
        rows = [(f"`{kind.__name__}`", _said(kind), _after(stand, leads[stand, kind])) for kind in rules]
        yield f"**{stand}**"
        yield table(("event", "what it is", "leads to"), rows)


def _said(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0]


def _after(stand: Stand, following: set[Stand]) -> str:
    return ", ".join(f"**{each}**" if each is not stand else "stays" for each in Stand if each in following)


# --- the drawing ----------------------------------------------------------------------------------------------------

COLUMN, ROW, TOP, BOX = 98, 34, 46, (70, 26)
ORDER: Final = tuple(Stand)
STYLE: Final = """
.machine {width: 100%; height: auto; font: 11px ui-monospace, monospace; color: var(--color-foreground-primary, #222)}
.machine text {fill: currentColor; text-anchor: middle}
.machine rect {fill: var(--color-background-secondary, #eee); stroke: currentColor}
.machine .stand {font-weight: bold; font-size: 13px}
.machine line {stroke: currentColor} .machine .life {stroke-opacity: .25}
.machine .crash, .machine .back {stroke-dasharray: 5 3}
.machine .label {paint-order: stroke; stroke: var(--color-background-primary, #fff); stroke-width: 4px}
"""


def arrows(leads: Leads) -> list[tuple[Stand, Stand, bool, str]]:
    """From, to, whether only after a crash, and by which events; what stays where it is has no arrow."""
    found: dict[tuple[bool, Stand, Stand], list[str]] = defaultdict(list)
    for (stand, kind), following in leads.items():
        for each in following - {stand}:
            found[kind is e.Resumed, stand, each].append(kind.__name__)
    order = sorted(found, key=lambda key: (key[0], ORDER.index(key[1]), ORDER.index(key[2])))
    return [(key[1], key[2], key[0], ", ".join(sorted(found[key]))) for key in order]


def drawing(leads: Leads) -> str:
    """A column for each stand, and below each other the ways from one to another."""
    rows = arrows(leads)
    width, height = COLUMN * len(ORDER), TOP + ROW * (len(rows) + 1)
    parts = [f'<svg class="machine" viewBox="0 0 {width} {height}" role="img" aria-label="Stands of a job">']
    parts += [f"<style>{STYLE}</style>", _HEAD, *(_column(stand, height) for stand in ORDER)]
    parts += [_arrow(TOP + ROW * (number + 1), *row) for number, row in enumerate(rows)]
    return "\n".join((*parts, "</svg>"))


_HEAD: Final = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>'
)


def _middle(stand: Stand) -> float:
    return COLUMN * (ORDER.index(stand) + 0.5)


def _column(stand: Stand, height: int) -> str:
    x, (wide, high) = _middle(stand), BOX
    return (
        f'<line class="life" x1="{x}" y1="{TOP}" x2="{x}" y2="{height}"/>'
        f'<rect x="{x - wide / 2}" y="8" width="{wide}" height="{high}" rx="5"/>'
        f'<text class="stand" x="{x}" y="26">{stand}</text>'
    )


def _arrow(y: int, start: Stand, end: Stand, crash: bool, label: str) -> str:
    x1, x2 = _middle(start), _middle(end)
    middle, half = (x1 + x2) / 2, 3.4 * len(label)
    middle = min(max(middle, half), COLUMN * len(ORDER) - half)
    kind = ' class="crash"' if crash else ""
    return (
        f'<line{kind} x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" marker-end="url(#head)"/>'
        f'<text class="label" x="{middle}" y="{y - 5}">{escape(label)}</text>'
    )


class Machine(SphinxDirective):
    """The drawing, in the page itself, so that it follows the page's colours."""

    def run(self) -> list[nodes.Node]:
        """Draw."""
        return [nodes.raw("", drawing(explore()), format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Give Sphinx the directives."""
    app.add_directive("pilot-machine", Machine)
    app.add_directive("pilot-machine-table", type("Table", (Written,), {"write": staticmethod(machine_table)}))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
