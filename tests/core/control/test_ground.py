"""What a payload removed is given back, and what it put there instead stays."""

from __future__ import annotations

import os

import pytest

from pilot_core.control.ground import give_back
from pilot_core.control.said import open_said, tail_of
from pilot_core.redact import Redactor

OUT = "payload.stdout"


@pytest.fixture
def kept(bench):
    """What the payload says has its second name."""
    (bench.workdir / OUT).write_text("said\n")
    os.link(bench.workdir / OUT, bench.control / OUT)
    return bench


def test_nothing_that_is_there_is_touched(kept):
    assert give_back(kept.workdir, kept.control) == ()
    assert (kept.workdir / OUT).read_text() == "said\n"
    assert os.listdir(kept.control) == []


def test_what_was_removed_is_back_and_seen_meanwhile(kept):
    (kept.workdir / OUT).unlink()
    assert tail_of(kept.workdir, 100, Redactor()) == "said\n"
    assert give_back(kept.workdir, kept.control) == ()
    assert (kept.workdir / OUT).read_text() == "said\n"


def test_what_stands_in_its_place_stays_and_it_comes_beside(kept):
    (kept.workdir / OUT).unlink()
    (kept.workdir / OUT).write_text("mine\n")
    with open_said(kept.workdir, OUT) as file:
        assert file.read() == b"said\n"
    give_back(kept.workdir, kept.control)
    assert (kept.workdir / OUT).read_text() == "mine\n"
    assert (kept.workdir / f"{OUT}.said").read_text() == "said\n"


def test_one_directory_for_both_loses_nothing(kept):
    give_back(kept.workdir, kept.workdir)
    assert (kept.workdir / OUT).read_text() == "said\n"


def test_a_directory_that_is_gone_is_told_of_and_made(kept):
    (kept.workdir / OUT).unlink()
    kept.workdir.rmdir()
    (told,) = give_back(kept.workdir, kept.control)
    assert (told.detail, told.facts["class"]) == ("the payload removed the job's directory", "program")
    assert os.listdir(kept.workdir) == [OUT]


def test_where_nothing_can_be_made_is_told_and_no_error(kept, caplog):
    (kept.workdir / OUT).unlink()
    kept.workdir.rmdir()
    gone = kept.root / "gone" / kept.workdir.name
    assert len(give_back(gone, kept.control)) == 1
    assert "cannot be given back" in caplog.text
