"""For whom a pilot works: what its command line stands for, and what it does not overrule."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from pilot_core.agent.setup import Sources
from pilot_core.cli.client import NoDispatcher
from pilot_core.cli.mistakes import Usage
from pilot_core.cli.whom import whom
from pilot_core.io.files import Lock
from pilot_core.io.join import Join

SERVER = {"pilot.communicator": "panda", "connection.info_sources": "server,file"}


def meant(root, sources=None, **given):
    arguments = Namespace(**{"job": None, "filebox": None, "join": None, **given})
    return whom(arguments, sources or Sources(environ={"PILOT_SERVER_HOME": str(root / "home")}), root)


@pytest.fixture
def place(tmp_path):
    """What the home of a dispatcher says, as far as others read it."""
    (tmp_path / "home").mkdir()
    told = {"url": "https://127.0.0.1:1", "fingerprint": "ab" * 32, "queue": "q", "pid": 1, "started": 0}
    (tmp_path / "home" / "server.json").write_text(json.dumps(told))
    with Lock(tmp_path / "home" / "lock"):
        yield {
            "connection.url": told["url"],
            "connection.token": str(tmp_path / "home" / "tokens" / "run"),
            "connection.fingerprint": told["fingerprint"],
            "pilot.queue": "q",
        }


def test_a_job_and_a_box_say_whom(tmp_path):
    assert meant(tmp_path, job=Path("/j.yaml"))["jobfile.path"] == "/j.yaml"
    assert meant(tmp_path, job=Path("/j.yaml"))["pilot.max_jobs"] == "1"
    assert meant(tmp_path, filebox=Path("/box")) == {"pilot.communicator": "filebox", "filebox.path": "/box"}


def test_an_address_means_a_server(tmp_path):
    assert meant(tmp_path, Sources(flags={"connection.url": "https://h"})) == SERVER
    assert meant(tmp_path, Sources(assignments=("connection.url=https://h",))) == SERVER
    chosen = Sources(flags={"connection.url": "https://h"}, assignments=("connection.info_sources=file",))
    assert meant(tmp_path, chosen) == {"pilot.communicator": "panda"}


def test_without_a_word_it_is_the_dispatcher_that_runs_here_and_its_queue(tmp_path, place):
    assert meant(tmp_path) == SERVER | place


@pytest.mark.parametrize(
    "more",
    [
        {"flags": {"pilot.queue": "mine"}},
        {"assignments": ("pilot.queue = mine",)},
        {"environ": {"PILOT_PILOT_QUEUE": "mine"}},
    ],
)
def test_its_queue_overrules_nobody(tmp_path, place, more):
    del place["pilot.queue"]
    environ = {"PILOT_SERVER_HOME": str(tmp_path / "home"), **more.pop("environ", {})}
    assert meant(tmp_path, Sources(environ=environ, **more)) == SERVER | place


def test_a_home_means_the_dispatcher_that_lives_there(tmp_path, place, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = Sources(environ={"PILOT_FILEBOX_PATH": "/box"})
    assert meant(tmp_path, told, home=Path("home")) == SERVER | place
    with pytest.raises(NoDispatcher, match=r"no dispatcher runs in .*none"):
        meant(tmp_path, home=Path("none"))
    with pytest.raises(Usage, match="--home and --url both say"):
        meant(tmp_path, Sources(flags={"connection.url": "https://h"}), home=Path("home"))


@pytest.mark.parametrize(
    "sources",
    [
        Sources(site=Path("/site.yaml")),
        Sources(assignments=("pilot.communicator = sharedbox",)),
        Sources(environ={"PILOT_FILEBOX_PATH": "/box"}),
    ],
)
@pytest.mark.usefixtures("place")
def test_who_said_so_elsewhere_is_not_overruled(tmp_path, sources):
    assert meant(tmp_path, sources) == {}


def test_where_none_runs_it_is_said_what_would_help(tmp_path):
    with pytest.raises(Usage, match=r"--job.*--filebox.*--url.*no dispatcher runs in .*pilot serve"):
        meant(tmp_path)


@pytest.mark.parametrize("way", ["file", "variable"])
def test_a_join_string_brings_address_token_and_queue(tmp_path, way):
    (tmp_path / "pilot.control").mkdir()
    text = Join(url="https://h:1", token="secret-word", fingerprint="cd" * 32, queue="q").text()
    (tmp_path / "join").write_text(text)
    if way == "file":
        flags = meant(tmp_path, Sources(), join=str(tmp_path / "join"))
    else:
        flags = meant(tmp_path, Sources(environ={"PILOT_JOIN": text}))
    token = tmp_path / "pilot.control" / "token"
    file = {"connection.join": str(tmp_path / "join")} if way == "file" else {}
    assert flags == SERVER | file | {
        "connection.url": "https://h:1",
        "connection.token": str(token),
        "connection.fingerprint": "cd" * 32,
        "pilot.queue": "q",
    }
    assert token.read_text() == "secret-word"
    assert token.stat().st_mode & 0o777 == 0o600


def test_a_join_and_another_address_contradict_each_other(tmp_path):
    """The join's token would go there."""
    told = "--join and --url both say which server, and the join's token is for its own: give one"
    for there in (Sources(flags={"connection.url": "https://x"}), Sources(assignments=("connection.url=https://x",))):
        with pytest.raises(Usage, match=told):
            meant(tmp_path, there, join=str(tmp_path / "join"))


def test_a_join_string_does_not_overrule_the_queue(tmp_path):
    (tmp_path / "pilot.control").mkdir()
    text = Join(url="https://h:1", token="t" * 20, fingerprint="", queue="q").text()
    flags = meant(tmp_path, Sources(environ={"PILOT_JOIN": text}, flags={"pilot.queue": "mine"}))
    assert "pilot.queue" not in flags
