"""The servers as fixtures: one of each kind for all workers, and others for a test that breaks them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import webdav as webdav_servers
from . import xrootd as xrootd_servers
from .daemon import lacks_small_disk
from .faults import FaultyLine
from .shared import KINDS, shared


def insist(lack: str) -> None:
    """Skip what this machine can't do, unless it has to."""
    if lack and os.environ.get("PILOT_SERVERS") == "all":
        pytest.fail(lack)
    if lack:
        pytest.skip(lack)


@pytest.fixture(scope="session")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the workers of this run meet."""
    top = tmp_path_factory.getbasetemp()
    return (top.parent if "PYTEST_XDIST_WORKER" in os.environ else top) / "servers"


def fixture_of(kind: str):
    """A fixture that is the shared server of a kind."""

    @pytest.fixture(scope="session", name=kind)
    def server(meeting: Path):
        insist(KINDS[kind].lacks())
        with shared(kind, meeting) as there:
            yield there

    return server


pki = fixture_of("pki")
xrootd = fixture_of("xrootd")
secured_xrootd = fixture_of("secured_xrootd")
webdav = fixture_of("webdav")
s3 = fixture_of("s3")
rucio = fixture_of("rucio")
gcs = fixture_of("gcs")
slurm = fixture_of("slurm")
condor = fixture_of("condor")


@pytest.fixture
def own_xrootd():
    """A server to kill and start again: ``daemons`` has its process."""
    insist(xrootd_servers.lacks())
    with xrootd_servers.anonymous() as server:
        yield server


@pytest.fixture
def faulty():
    """Makes a proxy with faults to order before the server at a port."""
    with ExitStack() as leaving:
        yield lambda port: leaving.enter_context(FaultyLine(port))


@pytest.fixture
def small_xrootd():
    """A server whose disk is full after a few MB."""
    insist(xrootd_servers.lacks())
    if lack := lacks_small_disk():
        pytest.skip(lack)
    with xrootd_servers.small() as server:
        yield server


@pytest.fixture
def own_webdav(pki):
    """A server to kill and start again."""
    insist(webdav_servers.lacks())
    with webdav_servers.webdav(pki) as server:
        yield server


@pytest.fixture
def small_webdav(pki):
    """A server whose disk is full after a few MB."""
    insist(webdav_servers.lacks())
    if lack := lacks_small_disk():
        pytest.skip(lack)
    with webdav_servers.small(pki) as server:
        yield server
