"""No payload comes by the tokens of a dispatcher beside it, as far as a process of the same user can be kept so."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from base64 import b64encode

import pytest

from .cluster import CLEAN, LIMIT_S, PILOT, Cluster

PROBE = """
import glob, json, os

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read().decode("latin-1")
    except OSError as error:
        return error.strerror

own = "/proc/self/fd"
descriptors = {fd: os.readlink(f"{own}/{fd}") for fd in os.listdir(own) if os.path.exists(f"{own}/{fd}")}
with open("seen.json", "w") as seen:
    json.dump({
        "environ": dict(os.environ),
        "argv": [read(path) for path in glob.glob("/proc/[0-9]*/cmdline")],
        "descriptors": descriptors,
        "files": {path: read(path) for path in glob.glob("**", recursive=True) if os.path.isfile(path)},
    }, seen)
"""


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.close()


def secrets_of(cluster) -> list[str]:
    """Every token and join string, as they are and as they would be packed."""
    kept = [cluster.token(role) for role in ("run", "submit", "admin")]
    plain = [path.read_text().strip() for path in (*kept, cluster.home / "join", cluster.home / "join-submit")]
    return [*plain, *(each.removeprefix("pilot-join:") for each in plain), *(packed(each) for each in plain)]


def packed(secret: str) -> str:
    return b64encode(secret.encode()).decode().rstrip("=")[:-2]


def looked(cluster, *told, **environ) -> tuple[dict, str]:
    """What the payload of a pilot that was told of the dispatcher so has seen, and all of its log's archive."""
    (cluster.root / "probe.py").write_text(PROBE)
    script = f"{sys.executable} probe.py"
    job = {"inputs": ["probe.py"], "outputs": ["seen.json"], "log": "log.tgz"}
    cluster.submit(script, **job)
    line = [*PILOT, "run", *told, "--max-jobs", "1", "--workdir", str(cluster.root / "work")]
    done = subprocess.run(line, capture_output=True, text=True, env={**CLEAN, **environ}, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(fileobj=io.BytesIO(cluster.stored("log.tgz"))) as archive:
        texts = [archive.extractfile(each).read().decode("latin-1") for each in archive if each.isfile()]
    said = done.stdout + done.stderr + (cluster.root / "work" / "pilotlog.txt").read_text()
    return json.loads(cluster.stored("seen.json")), "\n".join([*texts, said])


@pytest.mark.parametrize("way", ["join", "variable", "home", "token"])
def test_a_payload_sees_no_token_in_what_it_is_given_and_in_what_all_may_see(cluster, way):
    cluster.configure()
    cluster.serve()
    home, url = str(cluster.home), ("--url", cluster.url, "--queue", "local")
    told = {"join": ("--join", f"{home}/join"), "home": ("--home", home)}
    told |= {"token": (*url, "--token-file", str(cluster.token())), "variable": ()}
    environ = {"PILOT_JOIN": (cluster.home / "join").read_text()} if way == "variable" else {}
    seen, kept = looked(cluster, *told[way], **environ)
    assert len(seen["argv"]) > 2
    assert any("serve" in each and str(cluster.home) in each for each in seen["argv"]), "the dispatcher runs beside it"
    for secret in secrets_of(cluster):
        assert secret not in json.dumps(seen)
        assert secret not in kept
    assert str(cluster.home) not in json.dumps(seen["environ"]), "nor does it hear where tokens lie"
    assert not {*seen["descriptors"]} - {"0", "1", "2"}, seen["descriptors"]
    assert str(cluster.home) not in json.dumps(seen["descriptors"])


def test_what_holds_tokens_is_for_its_own_user_only(cluster):
    """A payload of another user, as behind an isolation that gives it one, reads none of it."""
    cluster.serve()
    looked(cluster, "--join", str(cluster.home / "join"))
    kept = [*cluster.home.glob("tokens/*"), *cluster.home.glob("join*"), *cluster.home.glob("*.sqlite*")]
    kept += (cluster.root / "work").rglob("token")
    assert len(kept) >= 7
    assert [path for path in kept if path.stat().st_mode & 0o077] == []
