"""Apache's WebDAV takes and gives files, and asks at its second door who comes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from . import webdav as servers
from .clients import done, run
from .conftest import insist
from .daemon import SMALL_B


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.root"
    path.write_bytes(os.urandom(300_000))
    return path


def status(*words) -> str:
    return run("curl", "-sS", "-o", os.devnull, "-w", "%{http_code}", *words).stdout


def test_a_file_goes_in_and_comes_out(webdav, file, tmp_path):
    assert status("-T", file, webdav.http("/a")) == "201"
    done("curl", "-fsS", "-o", tmp_path / "back", webdav.http("/a"))
    assert (tmp_path / "back").read_bytes() == (webdav.data / "a").read_bytes() == file.read_bytes()
    assert status("-X", "MOVE", "-H", f"Destination: {webdav.http('/b')}", webdav.http("/a")) == "201"
    assert status("-X", "DELETE", webdav.http("/b")) == "204"


def test_the_places_that_go_wrong(webdav, file):
    assert status(webdav.http("/busy/a")) == "503"
    assert status(webdav.http("/gone/a")) == "410"
    assert status("-T", file, webdav.http("/redirect/moved")) == "307"
    assert status("-T", file, webdav.http("/read-only/a")) == "403"


@pytest.mark.parametrize("way", ["password", "certificate", "proxy"])
def test_who_shows_something_comes_in(webdav, pki, file, way):
    shown = {
        "password": ["-u", f"{servers.NAME}:{servers.PASSWORD}"],
        "certificate": ["--cert", pki.user[0], "--key", pki.user[1]],
        "proxy": ["--cert", pki.proxy, "--key", pki.proxy],
    }
    assert status("--cacert", pki.bundle, *shown[way], "-T", file, webdav.https(f"/by-{way}")) == "201"
    assert (webdav.data / f"by-{way}").read_bytes() == file.read_bytes()


def test_others_are_refused(webdav, pki, file):
    by_https = ["--cacert", pki.bundle, "-T", file, webdav.https("/refused")]
    assert status(*by_https) == "401"
    assert status("-u", f"{servers.NAME}:wrong", *by_https) == "401"
    assert status("--cert", pki.expired_proxy, "--key", pki.expired_proxy, *by_https) in {"000", "401"}
    assert not (webdav.data / "refused").exists()


def test_a_small_disk_fills_up(small_webdav, tmp_path):
    (tmp_path / "big").write_bytes(bytes(2 * SMALL_B))
    assert status("-T", tmp_path / "big", small_webdav.http("/a")) == "507"


def test_killed_it_comes_again(own_webdav, file, tmp_path):
    status("-T", file, own_webdav.http("/a"))
    (daemon,) = own_webdav.daemons
    daemon.kill()
    assert run("curl", "-sS", own_webdav.http("/a")).returncode == 7
    daemon.start()
    done("curl", "-fsS", "-o", tmp_path / "back", own_webdav.http("/a"))


def test_down_leaves_nothing(pki):
    insist(servers.lacks())
    with servers.webdav(pki) as server:
        pid = server.daemons[0].pid
    assert not Path(f"/proc/{pid}").exists()
    assert not server.home.exists()
