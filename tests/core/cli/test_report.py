"""``pilot report`` over jobs that a real pilot has run: from the work directory, the control directory, the archive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

HAS_TOOLS = find_spec("pilot_copytools") is not None
"""The core alone stores nothing."""

CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
GOOD = """
id: good
script: |
  echo '<script>alert(1)</script>'
  echo made > out.txt
  until [ "$(grep -c . ../PanDA_Pilot-good.control/usage.jsonl 2>/dev/null || echo 0)" -ge 3 ]; do sleep 0.05; done
environment: {MY_PASSWORD: geheim1234}
outputs: [{name: out.txt, destination: out/}]
log: {destination: logs/}
wire: {strangeField: "<img src=x onerror=alert(1)>"}
"""
BAD = "id: bad\nscript: 'echo \"ERROR: no <b>geometry</b>\" >&2; exit 3'\n"


class Elements(HTMLParser):
    """The names of a page's elements."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a pilot ran two jobs, measuring often."""
    root = tmp_path_factory.mktemp("place")
    for name in ("box", "box/out", "box/logs"):
        (root / name).mkdir()
    (root / "box/good.yaml").write_text(GOOD)
    (root / "box/bad.yaml").write_text(BAD)
    options = ("--filebox", "box", "--workdir", "work", "--set", "monitor.sample_s=0.1")
    command = [sys.executable, "-m", "pilot_core", "run", *options]
    ran = subprocess.run(command, cwd=root, env=CLEAN, capture_output=True, text=True, timeout=30, check=False)
    assert (root / "work/PanDA_Pilot-good.control/record.json").exists(), ran.stderr
    return root / "work"


def test_a_work_directory_makes_one_page_of_all_its_jobs(pilot, work, tmp_path):
    said = pilot("report", work)
    assert (said.code, said.out) == (0, "2 jobs told in pilot-report.html\n"), said.err
    page = (tmp_path / "pilot-report.html").read_text()
    assert "2 jobs" in page
    assert "1305 PAYLOADEXECUTIONFAILURE" in page
    assert "no &lt;b&gt;geometry&lt;/b&gt;" in page
    assert "Fault of the payload. What to do: correct the job first; this attempt counts." in page
    assert "geheim1234" not in page
    assert Elements(tmp_path / "pilot-report.html").names.isdisjoint({"script", "img", "link"})


def test_one_job_is_chosen(pilot, work, tmp_path):
    said = pilot("report", work, "--job", "good", "--to", "good.html")
    assert (said.code, said.out) == (0, "1 job told in good.html\n")
    assert "<h1>Job good</h1>" in (tmp_path / "good.html").read_text()
    assert (tmp_path / "good.html").stat().st_mode & 0o777 == 0o600


def test_what_the_control_directory_tells(pilot, work, tmp_path):
    (told,) = json.loads(pilot("report", work / "PanDA_Pilot-good.control", "--json").out)
    assert (told["id"], told["state"], told["ended"]) == ("good", "finished", "exit code 0")
    steps = [span["name"] for span in told["spans"]]
    assert steps[0] == "verify"
    assert "run" in steps
    assert len(told["usage"]) >= 3
    assert told["usage"][0]["processes"] >= 1
    assert told["unused"] == {"strangeField": "<img src=x onerror=alert(1)>"}
    assert told["environment"] == {"MY_PASSWORD": "***"}
    stored = "stored" if HAS_TOOLS else "left in the work directory"
    assert {file["name"]: file["state"] for file in told["files"]}["out.txt"] == stored
    assert list(told["said"].values()) == ["<script>alert(1)</script>\n"]
    assert os.listdir(tmp_path) == []


def test_the_archive_alone_is_enough(pilot, work, tmp_path):
    made = work.parent / "box/logs" if HAS_TOOLS else work / "PanDA_Pilot-good.control" / "archive"
    (archive,) = made.iterdir()
    (told,) = json.loads(pilot("report", archive, "--json", "--to", "page.html").out)
    assert (told["id"], told["state"], told["ended"], told["open"]) == ("good", "stage_out", "exit code 0", True)
    assert told["said"]["payload.stdout"] == "<script>alert(1)</script>\n"
    assert told["plugins"]["generic"].startswith("pilot-core ")
    assert told["unused"] == {"strangeField": "<img src=x onerror=alert(1)>"}
    assert len(told["usage"]) >= 3
    page = (tmp_path / "page.html").read_text()
    assert "<svg" in page
    assert "geheim1234" not in page


def test_a_number_that_is_not_there(pilot, work):
    said = pilot("report", work, "--job", "goood")
    assert said.code == 2
    assert "--job goood: there is none of this number; did you mean 'good'?; known are " in said.err


@pytest.mark.parametrize("place", ["empty", "missing", "file"])
def test_where_there_is_nothing_to_tell(pilot, tmp_path, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no archive")
    said = pilot("report", place)
    assert said.code in (1, 2)
    assert place in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "pilot-report.html").exists()


def test_a_page_that_cannot_be_written(pilot, work):
    said = pilot("report", work, "--to", "no/such/folder.html")
    assert (said.code, "the page cannot be written to no/such/folder.html" in said.err) == (2, True)
