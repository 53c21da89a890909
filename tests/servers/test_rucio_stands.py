"""Rucio knows its accounts and files, takes more, and remembers what was told of transfers."""

from __future__ import annotations

import json
import os
import uuid
import zlib

import pytest

from . import rucio as servers
from .clients import done, run


def status(rucio, pki, way: str, *words) -> str:
    """What is answered to one who wants to be let in."""
    asked = ["-H", "X-Rucio-Account: pilot", *words, f"{rucio.url}/auth/{way}"]
    return run("curl", "-sS", "--cacert", pki.bundle, "-o", os.devnull, "-w", "%{http_code}", *asked).stdout


def by_password(password: str) -> list[str]:
    return ["-H", "X-Rucio-Username: pilot", "-H", f"X-Rucio-Password: {password}"]


def test_who_shows_something_is_known(rucio, pki):
    assert status(rucio, pki, "userpass", *by_password(servers.PASSWORD)) == "200"
    assert status(rucio, pki, "x509_proxy", "--cert", pki.proxy, "--key", pki.proxy) == "200"
    assert "pilot" in done("rucio", "whoami", env=rucio.environ())


def test_others_are_refused(rucio, pki):
    assert status(rucio, pki, "userpass", *by_password("wrong")) == "401"
    assert status(rucio, pki, "x509_proxy") == "401"


def test_the_files_are_in_all_places(rucio):
    did = f"{servers.SCOPE}:{servers.DATASET}"
    said = done("rucio", "replica", "list", "file", did, env=rucio.environ())
    assert {name for name in servers.FILES if name in said} == set(servers.FILES)
    assert {storage for storage in ("XRD", "SEC", "DAV") if storage in said} == {"XRD", "SEC", "DAV"}


@pytest.mark.parametrize("storage", ["XRD", "SEC", "DAV"])
def test_a_file_comes_out(rucio, tmp_path, storage):
    name, body = next(iter(servers.FILES.items()))
    words = ["download", "--rses", storage, "--dir", tmp_path, f"{servers.SCOPE}:{name}"]
    done("rucio", *words, env=rucio.environ())
    assert (tmp_path / servers.SCOPE / name).read_bytes() == body


@pytest.mark.parametrize("storage", ["XRD", "SEC", "DAV"])
def test_a_file_goes_in(rucio, xrootd, secured_xrootd, webdav, tmp_path, storage):
    path = tmp_path / f"made-{uuid.uuid4()}"
    path.write_bytes(body := os.urandom(100_000))
    done("rucio", "upload", "--rse", storage, "--scope", "user.pilot", path, env=rucio.environ())
    data = {"XRD": xrootd.data, "SEC": secured_xrootd.data, "DAV": webdav.data}[storage]
    assert (data / "rucio" / servers.path_of("user.pilot", path.name)).read_bytes() == body
    listed = done("rucio", "replica", "list", "file", f"user.pilot:{path.name}", env=rucio.environ())
    assert f"{zlib.adler32(body):08x}" in listed


def test_traces_are_kept(rucio, pki, tmp_path):
    trace = {
        "uuid": uuid.uuid4().hex, "eventType": "get_sm", "clientState": "DONE", "account": "pilot", "scope": "test",
        "filename": "first.root", "filesize": 15000, "remoteSite": "XRD", "localSite": "XRD", "protocol": "root",
        "eventVersion": "1", "dataset": "", "datasetScope": "", "timeStart": 1.0, "transferStart": 1.0, "usrdn": "",
    }  # fmt: skip
    (tmp_path / "trace.json").write_text(json.dumps(trace))
    words = ["-fsS", "--cacert", pki.bundle, "-H", "Content-Type: application/x-json-stream"]
    done("curl", *words, "--data-binary", f"@{tmp_path}/trace.json", f"{rucio.url}/traces/")
    assert trace["uuid"] in [kept.get("uuid") for kept in rucio.traces()]
