"""The command line that ``pilot recover`` goes by."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from pilot_core.agent.setup import Sources
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.remembered import FILE, recall, remember

FIRST = Sources(
    site=Path("/etc/site.yaml"),
    environ={"PILOT_SECRET": "hush"},
    assignments=("data.attempts=3",),
    flags={"pilot.queue": "A", "filebox.path": "/box"},
    blocked=("noisy",),
)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "pilot.control").mkdir()
    return tmp_path


def test_what_was_said_is_said_again(root):
    remember(root, FIRST)
    again = recall(root, Sources(environ={"HOME": "/root"}))
    assert (again.site, again.assignments, again.blocked) == (FIRST.site, FIRST.assignments, FIRST.blocked)
    assert again.flags == FIRST.flags
    assert again.environ == {"HOME": "/root"}


def test_what_is_said_now_counts_more(root):
    remember(root, FIRST)
    now = Sources(site=Path("/new.yaml"), assignments=("data.attempts=4",), flags={"pilot.queue": "B"}, blocked=("x",))
    again = recall(root, now)
    assert again.site == Path("/new.yaml")
    assert again.assignments == ("data.attempts=3", "data.attempts=4")
    assert again.flags == {"pilot.queue": "B", "filebox.path": "/box"}
    assert again.blocked == ("noisy", "x")


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
