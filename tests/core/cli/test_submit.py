"""``pilot submit``: what is wrong is named before anything is sent; local inputs go along."""

from __future__ import annotations

import hashlib
import json
import runpy
import zlib
from pathlib import Path

import pytest

dispatcher = runpy.run_path(str(Path(__file__).with_name("loopback.py")))["dispatcher"]

DATA = b"one\ntwo\n"
SUM = f"{zlib.adler32(DATA):08x}"
PLACE = f"/storage/inputs/{hashlib.sha256(DATA).hexdigest()}/na%20mes.txt"
JOB = """
script: sort "na mes.txt" > sorted.txt
inputs:
  - {name: na mes.txt, source: data/names.txt}
  - https://elsewhere.example/geometry.db
outputs: [sorted.txt]
log: my.log.tar.gz
"""


@pytest.fixture
def home(dispatcher, tmp_path):
    (tmp_path / "jobs/data").mkdir(parents=True)
    (tmp_path / "jobs/data/names.txt").write_bytes(DATA)
    (tmp_path / "jobs/sort.yaml").write_text(JOB)
    return dispatcher.home


def test_ids_are_the_answer(pilot, dispatcher, home):
    said = pilot("submit", "jobs/sort.yaml", "--count", "3", "--home", home)
    assert (said.code, said.out, said.err) == (0, "1\n2\n3\n", "")
    said = pilot("submit", "jobs/sort.yaml", "--json", "--home", home)
    assert json.loads(said.out) == {"queue": "local", "ids": [4]}


def test_local_inputs_are_brought_as_seen_from_the_file(pilot, dispatcher, home):
    assert pilot("submit", "jobs/sort.yaml", "--home", home).code == 0
    assert dispatcher.stored == {PLACE: DATA}
    (wanted,) = dispatcher.submitted
    (job,) = wanted["jobs"]
    assert job["count"] == 1
    local, remote = job["description"]["inputs"]
    known = {"size": len(DATA), "checksum": f"adler32:{SUM}"}
    assert local == {"name": "na mes.txt", "source": PLACE, **known}
    assert remote == "https://elsewhere.example/geometry.db"
    assert job["description"]["id"] == "sort"
    assert job["description"]["script"] == 'sort "na mes.txt" > sorted.txt'


def test_what_the_dispatcher_has_is_not_sent_again(pilot, dispatcher, home):
    for _ in range(2):
        assert pilot("submit", "jobs/sort.yaml", "--home", home).code == 0
    assert [method for method, path in dispatcher.asked if path == PLACE] == ["HEAD", "PUT", "HEAD"]


def test_an_input_of_two_jobs_is_sent_once(pilot, dispatcher, home, tmp_path):
    (tmp_path / "jobs/again.yaml").write_text(JOB)
    assert pilot("submit", "jobs/sort.yaml", "jobs/again.yaml", "--home", home).code == 0
    assert [method for method, path in dispatcher.asked if path == PLACE] == ["HEAD", "PUT"]
    assert len(dispatcher.submitted[0]["jobs"]) == 2


def test_an_upload_that_is_refused_submits_nothing(pilot, dispatcher, home):
    dispatcher.answers["PUT", PLACE] = (507, {"error": "the disk is full"})
    said = pilot("submit", "jobs/sort.yaml", "--home", home)
    assert (said.code, "the disk is full" in said.err, dispatcher.submitted) == (1, True, [])


def test_of_several_queues_one_is_named(pilot, dispatcher, home):
    dispatcher.queues = ["long", "short"]
    said = pilot("submit", "jobs/sort.yaml", "--home", home)
    assert (said.code, said.err.splitlines()[0]) == (
        2,
        "pilot: submit: --queue is wanted: this dispatcher serves long, short",
    )
    assert pilot("submit", "jobs/sort.yaml", "--home", home, "--queue", "short").code == 0
    assert dispatcher.submitted[0]["queue"] == "short"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("comand: [x]", "did you mean 'command'?"),
        ("command: [x", "line"),
        ("command: [x]\noutputs: [{name: a, destination: out/}]", "bad.yaml: outputs[0].destination: 'out/' is a path"),
        ("command: [x]\nlog: {name: a.tar.gz, destination: ../a.tar.gz}", "log.destination: '../a.tar.gz' is a path"),
        ("command: [x]\ninputs: [missing.txt]", "inputs[0].source: "),
        ("command: [x]\ninputs: [{source: data/names.txt, size: 9}]", "inputs[0].size: says 9 B, and "),
        ("command: [x]\ninputs: [{source: data/names.txt, checksum: 'ad:1'}]", "checksum: says adler32:00000001, and"),
    ],
)
def test_mistakes_are_named_and_nothing_is_sent(pilot, dispatcher, home, tmp_path, text, why):
    (tmp_path / "jobs/bad.yaml").write_text(text)
    said = pilot("submit", "jobs/sort.yaml", "jobs/bad.yaml", "--home", home)
    assert (said.code, why in said.err) == (2, True), said.err
    assert dispatcher.asked == []


def test_the_mistakes_of_all_files_are_told_at_once(pilot, dispatcher, home, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("comand: [x]")
    said = pilot("submit", "a.yaml", "b.yaml", "--home", home)
    assert "a.yaml: comand" in said.err
    assert "b.yaml: comand" in said.err


def test_an_absolute_place_or_a_url_is_nobodys_mistake(pilot, dispatcher, home, tmp_path):
    text = "command: [x]\noutputs: [{name: a, destination: /data/}, {name: b, destination: 'https://x.example/b'}]"
    (tmp_path / "good.yaml").write_text(text)
    assert pilot("submit", "good.yaml", "--home", home).code == 0


def test_what_the_dispatcher_finds_is_told_field_by_field(pilot, dispatcher, home):
    problems = [{"path": "jobs[0].description.needs.cores", "text": "wants at most 8"}]
    dispatcher.answers["POST", "/dispatcher/v1/submit"] = (400, {"error": "not submitted", "problems": problems})
    said = pilot("submit", "jobs/sort.yaml", "--home", home)
    assert said.code == 1
    assert said.err.splitlines()[1:] == ["pilot: jobs[0].description.needs.cores: wants at most 8"]
    dispatcher.answers["POST", "/dispatcher/v1/submit"] = (
        400,
        {"error": "a: b\x1b[2J", "problems": [{"path": "a", "text": "b"}]},
    )
    said = pilot("submit", "jobs/sort.yaml", "--home", home)
    assert said.err == f"pilot: the dispatcher at {dispatcher.url} refused: a: b\\x1b[2J\n"


@pytest.mark.parametrize("words", [["--count", "0"], ["--count", "x"], []])
def test_words_that_are_wrong(pilot, dispatcher, home, words):
    files = ["jobs/sort.yaml"] if words else []
    assert pilot("submit", *files, *words, "--home", home).code == 2
    assert pilot("submit", "nowhere.yaml", "--home", home).err == "pilot: nowhere.yaml: No such file or directory\n"
