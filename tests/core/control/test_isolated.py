"""Copy tools in a child: their options go along, and whatever they do there they can be ended."""

from __future__ import annotations

import os
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.control.data import DataControl
from pilot_core.errors import Code
from pilot_core.model.files import Checksum, FileSpec, Replica
from pilot_core.model.job import Job
from pilot_core.redact import Redactor

TOOL = """
import os, signal, time
from pathlib import Path

from attrs import frozen

from pilot_core.config.options import option
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import Checksum
from pilot_core.spec.drivers import Fetches, Moved, Stores
from pilot_core.spec.markers import Isolation


@frozen
class Options:
    section = "far"

    word: str = option("", help="What it writes.")
    times: int = option(1, help="How often.")
    where: Path | None = option(None, help="Where it says who it is.")


class Far(Fetches, Stores):
    name = "far"
    schemes = ("far",)
    options = Options
    isolation = Isolation.PROCESS

    def fetch(self, replica, target, file, moving):
        options = self.settings.of(Options)
        target.write_text("half")
        options.where.write_text(str(os.getpid()))
        match replica.url:
            case "far://stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "far://hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(600)
            case "far://crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "far://refuse":
                raise PilotError(Code.MISSINGINPUTFILE, "it is not there", name=file.lfn)
            case "far://defect":
                raise ZeroDivisionError("oops")
        target.write_text(options.word * options.times)
        return Moved(size_b=target.stat().st_size)

    def store(self, source, replica, file, moving):
        self.settings.of(Options).where.write_text(source.read_text())
        return Moved(size_b=file.size_b, checksum=file.checksum, summed=True)
"""


@pytest.fixture
def far(bench, tmp_path: Path, monkeypatch):
    (tmp_path / "a_far_tool.py").write_text(TOOL)
    monkeypatch.syspath_prepend(str(tmp_path))
    import a_far_tool

    given = {"far": {"word": "ab, c=d ", "times": 3, "where": str(tmp_path / "where")}}
    made = Schema([*CORE, a_far_tool.Options]).merge(Layer(Rank.SITE, "the test", given))
    yield a_far_tool.Far(made)
    del sys.modules["a_far_tool"]


def stage_in(bench, far, url, **more):
    data = DataControl(bench.hooks(), [far], Redactor(), pause_s=0.0)
    budget_s = more.pop("budget_s", 60.0)
    file = FileSpec(lfn="a", replicas=(Replica(url),), **more)
    return data.stage_in(bench.task(Job(id="1", inputs=(file,)), budget_s=budget_s, attempts=1))


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_it_runs_elsewhere_with_its_options(bench, far, tmp_path):
    written = b"ab, c=d " * 3
    checksum = Checksum("adler32", f"{zlib.adler32(written):08x}")
    assert stage_in(bench, far, "far://fine", size_b=24, checksum=checksum).errors == ()
    assert int((tmp_path / "where").read_text()) != os.getpid()
    assert (bench.workdir / "a").read_bytes() == written


def test_its_output_is_verified_here(bench, far):
    result = stage_in(bench, far, "far://fine", size_b=25)
    assert [error.code for error in result.errors] == [Code.GETADMISMATCH]
    assert bench.names() == []


def test_it_stores(bench, far, tmp_path):
    (bench.workdir / "o").write_text("out")
    job = Job(id="1", outputs=(FileSpec(lfn="o", replicas=(Replica("far://o"),)),))
    assert DataControl(bench.hooks(), [far], Redactor()).stage_out(bench.task(job)).errors == ()
    assert (tmp_path / "where").read_text() == "out"


@pytest.mark.parametrize("url", ["far://stop", "far://hang"])
def test_one_that_hangs_is_ended_when_its_time_is_up(bench, far, tmp_path, url):
    """data:B-07, data:K-06"""
    began = time.monotonic()
    result = stage_in(bench, far, url, budget_s=1.5)
    assert time.monotonic() - began < 10
    assert [error.code for error in result.errors] == [Code.STAGEINTIMEOUT]
    assert is_gone(int((tmp_path / "where").read_text()))
    assert bench.names() == []


def test_one_that_hangs_is_ended_when_the_job_is(bench, far, tmp_path):
    """data:B-28"""
    where = tmp_path / "where"

    def cancel() -> None:
        while not (where.exists() and where.read_text()):
            time.sleep(0.01)
        bench.cancel.set()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    began = time.monotonic()
    result = stage_in(bench, far, "far://hang")
    canceller.join(10)
    assert time.monotonic() - began < 30
    assert "given up" in result.errors[0].detail
    assert is_gone(int(where.read_text()))
    assert bench.names() == []


def test_one_that_crashes_is_told(bench, far):
    """data:T-16"""
    result = stage_in(bench, far, "far://crash")
    assert [error.code for error in result.errors] == [Code.STAGEINFAILED]
    assert "SIGSEGV" in result.errors[0].detail
    assert bench.names() == []


def test_its_errors_come_back_as_they_are(bench, far):
    result = stage_in(bench, far, "far://refuse")
    assert [error.code for error in result.errors] == [Code.MISSINGINPUTFILE]
    assert "it is not there" in result.errors[0].detail
    assert "ZeroDivisionError: oops" in stage_in(bench, far, "far://defect").errors[0].detail
