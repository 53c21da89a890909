"""Renewal by a server that gives, refuses and lies; files that end while a job runs; the secrets of a job."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import subprocess
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from attrs import evolve

from pilot_core.builtin.credentials import NAMES, Renewal, Renewing, Watch, login_from, secrets_of
from pilot_core.builtin.panda.dialects import LEGACY, V1
from pilot_core.builtin.panda.speech import Speech
from pilot_core.errors import Code, PilotError
from pilot_core.io.credentials import Credentials
from pilot_core.io.http import Web
from pilot_core.io.http_x509 import ProxyFile
from pilot_core.model.job import Job
from pilot_core.model.payload import Usage
from pilot_core.model.queue import Queue
from pilot_core.redact import SHORTEST, Redactor
from pilot_core.sdk import View

HOUR_S = 3600.0
QUEUE = Queue(name="q")


def jwt(left_s: float, mark: str = "") -> str:
    parts = ({"alg": "none"}, {"exp": time.time() + left_s, "mark": mark})
    return ".".join([*(urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts), "c2ln"])


def write(path: Path, content: str) -> Path:
    path.touch(0o600)
    path.write_text(content)
    return path


def a_proxy(folder: Path, days: int) -> str:
    """One certificate and its key: as far as its dates go, that is a proxy."""
    key = folder / "key"
    request = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    asked = subprocess.run([*request, "-keyout", key, "-subj", "/CN=p"], check=True, capture_output=True).stdout
    signed = ["openssl", "x509", "-req", "-signkey", key, "-days", str(days)]
    made = subprocess.run(signed, input=asked, check=True, capture_output=True).stdout
    return made.decode() + key.read_text()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query or body).items()}
        self.server.shown += [self.headers["Authorization"]] if "Authorization" in self.headers else []
        self.server.queries.append(parts.query or body)
        self.server.asked.append((self.command, parts.path, asked))
        said = json.dumps(self.server.says).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Be silent."""


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.shown: list[str] = []
        self.queries: list[str] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.status = 200
        self.says: object = {}

    def gives(self, credential: str, name: str = NAMES[0]) -> str:
        self.says = {"success": True, "message": "", "data": {name: credential}}
        return credential


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, args=[0.01])
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture
def web(server: Server) -> Iterator[Web]:
    one = Web([server.url])
    yield one
    one.close()


@pytest.fixture
def shown(tmp_path: Path) -> Credentials:
    return Credentials(
        token=write(tmp_path / "token", jwt(10 * HOUR_S, "old")),
        token_key=write(tmp_path / "key", "the key\n"),
        origin="vo",
    )


def asking(web: Web):
    return Speech(web, "v1", 60.0).inquire


def present(shown: Credentials) -> str:
    path = shown.token or shown.proxy
    assert path
    return path.read_text()


# --- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_token_is_renewed_under_whatever_name_it_comes(server, web, shown, name):
    """server:A-06"""
    token = server.gives(jwt(20 * HOUR_S), name)
    assert Renewal(asking(web), shown, Renewing()).renew(QUEUE) == HOUR_S
    assert server.asked == [("GET", V1.calls["token"], {"client_name": "pilot_server", "token_key": "the key"})]
    assert present(shown) == token
    assert stat.S_IMODE(shown.token.stat().st_mode) == 0o600


def test_an_older_server_is_asked_in_its_own_words(server, web, shown):
    token = jwt(20 * HOUR_S)
    server.says = {"StatusCode": 0, "userProxy": token, "errorDialog": ""}
    Renewal(Speech(web, "legacy", 60.0).inquire, shown, Renewing()).renew(QUEUE)
    assert server.asked == [("POST", LEGACY.calls["token"], {"client_name": "pilot_server", "token_key": "the key"})]
    assert present(shown) == token


@pytest.mark.parametrize(
    ("status", "says", "told"),
    [
        (500, {}, "with status 500"),
        (200, {"success": False, "message": "failed since token key is invalid"}, "token key is invalid"),
        (200, {"StatusCode": 90, "userProxy": "", "errorDialog": "no token"}, "says: no token"),
        (200, {"success": False, "message": "no", "data": {"user_proxy": "TOKEN"}}, "says: no"),
        (200, {"StatusCode": 70, "userProxy": "TOKEN"}, "gives none"),
        (200, ["nonsense"], "nonsense"),
        (200, {"success": True, "data": {"user_proxy": "a.b.c"}}, "malformed"),
        (200, {"success": True, "data": {"user_proxy": jwt(HOUR_S)}}, "ends no later"),
    ],
)
def test_a_server_that_has_nothing_better_changes_nothing(server, web, shown, caplog, status, says, told):
    """server:A-05 server:A-07"""
    caplog.set_level(logging.INFO)
    before = present(shown)
    server.status, server.says = status, json.loads(json.dumps(says).replace("TOKEN", jwt(20 * HOUR_S)))
    assert Renewal(asking(web), shown, Renewing()).renew(QUEUE) == HOUR_S
    assert present(shown) == before
    assert told in caplog.text
    assert f"token {shown.token}" in caplog.text


def test_a_key_or_a_directory_that_cannot_be_used_is_named(server, web, shown, caplog, tmp_path):
    key = Credentials(token=shown.token, token_key=tmp_path / "gone")
    Renewal(asking(web), key, Renewing()).renew(QUEUE)
    assert f"token key {tmp_path}/gone: cannot be read" in caplog.text
    server.gives(jwt(20 * HOUR_S))
    away = Credentials(token=tmp_path / "away" / "token", token_key=shown.token_key)
    Renewal(asking(web), away, Renewing()).renew(QUEUE)
    assert "its file cannot be written: No such file" in caplog.text


@pytest.mark.parametrize(
    ("how", "catchall", "key"),
    [(Renewing(tokens=False), "", True), (Renewing(), "a,no_token_renewal,b", True), (Renewing(), "", False)],
)
def test_nothing_is_renewed_where_nobody_wants_or_can(server, web, shown, how, catchall, key):
    shown = shown if key else Credentials(token=shown.token)
    queue = Queue(name="q", params={"catchall": catchall})
    assert Renewal(asking(web), shown, how).renew(queue) is None
    assert server.asked == []


@pytest.mark.parametrize(
    ("left_s", "next_s"), [(10 * HOUR_S, HOUR_S), (HOUR_S, HOUR_S / 2), (10, 60), (-HOUR_S, HOUR_S), (None, HOUR_S)]
)
def test_it_is_tried_more_often_towards_the_end(server, web, shown, left_s, next_s):
    shown.token.write_text("opaque" if left_s is None else jwt(left_s))
    assert Renewal(asking(web), shown, Renewing()).renew(QUEUE) == pytest.approx(next_s, abs=5)


def test_a_token_that_is_refused_is_renewed_once_and_not_for_ever(server, web, shown):
    """server:A-04 server:A-14"""
    renewal, old = Renewal(asking(web), shown, Renewing()), present(shown)
    new = server.gives(jwt(20 * HOUR_S))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(renewal.retry, [old] * 4)) == [True] * 4
    assert renewal.present() == new
    assert [renewal.retry(new) for _ in range(3)] == [False] * 3
    assert len(server.asked) == 2
    shown.token.write_text("brought by somebody else")
    assert renewal.retry(new) is True
    assert len(server.asked) == 2


def test_a_refusal_says_which_file_and_since_when(web, shown, tmp_path):
    refused = PilotError(Code.NOPROXY, "not accepted", permanent=True)
    assert Renewal(asking(web), shown, Renewing()).explained(refused) is refused
    shown.token.write_text(jwt(-2 * HOUR_S))
    told = Renewal(asking(web), shown, Renewing()).explained(refused)
    assert told.code is Code.NOPROXY
    assert told.facts["permanent"] is True
    assert f"token {shown.token} has expired, 2:00 h ago" in told.detail
    assert "not accepted" in told.detail
    other = PilotError(Code.COMMUNICATIONFAILURE, "down")
    assert Renewal(asking(web), shown, Renewing()).explained(other) is other


def linked(path: Path) -> Path:
    """The file by a link of two steps, as Kubernetes lays secrets out."""
    (path.parent / "..data").symlink_to(path.parent)
    (path.parent / "linked").symlink_to(Path("..data") / path.name)
    return path.parent / "linked"


@pytest.fixture
def mounted(monkeypatch):
    """The file as one that was mounted alone: it can be written, and never replaced."""

    def mount(path: Path) -> Path:
        replace = os.replace

        def refuse(new, old):
            if Path(old) == path:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
            replace(new, old)

        monkeypatch.setattr(os, "replace", refuse)
        return path

    return mount


@pytest.mark.parametrize("by_link", [True, False])
def test_what_is_renewed_for_a_file_of_somebody_elses_is_kept_by_the_pilot(
    server, shown, tmp_path, by_link, mounted, caplog
):
    """server:A-08 (a link, or a file that cannot be replaced)"""
    caplog.set_level(logging.INFO)
    own, old = linked(shown.token) if by_link else mounted(shown.token), present(shown)
    asked = Web([server.url], token=own, renewed=tmp_path / "renewed")
    shown = evolve(shown, token=own, renewed=tmp_path / "renewed")
    new = server.gives(jwt(20 * HOUR_S))
    renewal = Renewal(asking(asked), shown, Renewing())
    for _ in range(2):
        renewal.renew(QUEUE)
    assert server.shown == [f"Bearer {old}", f"Bearer {new}"]
    assert (renewal.present(), own.read_text()) == (new, old)
    (kept,) = (tmp_path / "renewed").iterdir()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert f"token {own} is renewed; its file is left alone, and {kept} counts instead" in caplog.text
    assert new not in caplog.text
    asked.close()


def test_whoever_puts_another_token_there_is_heard_again(server, web, shown, tmp_path):
    own = linked(shown.token)
    shown = evolve(shown, token=own, renewed=tmp_path / "renewed")
    server.gives(jwt(20 * HOUR_S))
    renewal = Renewal(asking(web), shown, Renewing())
    renewal.renew(QUEUE)
    theirs = jwt(5 * HOUR_S, "brought by the site")
    own.write_text(theirs)
    assert renewal.present() == theirs
    last = server.gives(jwt(30 * HOUR_S))
    renewal.renew(QUEUE)
    assert (renewal.present(), own.read_text()) == (last, theirs)
    assert len(list((tmp_path / "renewed").iterdir())) == 1


def test_without_a_place_for_it_a_link_leads_where_it_did_and_it_is_said_what_would_help(server, web, shown, caplog):
    own, old = linked(shown.token), present(shown)
    server.gives(jwt(20 * HOUR_S))
    Renewal(asking(web), evolve(shown, token=own), Renewing()).renew(QUEUE)
    assert (own.is_symlink(), own.read_text()) == (True, old)
    assert "connection.renewed_dir names another place" in caplog.text


# --- proxies --------------------------------------------------------------------------------------------------------


def test_a_proxy_is_renewed_with_its_role_and_never_without(server, web, tmp_path):
    shown = Credentials(proxy=write(tmp_path / "proxy", a_proxy(tmp_path, 1)))
    assert Renewal(asking(web), shown, Renewing()).renew(QUEUE) is None
    assert server.asked == []
    longer = server.gives(a_proxy(tmp_path, 4))
    assert Renewal(asking(web), shown, Renewing(role="vo:/vo/Role=production")).renew(QUEUE) == HOUR_S
    assert server.asked == [("GET", V1.calls["proxy"], {"role": "vo:/vo/Role=production"})]
    assert present(shown) == longer
    server.gives(a_proxy(tmp_path, 2))
    Renewal(asking(web), shown, Renewing(role="vo")).renew(QUEUE)
    assert present(shown) == longer


def test_a_proxy_by_a_link_is_renewed_beside_it(server, web, tmp_path):
    real = write(tmp_path / "proxy", a_proxy(tmp_path, 1))
    shown = Credentials(proxy=linked(real), renewed=tmp_path / "renewed")
    longer, before = server.gives(a_proxy(tmp_path, 4)), real.read_text()
    Renewal(asking(web), shown, Renewing(role="vo")).renew(QUEUE)
    assert (shown.place.read_text(), real.read_text()) == (longer, before)
    assert shown.ends() > time.time() + 3 * 86400
    assert ProxyFile(shown.proxy, shown.renewed).place == shown.place


def test_a_proxy_of_somebody_else_is_given_if_it_is_one(server, web, shown, tmp_path):
    renewal = Renewal(asking(web), shown, Renewing())
    server.says = {"success": False, "message": "not found"}
    with pytest.raises(PilotError, match="says: not found"):
        renewal.fetch_proxy(role="vo", dn="someone")
    server.gives("no proxy")
    with pytest.raises(PilotError, match="it holds no certificate"):
        renewal.fetch_proxy()
    proxy = server.gives(a_proxy(tmp_path, 4))
    assert renewal.fetch_proxy(role="vo", dn="someone") == proxy
    assert server.asked == [
        ("GET", V1.calls["proxy"], {"role": "vo", "dn": "someone"}),
        ("GET", V1.calls["proxy"], {}),
        ("GET", V1.calls["proxy"], {"role": "vo", "dn": "someone"}),
    ]


# --- what else the server keeps -------------------------------------------------------------------------------------

KEPT = {"MB_USERNAME": "pilot", "MB_PASSWORD": "friend", "OTHER": "else"}


@pytest.mark.parametrize(("older", "says", "login"), [
    (False, {"success": True, "data": json.dumps(KEPT)}, ("pilot", "friend")),
    (False, {"success": True, "data": KEPT}, ("pilot", "friend")),
    (False, {"success": True, "data": "{}"}, ("", "")),
    (False, {"success": True, "data": '{"MB_USERNAME": "pilot"}'}, ("pilot", "")),
    (False, {"success": False, "data": None, "message": "none"}, ("", "")),
    (False, {"success": True, "data": "half {"}, ("", "")),
    (True, [True, KEPT], ("pilot", "friend")),
    (True, [False, "no such user"], ("", "")),
    (True, [], ("", "")),
])  # fmt: skip
def test_what_opens_the_message_broker_is_kept_by_the_server(server, web, older, says, login):
    """server:M-05, server:T-13 (a list of keys)"""
    server.says = says
    assert login_from(Speech(web, "legacy" if older else "v1", 60.0).inquire) == login
    ((method, path, _),) = server.asked
    assert (method, path.rpartition("/")[2]) == ("POST" if older else "GET", "get_user_secrets")
    keys = "keys=MB_USERNAME%2CMB_PASSWORD&get_json=True" if older else "keys=MB_USERNAME&keys=MB_PASSWORD"
    assert server.queries == [keys]


# --- watching -------------------------------------------------------------------------------------------------------


@pytest.fixture
def view(tmp_path: Path) -> View:
    return View(job=Job(id="1"), queue=QUEUE, workdir=tmp_path, usage=Usage(), running_s=0.0, mono=0.0)


def test_an_end_is_told_before_it_comes_and_when_it_came_once_each(make, view, shown, caplog):
    caplog.set_level(logging.INFO)
    watch = make(Watch, connection={"token": str(shown.token)})
    said = []
    for left_s in (10 * HOUR_S, 2 * HOUR_S, HOUR_S, -HOUR_S, -2 * HOUR_S, 10 * HOUR_S):
        caplog.clear()
        shown.token.write_text(jwt(left_s))
        reading = watch.look(view)
        assert reading.measures["credential_left_s"] == pytest.approx(left_s, abs=10)
        assert reading.breach is None
        said.append([record.getMessage() for record in caplog.records])
    assert [len(each) for each in said] == [0, 1, 0, 1, 0, 1]
    assert f"token {shown.token} ends in 2:00 h" in said[1][0]
    assert f"token {shown.token} has expired, 1:00 h ago" in said[3][0]
    assert "is good again" in said[5][0]


def test_a_job_is_stopped_only_where_that_is_wanted(make, view, shown):
    watch = make(Watch, connection={"token": str(shown.token)}, credentials={"stop_s": "90 min"})
    shown.token.write_text(jwt(-HOUR_S))
    assert watch.look(view).breach is None
    shown.token.write_text(jwt(-2 * HOUR_S))
    breach = watch.look(view).breach
    assert breach.code.number == 1163
    assert "name another with connection.token" in breach.detail


def test_a_file_that_is_gone_is_told_once_and_what_says_nothing_is_not_watched(make, view, shown, caplog):
    watch = make(Watch, connection={"token": str(shown.token)})
    shown.token.write_text("opaque")
    assert not watch.look(view).measures
    assert caplog.records == []
    shown.token.unlink()
    for _ in range(3):
        assert watch.look(view).breach is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{shown.token}: cannot be read" in caplog.text


# --- secrets --------------------------------------------------------------------------------------------------------


def test_every_secret_of_a_raw_job_is_learnt():
    logins = json.dumps([{"username": "jane", "token": "t0ps3cret", "registry_path": "docker://host/path"}])
    raw = {
        "PandaID": 1,
        "secrets": json.dumps(
            {
                "MY_TOKEN": 'with"quote',
                "DOCKER_TOKENS": logins,
                "PIN": 123456,
                "host": "of-the-owner",
                "ON": True,
                "X": None,
            }
        ),
        "pilotSecrets": json.dumps({"logging": {"password": "nested", "short": "abc", "flag": "true"}}),
        "jobPars": "nothing secret",
    }
    redactor = Redactor(each for each in secrets_of(raw) if len(each) >= SHORTEST)
    for secret in ('with"quote', "t0ps3cret", "123456", "nested"):
        assert redactor.knows(f"a text with {secret} in it"), secret
    scrubbed = redactor.scrub(json.dumps(raw) + repr(raw))
    assert not any(secret in scrubbed for secret in ("quote", "t0ps3cret", "123456", "nested", "of-the-owner"))
    harmless = "abc true nothing secret of jane at docker://host/path"
    assert redactor.scrub(harmless) == harmless


@pytest.mark.parametrize("secrets", [None, "", "NULL", "{}", True, 5, "null", [], {"a": None}])
def test_a_job_without_secrets_has_none(secrets):
    assert list(secrets_of({"secrets": secrets})) == (["5"] if secrets == 5 else [])


@pytest.mark.parametrize("secrets", ['{"half": "a sec', "[" * 100_000, "plain text"])
def test_secrets_that_cannot_be_read_are_secret_as_they_are(secrets):
    assert list(secrets_of({"secrets": secrets})) == [secrets]


def test_secrets_that_are_no_text_are_found_too():
    assert list(secrets_of({"pilotSecrets": {"a": ["one-secret", {"b": "another"}]}})) == ["one-secret", "another"]
