"""The suite asks any server: here one that is another process, by the options that somebody would give."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from pilot_core.dispatcher.tls import own_certificate

from .asking import JSON
from .stage import Stage

SUITE = Path(__file__).parent
TOP = SUITE.parents[1]


@contextmanager
def serving(home, *options):
    """``pilot serve`` in a process of its own: its URL."""
    command = [sys.executable, "-m", "pilot_core", "serve", "--json", "--home", str(home), "--listen", "localhost:0"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            for line in process.stdout:
                said += line
                if line.startswith("}"):
                    break
            yield json.loads(said)["url"]
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_protocol_subset_passes_against_a_server_that_is_given(tmp_path, scheme):
    home, options, trust = tmp_path / "home", [], []
    if scheme == "https":
        certificate, key = own_certificate(tmp_path, ("localhost",))
        options, trust = ["--cert", str(certificate), "--key", str(key)], ["--ca", str(certificate)]
    with serving(home, *options) as url:
        assert url.startswith(f"{scheme}://")
        given = ["--server", url, "--credential", str(home / "tokens" / "run"), *trust]
        done = suite(tmp_path, *given)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20


def test_a_server_that_is_given_is_sent_nothing_that_would_restart_it(tmp_path):
    with Stage(tmp_path) as stage:
        trust = ["--ca", str(stage.certificate)]
        done = suite(tmp_path, "--server", stage.url, "--credential", str(stage.token()), *trust)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert len(stage.all) > 20
    assert [each.path for each in stage.all if each.raw and not survives(each)] == []


def survives(heard):
    """Whether a real server's process lives on after such a body: it is what its headers say, and whole."""
    labelled = heard.headers.get("content-type", "") == JSON
    if labelled and heard.path.startswith("/server/") and not heard.packed:
        return False
    try:
        return heard.body is not None or not labelled
    except (OSError, EOFError, ValueError):
        return False


def suite(tmp_path, *given):
    """The protocol subset, run as somebody would run it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    files = [str(SUITE / "test_protocol.py"), f"--basetemp={tmp_path / 'inner'}"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = [*command, *files, *given]
    return subprocess.run(done, capture_output=True, text=True, cwd=TOP, env=environ, check=False)
