"""``pilot fetch``: what is brought is what was stored, and nothing else is touched."""

from __future__ import annotations

import json
import runpy
import zlib
from pathlib import Path

import pytest
import requests

from pilot_core.dispatcher.serve import Dispatcher

dispatcher = runpy.run_path(str(Path(__file__).with_name("loopback.py")))["dispatcher"]

A, LOG = b"a" * 100_000, b"packed"


@pytest.fixture
def home(dispatcher):
    files = [dispatcher.store("/storage/1.1/a%20b.txt", A), dispatcher.store("/storage/1.1/my.log.tar.gz", LOG)]
    files.append({**dispatcher.store("/storage/inputs/x/names.txt", b"names"), "direction": "in"})
    dispatcher.put(1, state="finished", files=files, description={"log": {"name": "my.log.tar.gz"}})
    return dispatcher.home


def test_outputs_are_brought(pilot, home, tmp_path):
    said = pilot("fetch", 1, "--to", "out", "--home", home)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("out/a b.txt (100.0 kB, adler32:")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {"a b.txt": A}


def test_the_log_is_brought(pilot, home, tmp_path):
    said = pilot("fetch", 1, "--log", "--json", "--home", home)
    (row,) = json.loads(said.out)
    assert (row["path"], row["size_b"]) == ("my.log.tar.gz", 6)
    assert (tmp_path / "my.log.tar.gz").read_bytes() == LOG


def test_nothing_is_written_over_unless_that_is_wanted(pilot, home, tmp_path):
    (tmp_path / "a b.txt").write_text("mine")
    said = pilot("fetch", 1, "--home", home)
    assert (said.code, "a b.txt is there already; --force writes over it" in said.err) == (1, True)
    assert (tmp_path / "a b.txt").read_text() == "mine"
    assert pilot("fetch", 1, "--force", "--home", home).code == 0
    assert (tmp_path / "a b.txt").read_bytes() == A


def test_a_link_in_the_way_is_replaced_and_not_followed(pilot, home, tmp_path):
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / "a b.txt").symlink_to(tmp_path / "elsewhere")
    assert pilot("fetch", 1, "--home", home).code == 1
    assert pilot("fetch", 1, "--force", "--home", home).code == 0
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert not (tmp_path / "a b.txt").is_symlink()


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ({"size_b": 7}, "100000 B arrived, 7 B were stored"),
        ({"checksum": "adler32:00000001"}, "arrived, adler32:00000001 was stored"),
        ({"checksum": "md5:" + "0" * 32}, "arrived, md5:000000"),
        ({"url": "/storage/1.1/gone"}, "is no longer at /storage/1.1/gone"),
        ({"url": "file:///etc/hostname"}, "which is not the dispatcher's"),
        ({"name": "../a"}, "holds a slash; it is not brought"),
        ({"name": "a\x1b[2J"}, "control character"),
        ({"name": ""}, "it is empty"),
    ],
)
def test_what_is_not_right_is_not_left_here(pilot, dispatcher, home, tmp_path, known, why):
    file = {**dispatcher.jobs[1]["files"][0], **known}
    dispatcher.put(1, files=[file])
    before = {*tmp_path.iterdir()}
    said = pilot("fetch", 1, "--to", "out", "--home", home)
    assert (said.code, why in said.err) == (1, True), said.err
    assert [*(tmp_path / "out").glob("*")] == []
    assert {*tmp_path.iterdir()} - before <= {tmp_path / "out"}
    assert "\x1b" not in said.err


def test_an_unknown_size_and_sum_are_those_that_arrived(pilot, dispatcher, home, tmp_path):
    file = {**dispatcher.jobs[1]["files"][0], "size_b": None, "checksum": None}
    dispatcher.put(1, files=[file])
    assert pilot("fetch", 1, "--home", home).code == 0
    assert (tmp_path / "a b.txt").read_bytes() == A


def test_the_files_of_several_jobs_come_to_folders_of_their_own(pilot, dispatcher, home, tmp_path):
    dispatcher.put(2, state="finished", files=dispatcher.jobs[1]["files"])
    assert pilot("fetch", 1, 2, "--to", "out", "--home", home).code == 0
    assert [(tmp_path / "out" / job / "a b.txt").read_bytes() for job in "12"] == [A, A]


def test_a_job_without_outputs_says_where_else_to_look(pilot, dispatcher, home):
    log = dispatcher.jobs[1]["files"][1]
    dispatcher.put(1, state="failed", files=[log])
    said = pilot("fetch", 1, "--home", home)
    told = "job 1 has no outputs in storage: it is failed; its log: `pilot fetch 1 --log`; `pilot jobs 1` says more"
    assert (said.code, said.err) == (1, f"pilot: {told}\n")
    dispatcher.put(1, files=[])
    assert "job 1 has no log in storage" in pilot("fetch", 1, "--log", "--home", home).err


def test_a_file_is_fetched_by_another_address_than_its_pilot_used(pilot, tmp_path):
    """A real dispatcher, and a pilot that called it by a name that means nothing here."""
    (tmp_path / "job.yaml").write_text("{command: [/bin/true], outputs: ['a b%.txt', far.txt]}\n")
    with Dispatcher(tmp_path / "served") as real:
        assert pilot("submit", "job.yaml", "--home", "served").code == 0
        kept = tmp_path / "served/storage/1.1"
        kept.mkdir()
        (kept / "a b%.txt").write_bytes(A)
        stored = {"fsize": len(A), "adler32": f"{zlib.adler32(A):08x}", "guid": "g"}
        near = {**stored, "surl": "https://inside.invalid:8443/storage/1.1/a%20b%25.txt"}
        far = {**stored, "surl": "root://elsewhere.invalid//storage/1.1/far.txt"}
        post(real, "acquire_jobs", site_name="local", prod_source_label="managed", node="n")
        report = json.dumps({"a b%.txt": near, "far.txt": far})
        post(real, "update_job", job_id=1, attempt_nr=1, job_status="finished", job_output_report=report)
        (shown,) = json.loads(pilot("jobs", 1, "--json", "--home", "served").out)
        assert [file["url"] for file in shown["files"]] == ["/storage/1.1/a%20b%25.txt", far["surl"]]
        said = pilot("fetch", 1, "--home", "served")
    assert (said.code, "far.txt lies at root://elsewhere.invalid" in said.err) == (1, True), said.err
    assert (tmp_path / "a b%.txt").read_bytes() == A


def post(real, call, **told):
    headers = {"Authorization": f"Bearer {real.tokens.path('run').read_text().strip()}"}
    answer = requests.post(f"{real.url}/api/v1/pilot/{call}", json=told, headers=headers, timeout=10).json()
    assert answer["success"], answer


def test_an_unknown_job(pilot, home):
    said = pilot("fetch", 77, "--home", home)
    assert (said.code, "there is no /dispatcher/v1/jobs/77" in said.err) == (1, True)
