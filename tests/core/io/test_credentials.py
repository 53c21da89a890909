"""Which credential is shown, until when it is good, and what replaces it: files and environments as they are met."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import threading
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE, Connection
from pilot_core.errors import Code
from pilot_core.io.credentials import Credentials, credential_problems, find_credentials, replace_proxy, replace_token
from pilot_core.io.http_token import expiry, span

HOUR_S = 3600.0


def jwt(ends: object, mark: str = "") -> str:
    parts = ({"alg": "none"}, {"exp": ends, "mark": mark} if ends is not None else {"mark": mark})
    return ".".join([*(urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts), "c2ln"])


def write(path: Path, content: str) -> Path:
    path.touch(0o600)
    path.write_text(content)
    return path


def a_proxy(path: Path, days: int = 1, name: str = "proxy") -> Path:
    """One certificate and its key: as far as its dates go, that is a proxy."""
    made = path.with_suffix(".made")
    request = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    signed = ["openssl", "x509", "-req", "-signkey", made, "-days", str(days)]
    asked = subprocess.run([*request, "-keyout", made, "-subj", f"/CN={name}"], check=True, capture_output=True)
    certificate = subprocess.run(signed, input=asked.stdout, check=True, capture_output=True)
    write(path, certificate.stdout.decode() + made.read_text())
    made.unlink()
    return path


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    return tmp_path / "no-proxy-here"


# --- which ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["OIDC_AUTH_TOKEN", "PANDA_AUTH_TOKEN"])
@pytest.mark.parametrize("folder", ["OIDC_AUTH_DIR", "PANDA_AUTH_DIR", "PILOT_SOURCE_DIR", "PILOT_WORK_DIR", "HOME"])
def test_the_older_pilots_variables_name_files(tmp_path, nowhere, name, folder):
    token, key = write(tmp_path / "the.token", "x"), write(tmp_path / "the.key", "k")
    environ = {name: "the.token", "PANDA_AUTH_TOKEN_KEY": "the.key", "PANDA_AUTH_ORIGIN": "vo.role"}
    found = find_credentials(Connection(), {**environ, folder: str(tmp_path)}, nowhere)
    assert (found.token, found.token_key, found.origin) == (token, key, "vo.role")


def test_a_token_lies_beside_the_proxy_where_no_directory_is_named(tmp_path, nowhere):
    token = write(tmp_path / "token", "x")
    environ = {"OIDC_AUTH_TOKEN": "token", "OIDC_AUTH_ORIGIN": "vo", "X509_USER_PROXY": str(tmp_path / "proxy")}
    assert find_credentials(Connection(), environ, nowhere).token == token
    assert find_credentials(Connection(), {**environ, "OIDC_AUTH_DIR": "/nowhere"}, nowhere).token is None


def test_a_token_that_was_refreshed_comes_before_the_one_it_came_from(tmp_path, nowhere):
    old, new = write(tmp_path / "old", "x"), write(tmp_path / "new", "y")
    environ = {"OIDC_AUTH_TOKEN": str(old), "OIDC_AUTH_ORIGIN": "vo", "OIDC_REFRESHED_AUTH_TOKEN": str(new)}
    assert find_credentials(Connection(), environ, nowhere).token == new
    new.unlink()
    assert find_credentials(Connection(), environ, nowhere).token == old


def test_an_option_comes_before_any_variable(tmp_path, nowhere):
    named, other = write(tmp_path / "named", "x"), write(tmp_path / "other", "y")
    environ = {"OIDC_AUTH_TOKEN": str(other), "OIDC_AUTH_ORIGIN": "theirs", "X509_USER_PROXY": str(other)}
    found = find_credentials(Connection(token=named, origin="ours"), environ, nowhere)
    assert (found.token, found.origin, found.proxy) == (named, "ours", None)
    assert find_credentials(Connection(token=named), {}, nowhere).token == named


def test_without_an_origin_the_proxy_is_shown_and_without_a_proxy_it_is_said_why_not(tmp_path, nowhere):
    """server:A-02"""
    token, proxy = write(tmp_path / "token", "x"), a_proxy(tmp_path / "proxy")
    found = find_credentials(Connection(), {"OIDC_AUTH_TOKEN": str(token), "X509_USER_PROXY": str(proxy)}, nowhere)
    assert (found.token, found.proxy) == (None, proxy)
    assert found.problem(time.time()) is None
    without = find_credentials(Connection(), {"OIDC_AUTH_TOKEN": str(token)}, nowhere)
    problem = without.problem(time.time())
    assert problem is not None
    assert problem.code is Code.NOPROXY
    assert "$OIDC_AUTH_ORIGIN" in problem.detail


def test_a_token_that_is_not_where_it_should_be_is_named(tmp_path, nowhere):
    environ = {"PANDA_AUTH_TOKEN": "gone", "HOME": str(tmp_path), "PANDA_AUTH_ORIGIN": "vo"}
    problem = find_credentials(Connection(), environ, nowhere).problem(0.0)
    assert f"$PANDA_AUTH_TOKEN: there is no file gone in {tmp_path}" in str(problem)


def test_the_usual_proxy_is_the_last_to_be_thought_of(tmp_path):
    usual, named = a_proxy(tmp_path / "usual"), tmp_path / "named"
    assert find_credentials(Connection(), {}, usual).proxy == usual
    assert find_credentials(Connection(), {"X509_USER_PROXY": str(named)}, usual).proxy == named
    assert find_credentials(Connection(token=named), {}, usual).proxy is None
    assert find_credentials(Connection(), {}, tmp_path / "gone").proxy is None


def test_authorities_are_taken_from_the_environment_only_if_they_are_there(tmp_path, nowhere):
    environ = {"X509_CERT_DIR": str(tmp_path)}
    assert find_credentials(Connection(), environ, nowhere).ca_path == tmp_path
    assert find_credentials(Connection(), {"X509_CERT_DIR": str(nowhere)}, nowhere).ca_path is None
    assert find_credentials(Connection(ca_file=nowhere), environ, nowhere).ca_path is None


# --- until when -----------------------------------------------------------------------------------------------------


def test_an_expired_credential_is_named_with_its_file_and_its_age(tmp_path):
    now = time.time()
    token = Credentials(token=write(tmp_path / "token", jwt(now - 3 * HOUR_S)))
    told = str(token.problem(now))
    assert re.search(rf"token {tmp_path}/token has expired, 3:00 h ago; .* --token-file", told.replace("(", " "))
    proxy = Credentials(proxy=a_proxy(tmp_path / "proxy"))
    assert proxy.problem(now) is None
    assert f"proxy {tmp_path}/proxy: has expired, 1 day, 0:" in str(proxy.problem(now + 48 * HOUR_S))
    assert token.expired(0).code is Code.NOPROXY


@pytest.mark.parametrize("content", ["opaque", jwt(None), jwt("soon"), jwt(True)])
def test_a_token_that_does_not_say_when_it_ends_is_the_servers_to_judge(tmp_path, content):
    shown = Credentials(token=write(tmp_path / "token", content))
    assert shown.ends() is None
    assert shown.problem(time.time()) is None


def test_an_unreadable_credential_is_a_problem(tmp_path):
    for shown in (Credentials(token=tmp_path / "gone"), Credentials(proxy=tmp_path / "gone")):
        problem = shown.problem(0.0)
        assert problem is not None
        assert problem.code is Code.NOPROXY
        assert f"{tmp_path}/gone: cannot be read" in problem.detail
    assert Credentials().problem(0.0) is None


def test_a_node_is_checked_only_for_the_server_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("OIDC_AUTH_TOKEN", str(write(tmp_path / "token", jwt(1.0))))
    monkeypatch.setenv("OIDC_AUTH_ORIGIN", "vo")

    def problems(*urls: str) -> list[str]:
        merged = Schema(CORE).merge(Layer(Rank.SITE, "the test", {"connection": {"url": list(urls)}}))
        return [each.detail for each in credential_problems(merged)]

    assert "has expired" in problems("https://server.example.org")[0]
    assert problems() == problems("http://localhost:1") == []


@given(st.text() | st.builds(jwt, st.none() | st.booleans() | st.text() | st.floats() | st.integers()))
def test_no_token_is_too_strange_to_be_asked_for_its_end(text):
    ends = expiry(text)
    assert ends is None or isinstance(ends, float)


@pytest.mark.parametrize(
    ("time_s", "told"), [(0, "0 min"), (-5, "0 min"), (720, "12 min"), (3600, "1:00 h"), (97200, "1 day, 3:00 h")]
)
def test_a_time_is_told_as_people_do(time_s, told):
    assert span(time_s) == told


# --- replaced -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_s", "present_s", "why"),
    [
        (2, 1, ""),
        (2, -1, ""),
        (2, None, ""),
        (1, 1, "ends no later"),
        (1, 2, "ends no later"),
        (-1, -2, "has expired, 1:00 h ago"),
    ],
)
def test_a_token_is_replaced_only_by_one_that_lasts_longer(tmp_path, given_s, present_s, why):
    """server:A-05"""
    now = 1e9
    path = write(tmp_path / "token", "opaque" if present_s is None else jwt(now + present_s * HOUR_S, "present"))
    before, token = path.read_text(), jwt(now + given_s * HOUR_S, "given")
    said = replace_token(path, token, now)
    assert why in said
    assert bool(why) is bool(said)
    assert path.read_text() == (before if why else token)


@pytest.mark.parametrize("token", ["", "x", "a.b.c", jwt(None), jwt(9e9) + "\n", jwt(9e9)[:20], "a." + jwt(9e9)])
def test_what_is_no_token_replaces_nothing(tmp_path, token):
    path = write(tmp_path / "token", jwt(1.0))
    assert replace_token(path, token, 0.0) == "it is malformed"
    assert path.read_text() == jwt(1.0)


def test_a_reader_never_sees_a_part_of_a_token_and_others_never_see_any(tmp_path):
    """server:A-08"""
    path, over, seen = write(tmp_path / "token", jwt(1)), threading.Event(), set()

    def watch() -> None:
        while not over.is_set():
            seen.add((path.read_text(), stat.S_IMODE(path.stat().st_mode)))

    watching = threading.Thread(target=watch)
    watching.start()
    tokens = [jwt(ends, "x" * 5000) for ends in range(10, 200)]
    assert [replace_token(path, token, 0.0) for token in tokens] == [""] * len(tokens)
    over.set()
    watching.join()
    assert seen <= {(token, 0o600) for token in (jwt(1), *tokens)}
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_a_proxy_is_replaced_only_by_one_that_lasts_longer(tmp_path):
    short, long = a_proxy(tmp_path / "short", 2).read_text(), a_proxy(tmp_path / "long", 3).read_text()
    path, now = tmp_path / "proxy", time.time()
    assert replace_proxy(path, short, now) == ""
    assert replace_proxy(path, long, now) == ""
    assert replace_proxy(path, short, now) == "it ends no later than the present one"
    assert replace_proxy(path, "nothing", now) == "it holds no certificate"
    assert "it has expired" in replace_proxy(path, long, now + 96 * HOUR_S)
    assert path.read_text() == long
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_found_is_told_in_a_word(tmp_path):
    shown = Credentials(token=tmp_path / "t")
    assert [str(each) for each in (shown, Credentials(proxy=tmp_path / "p"), evolve(shown, token=None))] == [
        f"token {tmp_path}/t",
        f"proxy {tmp_path}/p",
        "no credential",
    ]
