"""Proxies as real clients have them, made by the openssl program, shown to servers that look at them."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilot_core.config.layers import Layer, Rank, Schema
from pilot_core.config.schema import CORE
from pilot_core.errors import Code, PilotError
from pilot_core.io.http import Web
from pilot_core.io.http_shared import web_of
from pilot_core.io.http_x509 import ProxyFile, read_proxy

ALLOW_PROXIES = 0x40
DAY_S = 86400.0
CONFIG = """\
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[person]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[proxy]
proxyCertInfo = critical, language:id-ppl-inheritAll
keyUsage = critical, digitalSignature
[limited]
proxyCertInfo = critical, language:1.3.6.1.4.1.3536.1.1.1.9
keyUsage = critical, digitalSignature
"""


def openssl(*arguments: object, text: str = "") -> str:
    run = subprocess.run(["openssl", *map(str, arguments)], input=text, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


class Authority:
    """Somebody who issues certificates, and persons who issue proxies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "config").write_text(CONFIG)
        self.certificate, self.key = self._issue("ca", "/O=Grid/CN=Authority", "ca")
        self.person, self.person_key = self._issue("person", "/O=Grid/CN=Jane Doe", "person", by="ca")
        certificate, key = self._issue("server", "/O=Grid/CN=localhost", "server", by="ca")
        self.server = folder / "server"
        self.server.write_text(certificate.read_text() + key.read_text())

    def proxy(self, path: Path, name: str = "1234567", kind: str = "proxy", days: int = 1) -> Path:
        """A proxy of the person's, its key and its chain, in the order in which they are written everywhere."""
        certificate, key = self._issue("made", f"/O=Grid/CN=Jane Doe/CN={name}", kind, by="person", days=days)
        path.touch(0o600)
        path.write_text(certificate.read_text() + key.read_text() + self.person.read_text())
        return path

    def _issue(self, name: str, subject: str, kind: str, by: str = "", days: int = 30) -> tuple[Path, Path]:
        request, key, made = (self.folder / f"{name}.{end}" for end in ("request", "key", "pem"))
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key]
        config = self.folder / "config"
        openssl("req", "-new", *new, "-config", config, "-subj", subject, "-out", request)
        signer = ["-CA", self.folder / f"{by}.pem", "-CAkey", self.folder / f"{by}.key"] if by else ["-signkey", key]
        sign = ["-req", "-in", request, *signer, "-days", days, "-extfile", config, "-extensions", kind]
        openssl("x509", *sign, "-set_serial", time.time_ns(), "-out", made)
        return made, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def proxy(authority: Authority, tmp_path: Path) -> Path:
    return authority.proxy(tmp_path / "proxy")


class Handler(BaseHTTPRequestHandler):
    """Answers with what it saw of its client."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        shown = self.connection.getpeercert() or {}  # type: ignore[attr-defined]
        names = [value for part in shown.get("subject", ()) for name, value in part if name == "commonName"]
        self.server.seen += 1
        body = json.dumps({"names": names, "token": self.headers.get("Authorization")}).encode()
        self.send_response(200 if self.path == "/who" else 307)
        self.send_header("Location", self.server.elsewhere)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent."""


class Server(ThreadingHTTPServer):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.context = context
        self.url = f"https://127.0.0.1:{self.server_port}"
        self.elsewhere = ""
        self.accepted = self.seen = 0

    def get_request(self):
        sock, place = super().get_request()
        self.accepted += 1
        return self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), place

    def handle_error(self, *_: object) -> None:
        """Refused handshakes are what is tested."""


Serve = Callable[..., Server]


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    """``serve(verify=..., flags=...)``: a server that looks at its clients."""
    running: list[tuple[Server, threading.Thread]] = []

    def begin(verify: ssl.VerifyMode = ssl.CERT_REQUIRED, flags: int = ALLOW_PROXIES) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.server)
        context.load_verify_locations(authority.certificate)
        context.verify_mode = verify
        context.verify_flags |= flags
        server = Server(context)
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        running.append((server, thread))
        return server

    yield begin
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def make(serve: Serve, authority: Authority) -> Iterator[Callable[..., Web]]:
    """Sessions that are closed before the servers are, as those wait for their clients."""
    made: list[Web] = []

    def begin(server: Server, **options: object) -> Web:
        options = {"ca_file": authority.certificate, **options}
        made.append(Web([server.url], **options))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for web in made:
        web.close()


def names(web: Web, path: str = "/who") -> list[str]:
    answer = web.call("GET", path, limit_s=20).json()
    assert isinstance(answer, dict)
    return answer["names"]


def refusal(web: Web) -> PilotError:
    with pytest.raises(PilotError) as raised:
        web.call("GET", "/who", limit_s=20)
    return raised.value


# --- shown to servers -----------------------------------------------------------------------------------------------


def test_a_proxy_is_shown_with_its_chain_and_its_connection_kept(serve, make, proxy):
    server = serve()
    web = make(server, proxy=proxy)
    for _ in range(3):
        assert names(web) == ["Jane Doe", "1234567"]
    assert server.accepted == 1


def test_a_proxy_that_was_replaced_is_shown_from_the_next_request_on(serve, make, authority, proxy):
    """server:A-03"""
    server = serve()
    web = make(server, proxy=proxy)
    assert names(web) == ["Jane Doe", "1234567"]
    authority.proxy(proxy.with_name("new"), name="7654321").replace(proxy)
    assert names(web) == ["Jane Doe", "7654321"]
    assert names(web) == ["Jane Doe", "7654321"]
    assert server.accepted == 2


def test_a_proxy_is_shown_to_its_own_server_alone(serve, make, proxy):
    server, other = serve(), serve(ssl.CERT_OPTIONAL)
    web = make(server, proxy=proxy)
    server.elsewhere = f"{other.url}/who"
    assert names(web, "/elsewhere") == []
    assert names(web, f"{other.url}/who") == []
    assert names(web) == ["Jane Doe", "1234567"]


def test_a_proxy_is_shown_to_a_server_that_is_known_by_its_fingerprint(serve, make, authority, proxy):
    pem = re.search(r"-----BEGIN CERT.+?-----END CERTIFICATE-----", authority.server.read_text(), re.DOTALL)
    assert pem
    pin = sha256(ssl.PEM_cert_to_DER_cert(pem[0])).hexdigest()
    assert names(make(serve(), proxy=proxy, fingerprint=pin, ca_file=None)) == ["Jane Doe", "1234567"]


def session(server: Server, authority: Authority, **connection: str) -> Web:
    told = {"url": [server.url], "ca_file": str(authority.certificate), **connection}
    return web_of(Schema(CORE).merge(Layer(Rank.SITE, "the test", {"connection": told})))


def test_with_a_token_no_certificate_is_shown(serve, authority, proxy, tmp_path, monkeypatch):
    """server:A-01"""
    server, token = serve(ssl.CERT_OPTIONAL), tmp_path / "token"
    token.touch(0o600)
    token.write_text("a-token")
    monkeypatch.setenv("X509_USER_PROXY", str(proxy))
    with_token = session(server, authority, token=str(token), origin="vo")
    assert with_token.call("GET", "/who").json() == {"names": [], "token": "Bearer a-token"}
    with_token.close()
    without = session(server, authority)
    assert without.call("GET", "/who").json() == {"names": ["Jane Doe", "1234567"], "token": None}
    without.close()


# --- refused --------------------------------------------------------------------------------------------------------


def test_an_expired_proxy_is_named_and_not_shown(serve, make, authority, tmp_path):
    server, path = serve(), tmp_path / "expired"
    error = refusal(make(server, proxy=authority.proxy(path, days=-1)))
    assert error.code is Code.NOPROXY
    assert re.search(rf"proxy {path}: has expired, 1 day, 0:0\d h ago .*connection\.proxy", error.detail)
    assert error.facts["sent"] is False
    assert server.accepted == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: path.unlink(), r"cannot be read \(No such file"),
        (lambda path: path.chmod(0o644), "chmod 600"),
        (lambda path: path.write_text("nothing"), "holds no certificate;"),
        (lambda path: path.write_text(path.read_text().replace("PRIVATE", "OTHER")), "holds no key;"),
        (lambda path: path.write_text(re.sub("MII.{40}", "MIIAAAA", path.read_text())), "that cannot be read;"),
    ],
)
def test_a_file_that_is_no_proxy_is_named(serve, make, proxy, change, told):
    change(proxy)
    error = refusal(make(serve(), proxy=proxy))
    assert error.code is Code.NOPROXY
    assert re.search(rf"proxy {proxy}: .*{told}", error.detail)


@pytest.mark.parametrize("key", ["another's", "locked"])
def test_a_key_that_cannot_be_used_is_told_and_no_password_asked_for(serve, make, authority, proxy, key):
    locked = openssl("pkcs8", "-topk8", "-in", proxy, "-passout", "pass:secret")
    own = re.compile(r"-----BEGIN PRIVATE.+?PRIVATE KEY-----\n", re.DOTALL)
    proxy.write_text(own.sub(locked if key == "locked" else authority.person_key.read_text(), proxy.read_text()))
    assert "belong together" in refusal(make(serve(), proxy=proxy)).detail


def test_a_server_that_wants_a_certificate_says_which_option_gives_one(serve, make):
    error = refusal(make(serve()))
    assert error.code is Code.NOPROXY
    assert "name a proxy with connection.proxy" in error.detail


@pytest.mark.parametrize(("kind", "told"), [("proxy", "see who issued it"), ("limited", "it is a limited one")])
def test_a_server_that_takes_no_such_proxy_is_understood(serve, make, authority, tmp_path, kind, told):
    path = authority.proxy(tmp_path / "proxy", kind=kind)
    server = serve(flags=0)
    error = refusal(make(server, proxy=path))
    assert error.code is Code.NOPROXY
    assert f"does not take the proxy {path}" in error.detail
    assert told in error.detail
    assert server.seen == 0


# --- authorities ----------------------------------------------------------------------------------------------------


def test_a_directory_of_authorities_is_believed_as_soon_as_they_are_in_it(serve, make, authority, proxy, tmp_path):
    folder = tmp_path / "certificates"
    folder.mkdir()
    web = make(serve(), proxy=proxy, ca_file=None, ca_path=folder)
    assert refusal(web).facts["cause"] == "certificate"
    (folder / "authority.pem").write_bytes(authority.certificate.read_bytes())
    openssl("rehash", folder)
    assert names(web) == ["Jane Doe", "1234567"]


def test_a_directory_that_is_not_there_is_named(serve, make, tmp_path):
    error = refusal(make(serve(), ca_path=tmp_path / "gone"))
    assert f"connection.ca_path {tmp_path / 'gone'}: there is no such directory" in error.detail


# --- what is read of a proxy ----------------------------------------------------------------------------------------


def test_a_chain_ends_with_the_first_of_its_certificates(authority, tmp_path):
    path = authority.proxy(tmp_path / "proxy", days=3)
    read = ProxyFile(path).read()
    assert [each.name for each in read.chain] == ["1234567", "Jane Doe"]
    told = openssl("x509", "-noout", "-enddate", "-in", path).strip()
    ends = datetime.strptime(told, "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
    assert read.ends == ends.timestamp()
    longer = ProxyFile(authority.proxy(tmp_path / "longer", days=100)).read()
    assert longer.ends - time.time() < 31 * DAY_S


@pytest.mark.parametrize(
    ("name", "kind", "limited"),
    [("1234567", "proxy", False), ("1234567", "limited", True), ("limited proxy", "person", True)],
)
def test_both_marks_of_a_limited_proxy_are_known(authority, tmp_path, name, kind, limited):
    assert ProxyFile(authority.proxy(tmp_path / "proxy", name, kind)).read().limited is limited


def test_a_time_after_2049_is_read(authority, tmp_path):
    made, key = authority._issue("late", "/CN=late", "person", by="ca", days=366 * 40)
    assert read_proxy(made.read_bytes() + key.read_bytes()).ends - time.time() > 39 * 365 * DAY_S


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_certificate_is_a_clear_error(authority, data):
    pem = authority.person.read_text()
    der = bytearray(ssl.PEM_cert_to_DER_cert(pem))
    at = data.draw(st.integers(0, len(der) - 1))
    der[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(der)))
    damaged = ssl.DER_cert_to_PEM_cert(bytes(der[:cut])) + authority.person_key.read_text()
    told = ""
    try:
        read_proxy(damaged.encode())
    except ValueError as error:
        told = str(error)
    assert told in ("", "holds no certificate", "holds a certificate that cannot be read")


def test_a_file_is_read_again_only_when_it_changed(proxy):
    file = ProxyFile(proxy)
    first = file.read()
    assert file.read() is first
    os.utime(proxy, (1, 1))
    assert file.read() is not first
    assert file.read() == first
