import hashlib
import http.client
import os
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from contextlib import suppress

import pytest
import requests

from pilot_core.dispatcher.http import Limits, Response, serve
from pilot_core.dispatcher.tls import NoTls, fingerprint, own_certificate, server_context


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return own_certificate(tmp_path_factory.mktemp("home"), ["localhost", "127.0.0.1", "::1", "localhost"])


@pytest.fixture
def limits():
    return Limits()


@pytest.fixture
def server(certificate, limits):
    def answer(request):
        return Response.of(len(request.read()))

    server = serve(("127.0.0.1", 0), answer, tls=server_context(*certificate), limits=limits)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.close()
    thread.join()


def test_the_key_is_its_owners_and_both_are_made_once(certificate):
    cert, key = certificate
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(os.listdir(cert.parent)) == ["cert.pem", "key.pem"]
    before = cert.read_bytes(), key.read_bytes()
    assert own_certificate(cert.parent, ["elsewhere"]) == (cert, key)
    assert (cert.read_bytes(), key.read_bytes()) == before


def test_half_of_what_was_made_is_made_anew(certificate, tmp_path):
    shutil.copy(certificate[1], tmp_path)
    cert, key = own_certificate(tmp_path, ["localhost"])
    server_context(cert, key)
    assert fingerprint(cert) != fingerprint(certificate[0])


def test_the_fingerprint_is_that_of_the_certificate_that_is_shown(server, certificate):
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", server.port)) as raw, context.wrap_socket(raw) as sock:
        shown = sock.getpeercert(binary_form=True)
    assert hashlib.sha256(shown).hexdigest() == fingerprint(certificate[0])
    said = subprocess.check_output(["openssl", "x509", "-in", certificate[0], "-noout", "-fingerprint", "-sha256"])
    assert said.decode().strip().partition("=")[2].replace(":", "").lower() == fingerprint(certificate[0])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_an_honest_client_that_trusts_it_talks_on(server, certificate, host):
    url = f"https://{host}:{server.port}/"
    with requests.Session() as client:
        for size in (0, 5, 300_000):
            assert client.post(url, b"x" * size, verify=certificate[0]).json() == size
        assert len(server._guests) == 1


def test_the_strictest_reader_takes_it(server, certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    client = http.client.HTTPSConnection("localhost", server.port, context=context)
    client.request("GET", "/")
    assert client.getresponse().read() == b"0"
    client.close()


def test_who_does_not_trust_it_or_speaks_plainly_gets_nothing(server):
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://localhost:{server.port}/", timeout=10)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"HTTP" not in sock.recv(1000)


@pytest.mark.parametrize("limits", [Limits(head_s=0.3, linger_s=0.3)])
def test_a_client_that_never_shakes_hands_is_left(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        assert sock.recv(1000) == b""


def test_without_openssl_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoTls, match=r"no `openssl` program .* give --cert and --key"):
        own_certificate(tmp_path, ["localhost"])
    assert list(tmp_path.iterdir()) == []


def test_an_openssl_that_fails_is_quoted(tmp_path, monkeypatch):
    (tmp_path / "openssl").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    (tmp_path / "openssl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoTls, match="made no certificate: broken"):
        own_certificate(tmp_path, ["localhost"])
    assert [path.name for path in tmp_path.iterdir()] == ["openssl"]


def test_what_is_no_certificate_or_not_its_key_is_named(certificate, tmp_path):
    cert, key = certificate
    with pytest.raises(NoTls, match="no such file"):
        server_context(tmp_path / "none", key)
    (tmp_path / "junk").write_text("junk")
    with pytest.raises(NoTls, match="are not a certificate and its key"):
        server_context(tmp_path / "junk", key)
    with pytest.raises(NoTls, match="are not a certificate and its key"):
        server_context(cert, own_certificate(tmp_path, ["localhost"])[1])


def test_an_encrypted_key_is_refused_and_nobody_is_asked(certificate, tmp_path):
    locked = tmp_path / "locked.pem"
    subprocess.run(["openssl", "ec", "-in", certificate[1], "-aes256", "-passout", "pass:secret", "-out", locked],
                   check=True, capture_output=True)  # fmt: skip
    with pytest.raises(NoTls, match="are not a certificate and its key"):
        server_context(certificate[0], locked)
