"""What belongs to the owner of a job, and what to the pilot: neither sees what is the other's to show."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from pilot_core.sdk import Fetches, Moved, Stores
from pilot_core.testing.fakes import Payload

from .ids import scenario
from .stage import ACQUIRE, JOB, NO_IDENTITY, UPDATE, ends, last

SECRETS = json.dumps({"MY_TOKEN": "open-sesame-of-the-owner"})
GIVEN = "/api/v1/creds/get_proxy"
FACTS = "/cache/schedconfig/local.all.json"
MADE = {"out.txt": b"made\n"}


def with_secrets(answer):
    answer["data"]["jobs"][0]["secrets"] = SECRETS
    return answer


@scenario("D-18", "I6")
def test_the_secrets_of_an_owner_are_there_for_the_payload_alone(stage, pilot):
    stage.submit(JOB)
    stage.change(ACQUIRE["v1"], with_secrets)
    seen = []

    def look(here, env):
        path = here / "panda_secrets.json"
        seen.append((json.loads(path.read_text()), path.stat().st_mode & 0o777))

    run = pilot(payload=Payload(does=look, files=MADE), **{"pilot.cleanup": False})
    assert seen == [(json.loads(SECRETS), 0o600)], run.story()
    assert not list(run.root.rglob("panda_secrets.json"))
    with tarfile.open(fileobj=io.BytesIO(stage.stored("log.tgz"))) as packed:
        contents = {each.name: packed.extractfile(each).read() for each in packed if each.isreg()}
    assert not [name for name, content in contents.items() if b"open-sesame" in content or "secrets.json" in name]
    assert "open-sesame" not in run.log


@pytest.fixture
def proxy(tmp_path):
    """A certificate and its key: as far as its dates go, that is a proxy."""
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    key = tmp_path / "key"
    made = subprocess.run([*request, "-keyout", key, "-subj", "/CN=u"], check=True, capture_output=True).stdout
    return made.decode() + key.read_text()


@pytest.fixture
def shown():
    """A copy tool that moves no byte of anybody's, and the proxies that it was given to show."""
    given = []

    class Showing(Fetches, Stores):
        name = "showing"
        schemes = ("https",)

        def fetch(self, replica, target, file, moving):
            given.append(moving.proxy and moving.proxy.read_text())
            target.write_bytes(b"input")
            return Moved(size_b=5)

        def store(self, source, replica, file, moving):
            given.append(moving.proxy and moving.proxy.read_text())
            return Moved(size_b=source.stat().st_size)

    return given, {"drivers": {"copytool": {"showing": Showing}}}


@scenario("A-12")
@pytest.mark.parametrize("works", [True, False])
def test_a_job_of_a_user_shows_the_users_proxy_and_its_pilot_its_own(stage, pilot, proxy, shown, works):
    stage.submit_with_input()
    given, kit = shown
    stage.change(FACTS, lambda facts: {**facts, "type": "unified", "copytools": ["showing"]}, times=9)
    stage.change(ACQUIRE["v1"], of_a_user)
    answer = {"success": works, "message": "none", "data": {"user_proxy": proxy} if works else None}
    stage.say(GIVEN, answer, times=9)
    seen = []
    payload = Payload(does=lambda here, env: seen.append(_proxy_in(env)), files=MADE)
    settings = {"panda.user_proxy_role": "vo", "panda.user_proxy_dn": "somebody"}
    run = pilot(payload=payload, kit=kit, **settings)
    assert run.ending.finished == 1, run.story()
    expected = proxy if works else None
    assert (seen, set(given), len(given)) == ([expected], {expected}, 3)
    assert {each.headers["authorization"][:7] for each in stage.all} == {"Bearer "}
    assert ("goes on with the pilot's own proxy" in run.log) is not works
    assert not [path for path in run.root.rglob("*") if path.is_file() and proxy.encode() in path.read_bytes()]


def of_a_user(answer):
    answer["data"]["jobs"][0]["prodSourceLabel"] = "user"
    return answer


def _proxy_in(env):
    path = env.get("X509_USER_PROXY")
    return path and Path(path).read_text()


TOLD = {
    "OIDC_AUTH_TOKEN": "bearer-of-the-pilot",
    "PANDA_AUTH_TOKEN_KEY": "key-of-the-pilot",
    "OIDC_REFRESHED_AUTH_TOKEN": "refreshed-of-the-pilot",
    "OIDC_AUTH_ORIGIN": "vo.of-the-pilot",
    "X509_USER_PROXY": "/nowhere/proxy-of-the-pilot",
    "PATH": "/usr/bin:/bin",
}


@scenario("A-13", "I6")
def test_a_payload_sees_nothing_of_what_opens_the_server(stage, pilot, tmp_path):
    key = tmp_path / "token-key"
    key.write_text("key-of-the-pilot")
    stage.submit({**JOB, "script": "env > out.txt; find . -type f -exec cat {} + >> out.txt 2>/dev/null; true"})
    run = pilot(kit={"process": "real", "environ": TOLD}, **{"connection.token_key": str(key), "panda.renew": False})
    assert run.ending.finished == 1, run.story()
    seen = stage.stored("out.txt").decode()
    assert "PANDAID=1" in seen
    assert "of-the-pilot" not in seen
    assert stage.token().read_text().strip() not in seen
    assert str(stage.token()) not in seen
    assert last(stage)["job_status"] == "finished"


RENEWAL = "/api/v1/creds/get_access_token"
EXPIRED = b"ERROR : Token authentication failed. Signature has expired"


def a_token(left_s, mark):
    parts = ({"alg": "none"}, {"exp": time.time() + left_s, "mark": mark})
    return ".".join([*(urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts), "c2ln"])


@pytest.fixture
def renewable(stage, tmp_path):
    """The pilot's token, one that ends later, and what a pilot needs to get that from the stage."""
    old, new, key = a_token(3600, "old"), a_token(7200, "new"), tmp_path / "key"
    key.write_text("key")
    stage.token().write_text(old)
    stage.say(RENEWAL, {"success": False, "message": "not now", "data": None})
    return old, new, {"connection.token_key": str(key)}


@scenario("A-04", "F-12")
def test_a_token_that_is_refused_at_the_end_is_renewed_and_shown(stage, pilot, renewable):
    old, new, settings = renewable
    stage.submit(JOB)
    stage.say(RENEWAL, {"success": True, "message": "", "data": {"user_proxy": new}})
    stage.say(UPDATE["v1"], EXPIRED, 403, when=lambda heard: ends(heard) and old in heard.headers["authorization"])
    run = pilot(**settings)
    assert (run.ending.finished, run.ending.exit_code) == (1, 0), run.story()
    assert stage.token().read_text() == new
    assert [new in each.headers["authorization"] for each in stage.said(UPDATE["v1"]) if ends(each)] == [False, True]


OLD_RENEWAL = "/server/panda/get_access_token"


@scenario("A-06", "T-07")
@pytest.mark.parametrize("speaks", ["v1", "legacy"])
@pytest.mark.parametrize("told", [True, False])
def test_a_token_is_renewed_by_either_generation(stage, pilot, renewable, speaks, told):
    """Found: where the dialect was to be found out, an older server was asked by paths that it did not have."""
    _, new, settings = renewable
    stage.submit(JOB)
    stage.relent()
    path, other = (RENEWAL, OLD_RENEWAL) if speaks == "v1" else (OLD_RENEWAL, RENEWAL)
    given = {"success": True, "data": {"user_proxy": new}} if speaks == "v1" else {"StatusCode": 0, "userProxy": new}
    stage.say(path, given, times=9)
    unknown = (b"ERROR : method get_access_token is forbidden", 403) if speaks == "v1" else (b"not found", 404)
    for gone in (other, *(calls["v1" if speaks == "legacy" else "legacy"] for calls in (ACQUIRE, UPDATE))):
        stage.say(gone, *unknown, times=9)
    run = pilot(**settings, **{"panda.dialect": speaks if told else "auto"})
    assert run.ending.finished == 1, run.story()
    assert stage.token().read_text() == new
    assert len(stage.said(path)) == 1


@scenario("A-07", "A-14", "F-06", "I8")
def test_a_token_that_stays_refused_is_not_shown_again_and_again(stage, pilot, renewable, leaping):
    """The job goes on; its end is tried within its budget, each time with the same token as there is no other."""
    *_, settings = renewable
    stage.submit(JOB)
    stage.refuse(RENEWAL, times=99)
    stage.say(UPDATE["v1"], EXPIRED, 403, times=99)
    run = pilot(kit={"clock": leaping}, **settings)
    assert (run.ending.finished, run.ending.exit_code) == (1, NO_IDENTITY), run.story()
    assert stage.stored("out.txt")
    assert len(stage.said(UPDATE["v1"])) < 16
    assert len(stage.said(RENEWAL)) < 8
