"""How the commands find their dispatcher, and what is said when they do not."""

from __future__ import annotations

import json
import runpy
import socket
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from pilot_core.dispatcher.serve import Dispatcher
from pilot_core.io.files import Lock

dispatcher = runpy.run_path(str(Path(__file__).with_name("loopback.py")))["dispatcher"]
TOKEN = "the-token-of-who-submits"


def join_of(house, **more):
    told = {"url": house.url, "token": TOKEN, "fingerprint": "", "queue": "far", **more}
    return "pilot-join:" + urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")


@pytest.fixture
def at_default(dispatcher, tmp_path, monkeypatch):
    """The dispatcher's home lies where nobody has to name it."""
    (tmp_path / "state").mkdir()
    dispatcher.home.rename(tmp_path / "state/pilot-server")
    return dispatcher


def test_the_one_of_this_node_is_found_without_a_word(pilot, at_default):
    said = pilot("jobs")
    assert (said.code, said.out) == (0, "no jobs\n"), said.err


def test_a_home_in_the_environment(pilot, dispatcher, monkeypatch):
    monkeypatch.setenv("PILOT_SERVER_HOME", str(dispatcher.home))
    assert pilot("jobs").code == 0


def test_an_address_and_a_token(pilot, dispatcher):
    said = pilot("jobs", "--url", dispatcher.url, "--token-file", dispatcher.home / "tokens/submit")
    assert said.code == 0, said.err


def test_a_join_string_in_a_file(pilot, dispatcher, tmp_path):
    (tmp_path / "join").write_text(join_of(dispatcher) + "\n")
    said = pilot("jobs", "--join", tmp_path / "join")
    assert said.code == 0, said.err


def test_a_join_string_on_standard_input(pilot, dispatcher, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(join_of(dispatcher)))
    assert pilot("jobs", "--join", "-").code == 0


def test_a_join_string_names_the_queue_too(pilot, dispatcher, tmp_path):
    (tmp_path / "join").write_text(join_of(dispatcher))
    (tmp_path / "job.yaml").write_text("command: [/bin/true]\n")
    assert pilot("submit", "job.yaml", "--join", "join").code == 0
    assert dispatcher.submitted[0]["queue"] == "far"


def test_a_join_string_in_the_environment_is_for_pilots_only(pilot, at_default, monkeypatch):
    monkeypatch.setenv("PILOT_JOIN", join_of(at_default, token="a-wrong-one", url="http://127.0.0.1:1"))
    assert pilot("jobs").code == 0


def test_each_join_string_opens_what_it_is_for(pilot, tmp_path):
    (tmp_path / "job.yaml").write_text("command: [/bin/true]\n")
    with Dispatcher(tmp_path / "served") as real:
        for role in ("run", "submit"):
            (tmp_path / role).write_text(real.join(role).text())
        assert pilot("submit", "job.yaml", "--join", "submit").out == "1\n"
        assert pilot("cancel", 1, "--join", "submit").code == 0
        for words in (("jobs",), ("submit", "job.yaml"), ("cancel", 1), ("retry", 1), ("fetch", 1)):
            said = pilot(*words, "--join", "run")
            assert (said.code, "the token is for 'run'" in said.err) == (1, True), said.err
            assert "opens this is the file `join-submit` in its home, as it is there now" in said.err
        for role in ("run", "submit"):
            said = pilot("debug", 1, "--join", role)
            assert f"the token is for '{role}'" in said.err
            assert "opens this is the file `join-admin` in its home, as it is there now" in said.err
        said = pilot("debug", 1, "--join", tmp_path / "served/join-admin")
        assert said.err == "pilot: job 1: it is cancelled already\n", "it is let in"
        assert "join-submit" not in pilot("jobs", "--url", real.url, "--token-file", real.tokens.path("run")).err


def test_nobody_runs_here(pilot, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    said = pilot("jobs")
    way_out = "start one with `pilot serve`, or name another by --home, --url or --join"
    assert said.code == 69
    assert said.err == f"pilot: no dispatcher runs in {tmp_path}/pilot-server; {way_out}\n"


def test_whoever_listens_where_a_killed_one_did_gets_no_token(pilot, dispatcher, tmp_path):
    dead = tmp_path / "dead"
    (dead / "tokens").mkdir(parents=True)
    for name in ("server.json", "tokens/submit"):
        (dead / name).write_bytes((dispatcher.home / name).read_bytes())
    (dead / "tokens/submit").chmod(0o600)
    for _ in ("no lock", "a lock that nobody holds"):
        said = pilot("jobs", "--home", dead)
        assert (said.code, f"no dispatcher runs in {dead}; start one with `pilot serve`" in said.err) == (69, True)
        assert dispatcher.asked == []
        (dead / "lock").write_text("1\n")
    with Lock(dead / "lock"):
        assert pilot("jobs", "--home", dead).code == 0
    assert dispatcher.asked == [("GET", "/dispatcher/v1/jobs")]


def test_to_look_does_not_keep_the_next_one_out(pilot, tmp_path):
    with Dispatcher(tmp_path / "served"):
        assert pilot("jobs", "--home", "served").code == 0
    assert pilot("jobs", "--home", "served").code == 69
    with Dispatcher(tmp_path / "served"):
        assert pilot("jobs", "--home", "served").code == 0


def test_one_that_does_not_answer_is_named_with_the_way_out(pilot, dispatcher, monkeypatch):
    monkeypatch.setattr("pilot_core.io.http.PAUSES_S", ())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    (dispatcher.home / "server.json").write_text(json.dumps({"url": url}))
    said = pilot("jobs", "--home", dispatcher.home)
    assert said.code == 69
    assert said.err.startswith(f"pilot: no answer from the dispatcher at {url}: ")
    assert "start one with `pilot serve`" in said.err


def test_a_token_that_opens_nothing(pilot, dispatcher, tmp_path):
    (tmp_path / "wrong").write_text("not-the-right-one")
    (tmp_path / "wrong").chmod(0o600)
    said = pilot("jobs", "--url", dispatcher.url, "--token-file", tmp_path / "wrong")
    assert (said.code, said.err.strip()) == (
        1,
        f"pilot: the dispatcher at {dispatcher.url} refused: this wants a token",
    )


def test_an_answer_without_a_reason(pilot, dispatcher):
    dispatcher.answers["GET", "/dispatcher/v1/jobs"] = (418, b"<html>")
    said = pilot("jobs", "--home", dispatcher.home)
    assert (said.code, "it answered 418 and gave no reason" in said.err) == (1, True)


def test_a_server_file_that_says_nothing(pilot, tmp_path):
    for text, why in (("{", "line 1"), ("[]", "does not say where the dispatcher is"), ("{}", "does not say")):
        (tmp_path / "server.json").write_text(text)
        with Lock(tmp_path / "lock"):
            said = pilot("jobs", "--home", tmp_path)
        assert (said.code, why in said.err) == (69, True), said.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--url", "http://127.0.0.1:1"], "--url wants --token-file"),
        (["--url", "http://127.0.0.1:1", "--join", "x"], "--url and --join both say which dispatcher"),
        (["--home", ".", "--join", "x"], "--home and --join both say"),
        (["--fingerprint", "ab"], "--fingerprint goes with --url"),
        (["--join", "missing"], "missing: No such file"),
    ],
)
def test_words_that_contradict_each_other(pilot, words, why):
    said = pilot("jobs", *words)
    assert (said.code, why in said.err) == (2, True), said.err


def test_a_damaged_join_string_is_never_shown(pilot, dispatcher, tmp_path):
    (tmp_path / "join").write_text(join_of(dispatcher)[:40])
    said = pilot("jobs", "--join", tmp_path / "join")
    assert said.code == 2
    assert "damaged" in said.err
    assert join_of(dispatcher)[11:30] not in said.err
