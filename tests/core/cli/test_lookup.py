"""``pilot hooks`` and ``pilot errors``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pilot_core.errors import codes
from pilot_core.plugins.hooks import Hooks
from pilot_core.spec import jobs, payload, reporting, staging, startup

SPECS = Hooks(startup, jobs, staging, payload, reporting).specs


def test_every_hook_is_listed(pilot):
    listed = [row["name"] for row in json.loads(pilot("hooks", "--json").out)]
    assert sorted(listed) == sorted(SPECS)
    assert listed.index("pilot_job_verify") < listed.index("pilot_payload_command") < listed.index("pilot_log_select")
    lines = pilot("hooks").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == listed


@pytest.mark.parametrize("name", ["pilot_payload_command", "payload_command"])
def test_a_hook_is_explained_by_its_specification(pilot, name):
    said = pilot("hooks", name).out
    signature = "(job: Job, queue: Queue, workdir: Path, settings: Settings) -> Command | None"
    assert said.startswith(f"def pilot_payload_command{signature}\n")
    assert "the first plugin that answers wins" in said
    assert "shape first: the first answer that is not None decides; in the core since 0.1" in said


def test_a_hook_as_json(pilot):
    row = json.loads(pilot("hooks", "pilot_job_phase", "--json").out)
    assert (row["shape"], row["since"], row["moment"]) == ("tell", "0.1", "jobs")
    assert row["signature"] == "(job: Job, phase: Phase) -> None"


def test_an_unknown_hook_names_the_nearest(pilot):
    said = pilot("hooks", "pilot_payload_comand")
    assert said.code == 2
    assert "did you mean 'pilot_payload_command'?" in said.err


def test_every_code_is_listed(pilot):
    listed = [row["number"] for row in json.loads(pilot("errors", "--json").out)]
    assert listed == [row.number for row in codes()]
    lines = pilot("errors").out.splitlines()
    assert [int(line.split()[0]) for line in lines[1:]] == listed


@pytest.mark.parametrize("asked", ["1359", "PANDAQUEUENOTACTIVE", "pandaqueuenotactive"])
def test_a_code_is_explained(pilot, asked):
    said = pilot("errors", asked).out
    assert said.startswith("1359 PANDAQUEUENOTACTIVE\n")
    assert "whose fault:" in said
    assert "exit code:   78" in said
    row = json.loads(pilot("errors", asked, "--json").out)
    assert (row["number"], row["exit_code"], row["owner"]) == (1359, 78, "pilot-core")
    assert row["advice"] in said


@pytest.mark.parametrize(("asked", "near"), [("STAGEINFALED", "1099 STAGEINFAILED"), ("13599", "1359 PANDAQUEUE")])
def test_an_unknown_code_names_the_nearest(pilot, asked, near):
    said = pilot("errors", asked)
    assert said.code == 2
    assert near in said.err


PILOTFILE = """
from pilot_core.errors import ErrorCode, Party, Retry, Stage
from pilot_core.spec.markers import hookimpl

class Codes:
    OLDGEOMETRY = ErrorCode(2987, Stage.PAYLOAD, Party.PAYLOAD, Retry.NEVER, "The geometry is too old")

@hookimpl
def pilot_error_codes():
    return Codes
"""


def test_codes_of_plugins_are_found_too(tmp_path):
    """In a process of its own, as the registry of codes lasts as long as its process."""
    (tmp_path / "site.py").write_text(PILOTFILE)
    environ = {**os.environ, "PILOT_BOOTSTRAP_PILOTFILE": str(tmp_path / "site.py")}
    ask = [sys.executable, "-m", "pilot_core", "errors", "oldgeometry"]
    said = subprocess.run(ask, env=environ, capture_output=True, text=True, check=True).stdout
    assert said.startswith("2987 OLDGEOMETRY\nThe geometry is too old.\n")
    assert "from:        pilotfile" in said


def test_a_broken_site_does_not_keep_codes_from_being_listed(pilot, monkeypatch):
    monkeypatch.setenv("PILOT_BOOTSTRAP_EXPERIMENT", "nothing-such")
    said = pilot("errors")
    assert said.code == 0
    assert len(said.out.splitlines()) > 90
    assert "codes of plugins are left out: experiment 'nothing-such'" in said.err


def test_a_log_is_explained(pilot, tmp_path):
    log = tmp_path / "reco.log"
    log.write_text("begin\nTraceback (most recent call last):\nMemoryError\n")
    said = pilot("errors", "--explain", str(log))
    assert said.code == 0
    assert "seen:        reco.log, line 3: MemoryError" in said.out
    first = json.loads(pilot("errors", "--explain", str(log), "--json").out)[0]
    assert (first["class"], first["acronym"]) == ("memory", "PAYLOADOUTOFMEMORY")
    assert (first["evidence"]["line"], first["advice"]["memory_factor"]) == (3, 1.5)


def test_a_link_to_a_log_is_followed(pilot, tmp_path):
    (tmp_path / "log").write_text("Segmentation fault\n")
    (tmp_path / "link").symlink_to(tmp_path / "log")
    assert "class:       crash" in pilot("errors", "--explain", str(tmp_path / "link")).out


def test_a_log_of_which_nothing_is_known(pilot, tmp_path):
    log = tmp_path / "reco.log"
    log.write_text("all is well\n")
    said = pilot("errors", "--explain", str(log))
    assert (said.code, said.out) == (1, "reco.log: no known failure is in it\n")
    assert pilot("errors", "--explain", str(log), "--json").out == "[]\n"


def test_a_mere_warning_explains_nothing(pilot, tmp_path):
    log = tmp_path / "log"
    log.write_text("WARNING: Connection refused\n")
    assert pilot("errors", "--explain", str(log), "--json").out == "[]\n"
    log.write_text("WARNING: Connection refused\nKeyError: 'a'\n")
    assert [each["pattern"] for each in json.loads(pilot("errors", "--explain", str(log), "--json").out)] == [
        "python-exception"
    ]


def test_what_cannot_be_explained_is_named(pilot, tmp_path):
    said = pilot("errors", "--explain", str(tmp_path / "none"))
    assert (said.code, said.out) == (2, "")
    assert "none cannot be read: No such file or directory" in said.err
    assert "Is a directory" in pilot("errors", "--explain", str(tmp_path)).err
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is no plain file" in pilot("errors", "--explain", str(tmp_path / "pipe")).err
    assert pilot("errors", "1305", "--explain", str(tmp_path)).code == 2
