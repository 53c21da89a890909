"""The command line that ``pilot recover`` goes by."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pilot_core.agent.recover import record_of
from pilot_core.agent.setup import Sources
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.remembered import FILE, recall, remember
from pilot_core.config.layers import Schema
from pilot_core.config.schema import CORE, DataOptions, PilotOptions, ReportOptions
from pilot_core.control.outbox import WAITING, write_letter
from pilot_core.io.journal import Journal
from pilot_core.machine import events as e
from pilot_core.model.job import Job
from pilot_core.spec.drivers import Letter

FIRST = Sources(
    site=Path("/etc/site.yaml"),
    environ={"PILOT_SECRET": "hush"},
    assignments=("data.attempts=3",),
    flags={"pilot.queue": "A", "filebox.path": "/box"},
    blocked=("noisy",),
)


def said(sources):
    """All that was said on both command lines, the later over the earlier."""
    both = [each for each in (sources.before, sources) if each is not None]
    assignments = tuple(word for each in both for word in each.assignments)
    return assignments, {path: value for each in both for path, value in each.flags.items()}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "pilot.control").mkdir()
    return tmp_path


def test_what_was_said_is_said_again(root):
    remember(root, FIRST)
    again = recall(root, Sources(environ={"HOME": "/root"}))
    assert (again.site, again.blocked) == (FIRST.site, FIRST.blocked)
    assert said(again) == (FIRST.assignments, FIRST.flags)
    assert again.environ == {"HOME": "/root"}


def test_what_is_said_now_counts_more(root):
    remember(root, FIRST)
    now = Sources(site=Path("/new.yaml"), assignments=("data.attempts=4",), flags={"pilot.queue": "B"}, blocked=("x",))
    again = recall(root, now)
    assert again.site == Path("/new.yaml")
    settings = Schema(CORE).merge(*(each.words(Schema(CORE)) for each in (again.before, again)))
    assert settings.of(DataOptions).attempts == 4
    assert settings.of(PilotOptions).queue == "B"
    assert again.blocked == ("noisy", "x")


def test_relative_paths_stay_those_of_the_directory_where_they_were_given(root):
    """Found: recovered from elsewhere, a pilot stored its outputs elsewhere."""
    remember(root, Sources(flags={"data.output_dir": "stored"}, assignments=("data.cache=c",), cwd="/first"))
    again = recall(root, Sources(cwd="/second", assignments=("report.outbox=o",)))
    settings = Schema(CORE).merge(*again.layers(Schema(CORE)))
    data = settings.of(DataOptions)
    assert (data.output_dir, str(data.cache)) == ("/first/stored", "/first/c")
    assert str(settings.of(ReportOptions).outbox) == "/second/o"


def test_nothing_of_the_environment_is_kept_and_nobody_else_may_read_it(root):
    remember(root, FIRST)
    assert "hush" not in (root / FILE).read_text()
    assert stat.S_IMODE((root / FILE).stat().st_mode) == 0o600


def test_where_nothing_was_kept_only_what_is_said_now_counts(root):
    assert recall(root, FIRST) == FIRST


@pytest.mark.parametrize(("text", "why"), [("{", "remove it"), (json.dumps({"format": 2}), "is of format 2")])
def test_what_cannot_be_read_is_named(root, text, why):
    (root / FILE).write_text(text)
    with pytest.raises(Usage, match=r"command\.json") as refused:
        recall(root, Sources())
    assert why in str(refused.value)


BOX = Sources(flags={"pilot.communicator": "filebox", "filebox.path": "/box"})
SERVER = Sources(assignments=("pilot.communicator = panda",))
ONE = Sources(flags={"pilot.communicator": "jobfile", "jobfile.path": "/one.yaml"})


def leave(root, communicator):
    """A job that a dead pilot had from there; its control directory."""
    control = root / f"PanDA_Pilot-{communicator}.control"
    control.mkdir(exist_ok=True)
    journal = Journal.create(control / "journal")
    accepted = e.Accepted(job="1", value=Job(id="1"), steps=(), communicator=communicator)
    journal.append(record_of(accepted))
    journal.close()
    return control


def flags_of(root):
    assignments, flags = said(recall(root, Sources()))
    return flags or assignments


@pytest.mark.parametrize("kind", ["job", "letter"])
def test_who_left_something_is_not_forgotten_for_another(root, kind):
    """Found: the settings of the pilot whose job was left were overwritten, and nobody could report it."""
    remember(root, BOX)
    control = leave(root, "filebox")
    if kind == "letter":
        (control / "journal").unlink()
        write_letter(control / WAITING, Letter(communicator="filebox", job="1", attempt=1, final=True, body={}))
    remember(root, SERVER)
    remember(root, ONE)
    remember(root, ONE)
    assert flags_of(root) == BOX.flags


def test_each_pilot_s_own_settings_are_found_for_what_it_left(root):
    left = []
    for communicator, sources in (("filebox", BOX), ("panda", SERVER), ("jobfile", ONE)):
        remember(root, sources)
        left.append(leave(root, communicator))
    assert flags_of(root) == ONE.flags
    (left[2] / "journal").unlink()
    assert flags_of(root) == SERVER.assignments
    (left[1] / "journal").unlink()
    assert flags_of(root) == BOX.flags


def test_one_whose_communicator_is_in_a_file_is_asked_when_no_other_fits(root):
    site = Sources(site=Path("/etc/site.yaml"))
    remember(root, BOX)
    box = leave(root, "filebox")
    remember(root, site)
    leave(root, "panda")
    assert flags_of(root) == BOX.flags
    (box / "journal").unlink()
    assert recall(root, Sources()).site == site.site


def test_of_one_communicator_only_the_last_settings_are_kept(root):
    leave(root, "filebox")
    for number in range(3):
        remember(root, Sources(flags={"pilot.communicator": "jobfile", "jobfile.path": str(number)}))
    told = json.loads((root / FILE).read_text())
    assert (told["flags"]["jobfile.path"], told["before"]) == ("2", [])


def test_when_nothing_is_left_only_the_last_is_kept(root):
    remember(root, BOX)
    control = leave(root, "filebox")
    remember(root, ONE)
    (control / "journal").unlink()
    remember(root, SERVER)
    leave(root, "filebox")
    assert flags_of(root) == SERVER.assignments
