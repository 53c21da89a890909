"""XRootD takes and gives files, sums them, fills up, dies and comes again."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

import pytest

from . import xrootd as servers
from .clients import done, run
from .daemon import SMALL_B

SIZE_B = 3_000_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.root"
    path.write_bytes(os.urandom(SIZE_B))
    return path


def asked_sum(server: servers.XRootD, path: str, algorithm: str) -> str:
    said = done("xrdfs", f"root://localhost:{server.port}", "query", "checksum", f"{path}?cks.type={algorithm}")
    name, value = said.split()
    assert name == algorithm
    return value


def test_a_file_goes_in_and_comes_out(xrootd, file, tmp_path):
    done("xrdcp", "-np", file, xrootd.root("/out/a"))
    assert (xrootd.data / "out/a").read_bytes() == file.read_bytes()
    done("xrdcp", "-np", xrootd.root("/out/a"), tmp_path / "back")
    done("curl", "-fsS", "-o", tmp_path / "by_http", xrootd.http("/out/a"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "by_http").read_bytes() == file.read_bytes()


def test_the_http_door_takes_files(xrootd, file):
    done("curl", "-fsS", "-T", file, xrootd.http("/out/by_http"))
    assert (xrootd.data / "out/by_http").read_bytes() == file.read_bytes()


def test_it_sums_what_it_has(xrootd, file):
    done("xrdcp", "-np", file, xrootd.root("/sums/a"))
    assert asked_sum(xrootd, "/sums/a", "adler32") == f"{zlib.adler32(file.read_bytes()):08x}"
    assert asked_sum(xrootd, "/sums/a", "md5") == hashlib.md5(file.read_bytes()).hexdigest()


def test_crc32c(xrootd, tmp_path):
    (tmp_path / "digits").write_bytes(b"123456789")
    done("xrdcp", "-np", tmp_path / "digits", xrootd.root("/sums/digits"))
    assert asked_sum(xrootd, "/sums/digits", "crc32c") == "e3069283"


def test_a_small_disk_fills_up(small_xrootd, tmp_path):
    big, little = tmp_path / "big", tmp_path / "little"
    big.write_bytes(bytes(2 * SMALL_B))
    little.write_bytes(b"fits")
    full = run("xrdcp", "-np", big, small_xrootd.root("/big"))
    assert full.returncode
    assert "no space left" in full.stderr.lower()
    done("xrdfs", f"root://localhost:{small_xrootd.port}", "rm", "/big")
    done("xrdcp", "-np", little, small_xrootd.root("/little"))


def test_killed_it_comes_again_with_what_it_had(own_xrootd, file, tmp_path):
    done("xrdcp", "-np", file, own_xrootd.root("/a"))
    (daemon,) = own_xrootd.daemons
    daemon.kill()
    lost = run("xrdcp", "-np", own_xrootd.root("/a"), tmp_path / "back", env={"XRD_CONNECTIONRETRY": "1"})
    assert lost.returncode
    daemon.start()
    done("xrdcp", "-np", own_xrootd.root("/a"), tmp_path / "back")


def test_down_leaves_nothing():
    with servers.anonymous() as server:
        pid = server.daemons[0].pid
        assert server.home.exists()
    assert not Path(f"/proc/{pid}").exists()
    assert not server.home.exists()


def test_a_stranger_on_the_network_finds_no_door(xrootd):
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    doors = [line.split()[1] for line in table if line.split()[3] == "0A"]
    ours = [door for door in doors if int(door.partition(":")[2], 16) in (xrootd.port, xrootd.http_port)]
    assert {door.partition(":")[0] for door in ours} == {"0100007F"}
