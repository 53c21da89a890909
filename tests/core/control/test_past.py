"""Control directories of past jobs: kept a while, and nobody else's are touched."""

from __future__ import annotations

import os

import pytest

from pilot_core.control.outbox import WAITING
from pilot_core.control.past import DAY_S, forget_past
from pilot_core.io.files import Lock
from pilot_core.io.journal import Journal

NOW = 1_000_000_000.0


def past(root, name, *, age_days=8.0, sealed=True):
    """The control directory of a job that was over so many days ago."""
    control = root / f"PanDA_Pilot-{name}.control"
    control.mkdir()
    journal = Journal.create(control / "journal")
    if sealed:
        journal.seal()
    else:
        journal.close()
    moment = NOW - age_days * DAY_S
    os.utime(control / "journal", (moment, moment))
    return control


def test_what_was_over_long_ago_goes(tmp_path):
    old = [past(tmp_path, name) for name in ("a", "b")]
    aside = past(tmp_path, "c").rename(tmp_path / "PanDA_Pilot-c.control.1")
    young = past(tmp_path, "d", age_days=6.0)
    assert forget_past(tmp_path, 7.0, NOW) == [*old, aside]
    assert [each.name for each in tmp_path.iterdir() if any(each.iterdir())] == [young.name]


def test_what_is_not_over_or_waits_or_is_held_stays(tmp_path):
    left, waits, held = past(tmp_path, "left", sealed=False), past(tmp_path, "waits"), past(tmp_path, "held")
    (waits / WAITING).write_text("{}")
    with Lock(held / "lock"):
        assert forget_past(tmp_path, 7.0, NOW) == []
    assert all((each / "journal").is_file() for each in (left, waits, held))


def test_a_link_to_a_past_job_is_left_alone(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    real = past(tmp_path / "elsewhere", "a")
    (tmp_path / real.name).symlink_to(real)
    assert forget_past(tmp_path, 7.0, NOW) == []
    assert (real / "journal").is_file()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory to somebody else")
def test_what_another_user_owns_is_left_alone(tmp_path):
    theirs, ours = past(tmp_path, "theirs"), past(tmp_path, "ours")
    os.chown(theirs, 12345, 12345)
    assert forget_past(tmp_path, 7.0, NOW) == [ours]
    assert (theirs / "journal").is_file()
