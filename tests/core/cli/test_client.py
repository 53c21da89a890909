"""How the commands find their dispatcher, and what is said when they do not."""

from __future__ import annotations

import json
import runpy
import socket
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

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


def test_a_join_string_in_the_environment_names_the_queue_too(pilot, dispatcher, monkeypatch, tmp_path):
    monkeypatch.setenv("PILOT_JOIN", join_of(dispatcher))
    (tmp_path / "job.yaml").write_text("command: [/bin/true]\n")
    assert pilot("submit", "job.yaml").code == 0
    assert dispatcher.submitted[0]["queue"] == "far"


def test_what_the_command_line_says_goes_before_the_environment(pilot, dispatcher, monkeypatch):
    monkeypatch.setenv("PILOT_JOIN", join_of(dispatcher, token="a-wrong-one"))
    assert pilot("jobs").code == 1
    assert pilot("jobs", "--home", dispatcher.home).code == 0
    assert pilot("jobs", "--url", dispatcher.url, "--token-file", dispatcher.home / "tokens/submit").code == 0


def test_nobody_runs_here(pilot, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    said = pilot("jobs")
    way_out = "start one with `pilot serve`, or name another by --home, --url or --join"
    assert said.code == 1
    assert said.err == f"pilot: no dispatcher runs in {tmp_path}/pilot-server; {way_out}\n"


def test_one_that_died_is_named_with_the_way_out(pilot, dispatcher, monkeypatch):
    monkeypatch.setattr("pilot_core.io.http.PAUSES_S", ())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    (dispatcher.home / "server.json").write_text(json.dumps({"url": url}))
    said = pilot("jobs", "--home", dispatcher.home)
    assert said.code == 1
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
        said = pilot("jobs", "--home", tmp_path)
        assert (said.code, why in said.err) == (1, True), said.err


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
