"""Pictures are made by pilots that really run; one that can't be made leaves its place out, with one notice."""

from __future__ import annotations

import logging
from importlib import import_module

import pytest

from .snippets import DOCS


@pytest.fixture
def pictures(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    return import_module("pilot_pictures")


def test_the_terminal_shows_what_a_running_pilot_said(pictures, tmp_path):
    pictures.lay_out(tmp_path)
    drawn = pictures.terminal(tmp_path).replace(pictures.BLANK, " ")
    assert "2 jobs under way" in drawn
    assert "fit-2026-11" in drawn
    assert "waits for the slot" in drawn


def test_without_a_browser_the_place_is_left_out_with_one_notice(pictures, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setitem(pictures.MADE, "page", lambda top: pictures._photograph("about:blank", top, 100))
    with caplog.at_level(logging.INFO, "sphinx"):
        assert pictures.made("page") == ""
    assert [record.getMessage() for record in caplog.records] == [
        "the manual has no picture of the page: there is no Chromium"
    ]


def test_a_pilot_that_does_not_do_as_expected_is_named(pictures, tmp_path):
    with pytest.raises(pictures.Unmade, match=r"`pilot_core report` ended with [12]: .*nothing-here"):
        pictures.pilot("report", "nothing-here", cwd=tmp_path)
