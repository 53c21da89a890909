"""The secured XRootD takes proxies and tokens at each of its doors, and nobody else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from .clients import done, run
from .pki import READ

NOTHING_LEFT = {"XRD_CONNECTIONRETRY": "1", "XRD_REQUESTTIMEOUT": "20"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.root"
    path.write_bytes(os.urandom(300_000))
    return path


def curl(pki, *more, token: str = ""):
    bearer = ["-H", f"Authorization: Bearer {token}"] if token else []
    return run("curl", "-sS", "-w", "%{http_code}", "--cacert", pki.bundle, *bearer, *more)


def test_a_proxy_opens_root_and_roots(secured_xrootd, pki, file, tmp_path):
    for scheme in (secured_xrootd.root, secured_xrootd.roots):
        address = scheme(f"/proxy/{scheme.__name__}")
        done("xrdcp", "-np", file, address, env=pki.by_proxy())
        done("xrdcp", "-np", "-f", address, tmp_path / "back", env=pki.by_proxy())
        assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_a_token_opens_roots(secured_xrootd, pki, file):
    done("xrdcp", "-np", file, secured_xrootd.roots("/token/a"), env=pki.by_token())
    assert (secured_xrootd.data / "token/a").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("way", ["no credential", "expired proxy", "expired token", "read-only token"])
def test_root_refuses(secured_xrootd, pki, file, way):
    shown = {
        "no credential": {"X509_CERT_DIR": str(pki.authorities)},
        "expired proxy": pki.by_proxy(pki.expired_proxy),
        "expired token": pki.by_token(left_s=-60),
        "read-only token": pki.by_token(READ),
    }
    address = secured_xrootd.roots(f"/refused/{way.replace(' ', '-')}")
    refused = run("xrdcp", "-np", file, address, env={**NOTHING_LEFT, **shown[way]})
    assert refused.returncode
    assert re.search("Auth failed|permission denied|proxy.*expired", refused.stderr), refused.stderr
    assert not (secured_xrootd.data / "refused").exists()


def test_https_takes_a_proxy(secured_xrootd, pki, file):
    shown = ["--cert", pki.proxy, "--key", pki.proxy, "-T", file]
    assert curl(pki, *shown, secured_xrootd.http("/https/proxy")).stdout.endswith("200")
    assert (secured_xrootd.data / "https/proxy").read_bytes() == file.read_bytes()


def test_https_takes_a_token(secured_xrootd, pki, file):
    address = secured_xrootd.http("/https/token")
    assert curl(pki, "-T", file, address, token=pki.token()).stdout.endswith("200")
    assert curl(pki, "-o", os.devnull, address, token=pki.token(READ)).stdout == "200"


@pytest.mark.parametrize("way", ["no credential", "expired token", "read-only token"])
def test_https_refuses(secured_xrootd, pki, file, way):
    shown = {
        "no credential": "",
        "expired token": pki.token(left_s=-60),
        "read-only token": pki.token(READ),
    }
    address = secured_xrootd.http(f"/refused-https/{way.replace(' ', '-')}")
    assert curl(pki, "-T", file, address, token=shown[way]).stdout.endswith("403")
    assert not (secured_xrootd.data / "refused-https").exists()
