"""Whole pilots whose jobs come from a dispatcher, and whose files come from a real Rucio and go back there."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
import zlib
from pathlib import Path

import pytest

from pilot_copytools.rucio.names import path_of
from pilot_copytools.rucio.registers import register
from pilot_copytools.rucio.replicas import list_replicas
from pilot_copytools.rucio.server import Server
from pilot_copytools.rucio.settings import RucioOptions
from pilot_core.errors import Code
from pilot_core.model.files import Checksum, FileSpec, Receipt
from pilot_core.model.job import Job
from pilot_core.testing.server import PilotServer

from . import rucio as servers
from .rucio_storage import options, told
from .test_gfal import bindings  # noqa: F401

pytest.importorskip("rucio", reason="needs pilot-copytools[rucio]")
pytestmark = pytest.mark.usefixtures("rucio")

KEPT = ("PATH", "HOME", "LANG")
OURS = ["*.1=user.pilot"]
"""The dispatcher's scopes are those of attempts, which Rucio does not know."""
QUEUE = """
name: local
astorages: {read_lan: [XRD], write_lan: [XRD], pl: [XRD]}
allow_wan: true
"""


@pytest.fixture
def site(rucio, pki, xrootd, secured_xrootd, tmp_path: Path):
    storages = {"XRD": {"url": f"root://localhost:{xrootd.port}//rucio/"}}
    queues = {"local": {"storage": "XRD"}}
    with PilotServer(tmp_path / "panda", config={"storages": storages, "queues": queues}) as panda:
        yield Site(rucio, pki, xrootd, secured_xrootd, panda, tmp_path)


class Site:
    """A dispatcher, a catalogue, and pilots that know both."""

    def __init__(self, rucio, pki, xrootd, secured_xrootd, panda, tmp_path: Path) -> None:
        self.rucio, self.pki, self.panda, self.root = rucio, pki, panda, tmp_path
        self.behind = {"XRD": xrootd.data / "rucio", "SEC": secured_xrootd.data / "rucio"}
        self.urls = {
            "XRD": f"root://localhost:{xrootd.port}//rucio/",
            "SEC": f"davs://localhost:{secured_xrootd.http_port}/rucio/",
        }
        self.queue_file = tmp_path / "queue.yaml"
        self.queue_file.write_text(QUEUE)
        self.catalogue = Server(options(rucio, pki, tmp_path).of(RucioOptions))

    def run(self, description: dict[str, object], **more: object) -> dict[str, object]:
        """Let a pilot do one job; how that ended."""
        (job,) = self.panda.submit(description)
        rucio = told(
            self.rucio, self.pki, self.root, names=True, register=True, **{"scopes": ["*.1=user.pilot"], **more}
        )
        given = {**self.panda.settings(), "data.copytools": "rucio", "pilot.max_jobs": 1, "data.attempts": 1}
        given |= {"connection.info_sources": "file", "queue_file.path": self.queue_file}
        given |= {f"rucio.{name}": value for name, value in rucio.items()}
        sets = [word for name, value in given.items() for word in ("--set", f"{name}={_text(value)}")]
        env = {name: os.environ[name] for name in KEPT if name in os.environ} | {"PYTHONPATH": sys.path[0]}
        ran = subprocess.run(
            [sys.executable, "-m", "pilot_core", "run", "--workdir", str(self.root / "work"), *sets],
            env={**env, **self.pki.by_proxy()}, capture_output=True, text=True, timeout=120, cwd=self.root,
        )  # fmt: skip
        self.said = ran.stdout + ran.stderr
        return self.panda.job(job)

    def keep(self, body: bytes, *storages: str, adler32: str = "") -> str:
        """A new file in these storages by the catalogue's word; nothing lies there yet."""
        name = f"in-{uuid.uuid4()}"
        summed = Checksum("adler32", adler32 or f"{zlib.adler32(body):08x}")
        job = Job(id="0", outputs=(FileSpec(lfn=name, scope="user.pilot"),))
        for storage in storages:
            url = self.urls[storage] + path_of("user.pilot", name)
            receipt = Receipt(
                lfn=name, direction="out", url=url, tool="", size_b=len(body), checksum=summed, endpoint=storage
            )
            assert register(self.catalogue, job, [receipt]) == {}
        return name

    def put(self, storage: str, name: str, body: bytes) -> None:
        """Have it lie there."""
        path = self.behind[storage] / path_of("user.pilot", name)
        for folder in (path.parent.parent.parent, path.parent.parent, path.parent):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
        path.write_bytes(body)
        path.chmod(0o666)

    def traces(self, name: str) -> list[dict[str, object]]:
        """What Rucio was told of a file."""
        return [trace for trace in self.rucio.traces() if trace.get("filename") == name]


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def copying(name: str) -> dict[str, object]:
    """A job that makes a new file of one that the catalogue has."""
    made = f"out-{uuid.uuid4()}"
    return {
        "script": f"tr a-z A-Z < {name} > {made}",
        "inputs": [{"name": name, "scope": "user.pilot"}],
        "outputs": [{"name": made, "scope": "user.pilot", "endpoint": "XRD"}],
    }


def test_files_come_from_the_catalogue_and_go_there_and_every_try_is_reported(site):
    """data:G-01"""
    body = b"some words\n" * 1000
    site.put("XRD", name := site.keep(body, "XRD"), body)
    job = site.run(description := copying(name))
    assert job["state"] == "finished", f"{job} {site.said}"
    made = FileSpec(lfn=description["outputs"][0]["name"], scope="user.pilot")
    (place,) = list_replicas(site.catalogue, [made])[made.lfn]
    assert (place.endpoint, place.size_b) == ("XRD", len(body))
    assert (site.behind["XRD"] / path_of("user.pilot", made.lfn)).read_bytes() == body.upper()
    (got,), (put,) = site.traces(name), site.traces(made.lfn)
    assert (got["eventType"], put["eventType"]) == ("get_sm", "put_sm")
    for trace, storage_url in ((got, site.urls["XRD"]), (put, site.urls["XRD"])):
        assert (trace["clientState"], trace["remoteSite"], trace["scope"]) == ("DONE", "XRD", "user.pilot")
        assert trace["url"].startswith(storage_url)
        assert trace["filesize"] == len(body)
        assert trace["timeStart"] <= trace["transferStart"] <= trace["validateStart"] <= trace["timeEnd"]
        assert trace["appid"] == str(job["id"])
    assert servers.PASSWORD not in site.said


@pytest.mark.usefixtures("bindings")
def test_a_copy_that_is_lost_is_passed_over_and_both_tries_are_reported(site):
    """data:B-05 (with a catalogue)"""
    body = b"kept in one place of two\n"
    site.put("SEC", name := site.keep(body, "XRD", "SEC"), body)
    job = site.run(copying(name))
    assert job["state"] == "finished", site.said
    tries = [(trace["remoteSite"], trace["clientState"]) for trace in site.traces(name)]
    assert tries == [("XRD", "MISSING_INPUT"), ("SEC", "DONE")]


def test_what_lies_there_is_not_what_the_catalogue_says(site):
    """data:T-05 (with a catalogue)"""
    body = b"all of it\n"
    site.put("XRD", name := site.keep(body, "XRD", adler32="00000001"), body)
    job = site.run(copying(name))
    assert (job["state"], job["error"]["code"]) == ("failed", Code.GETADMISMATCH.number), site.said
    assert {trace["clientState"] for trace in site.traces(name)} == {"AD_MISMATCH"}


def test_a_catalogue_that_is_away_fails_a_job_and_no_report_delays_it(site):
    job = site.run(copying("anything"), host="https://localhost:1")
    assert (job["state"], job["error"]["code"]) == ("failed", Code.RUCIOLISTREPLICASFAILED.number), site.said


def test_reports_that_a_pilot_could_not_send_are_sent_by_the_next(site, tmp_path):
    """data:H-04 (a spool)"""
    body, spool = b"told of later\n", tmp_path / "spool"
    site.put("XRD", name := site.keep(body, "XRD"), body)
    job = site.run(copying(name), trace_url="https://localhost:1/traces/", spool=spool)
    assert job["state"] == "finished", site.said
    assert site.traces(name) == []
    assert [path.suffix for path in spool.iterdir()] == [".traces"]
    later = site.run(copying(name), spool=spool)
    assert {trace["appid"] for trace in site.traces(name)} == {str(job["id"]), str(later["id"])}
    assert not [*spool.iterdir()]
