"""No payload comes by the tokens of a dispatcher beside it, as far as a process of the same user can be kept so."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from pathlib import Path

import pytest

from pilot_core.io.hiding import why_not

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


# --- a payload that looks for them ---

NOBODY = 65534
HOSTILE = r"""
look() {
    cat %(tokens)s/* %(home)s/join* %(work)s/pilot.control/token %(work)s/*.control/journal %(extra)s %(link)s
    cat /proc/[0-9]*/environ
    for process in $(grep -a -l 'pilot_cor[e]' /proc/[0-9]*/cmdline); do
        seen=${process%%/cmdline}
        cat $seen/root%(tokens)s/* $seen/cwd/home/tokens/* $seen/root%(extra)s
        for fd in $seen/fd/*; do case $(readlink $fd) in %(root)s/*) test -f $fd && cat $fd;; esac; done
        nsenter -t ${seen#/proc/} -m cat %(tokens)s/run
    done
}
look
for covered in %(home)s %(extra)s %(work)s/pilot.control; do
    umount -l $covered; unshare -Urm umount -l $covered
    unshare -Urm sh -c "mount --bind / $HOME; cat $HOME$covered $HOME$covered/tokens/*"
done
look
PILOT_SERVER_HOME=%(home)s %(python)s -m pilot_""core jobs && echo "the dispatcher"" obeyed"
true
"""


class Ordinary(Cluster):
    """A cluster whose dispatcher and pilots run as an ordinary user, where these tests are root's."""

    def _start(self, line, **more):
        user = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        finds = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
        return super()._start(["setpriv", *user, *finds, *line] if os.geteuid() == 0 else line, **more)


@pytest.fixture(params=["as we are", "ordinary"])
def hostile(request):
    if os.geteuid() and request.param == "ordinary":
        pytest.skip("needs root to be another user")
    root = Path(tempfile.mkdtemp(prefix="p-"))
    made = (Ordinary if request.param == "ordinary" else Cluster)(root)
    if request.param == "ordinary":
        for path in (root, made.home):
            os.chown(path, NOBODY, NOBODY)
    yield made
    made.close()
    shutil.rmtree(root)


def found(cluster, *settings: str) -> tuple[list[str], str]:
    """The secrets that a hostile payload printed, and what the pilot said of it."""
    cluster.configure()
    cluster.serve()
    extra, link = cluster.root / "extra", cluster.root / "link"
    extra.write_text("a-secret-of-the-site")
    extra.chmod(0o600)
    link.symlink_to(extra)
    if os.geteuid() == 0:
        os.chown(extra, *(cluster.home.stat().st_uid,) * 2)
    paths = {
        "root": cluster.root,
        "home": cluster.home,
        "tokens": cluster.home / "tokens",
        "extra": extra,
        "link": link,
    }
    cluster.submit(HOSTILE % {**paths, "work": cluster.root / "work", "python": sys.executable})
    secrets = [extra.read_text(), *secrets_of(cluster)]
    told = ("pilot.max_jobs=1", "pilot.cleanup=false", f"payload.hidden={extra}", *settings)
    code, said = cluster.end(cluster.join("work", *told))
    assert code == 0, said
    (printed,) = (cluster.root / "work").glob("PanDA_Pilot-*/payload.stdout")
    seen = printed.read_text(errors="replace")
    return [secret for secret in (*secrets, "the dispatcher obeyed") if secret in seen], said


@pytest.mark.skipif(bool(why_not()), reason="nothing can be hidden here")
def test_a_payload_that_looks_for_tokens_finds_none(hostile):
    """By path and link, by other processes and their descriptors, by lifting the covers, by the commands."""
    secrets, said = found(hostile)
    assert secrets == []
    assert "the pilot's credentials are hidden from the payload; it can still change whatever" in said


def test_where_nothing_is_hidden_it_finds_them_and_the_pilot_says_so(hostile):
    secrets, said = found(hostile, "payload.isolation=none")
    assert len(secrets) >= 5
    assert "the payload is not isolated: it can read and change whatever" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who has capabilities to lose")
def test_where_it_cannot_be_it_is_said_why_and_jobs_run_all_the_same(cluster):
    bare = ["setpriv", "--bounding-set=-sys_admin", *PILOT]
    cluster.configure()
    cluster.serve()
    cluster.submit("true")
    line = ["run", "--join", str(cluster.home / "join"), "--max-jobs", "1", "--workdir", str(cluster.root / "work")]
    done = subprocess.run([*bare, *line], capture_output=True, text=True, env=CLEAN, timeout=LIMIT_S)
    why = (
        "this node does not let it (a namespace of its own: Operation not permitted): run the pilot as an ordinary user"
    )
    assert done.returncode == 0, done.stderr
    assert f"payloads can read the pilot's credentials: they are not hidden, as {why}" in done.stderr
    (record,) = (cluster.root / "work").glob("PanDA_Pilot-*.control/record.json")
    assert json.loads(record.read_text())["notes"]["isolation"]["why"].startswith(why)
    doctor = subprocess.run([*bare, "plugins", "doctor"], capture_output=True, text=True, env=CLEAN, timeout=LIMIT_S)
    assert f"nothing is hidden from it, as {why}" in doctor.stdout
    refused = subprocess.run(
        [*bare, *line, "--set", "payload.isolation=hide"], capture_output=True, text=True, env=CLEAN, timeout=LIMIT_S
    )
    assert refused.returncode == 2
    assert f"payload.isolation: hide: {why}" in refused.stderr
