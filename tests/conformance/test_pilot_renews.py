"""Tokens that a pilot gets of the dispatcher itself, with nothing said for either."""

from __future__ import annotations

import pytest

from pilot_core.io.http_token import expiry

from .ids import scenario
from .stage import JOB, UPDATE


@pytest.fixture
def own_token(stage, tmp_path):
    """A pilot's token in a file of its own, and the dispatcher's token key."""
    path = tmp_path / "token"
    path.write_text(stage.token().read_text())
    path.chmod(0o600)
    key = stage.home / "tokens" / "key"
    return path, {"connection.token": str(path), "connection.token_key": str(key)}


@scenario("A-04", "A-08")
def test_a_pilot_works_on_with_the_token_that_its_key_brings(stage, pilot, own_token, dialect):
    path, settings = own_token
    stage.submit(JOB)
    run = pilot(**settings, **{"panda.dialect": dialect})
    assert run.ending.finished == 1, run.story()
    renewed = path.read_text()
    assert expiry(renewed) is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert {each.headers["authorization"] for each in stage.said(UPDATE[dialect])} == {f"Bearer {renewed}"}
    assert renewed not in run.log


@scenario("A-07")
def test_a_pilot_with_another_key_works_on_with_the_token_that_it_has(stage, pilot, own_token, dialect, tmp_path):
    path, settings = own_token
    before, key = path.read_text(), tmp_path / "key"
    key.write_text("nobody's")
    stage.submit(JOB)
    run = pilot(**settings | {"connection.token_key": str(key)}, **{"panda.dialect": dialect})
    assert (run.ending.finished, path.read_text()) == (1, before), run.story()
    assert "failed since token key is invalid for pilot_server" in run.log


@scenario("A-08", "I6")
def test_a_pilot_whose_token_is_a_link_works_on_with_what_it_keeps_itself(stage, pilot, own_token, dialect, tmp_path):
    path, settings = own_token
    link, before, own = tmp_path / "link", path.read_text(), tmp_path / "renewed"
    link.symlink_to(path)
    stage.submit(JOB)
    told = {"connection.token": str(link), "connection.renewed_dir": str(own), "panda.dialect": dialect}
    run = pilot(**settings | told)
    assert run.ending.finished == 1, run.story()
    (kept,) = own.iterdir()
    assert {each.headers["authorization"] for each in stage.said(UPDATE[dialect])} == {f"Bearer {kept.read_text()}"}
    assert (link.is_symlink(), path.read_text(), kept.stat().st_mode & 0o777) == (True, before, 0o600)
    assert kept.read_text() not in run.log
