"""TLS for the dispatcher: the certificate that it is given, or one of its own that pilots know by its fingerprint."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pilot_core.dispatcher.tokens import sign
from pilot_core.io.files import sync_folder

DAYS: Final = 3650
MAKING_S: Final = 60

_SETTINGS: Final = """\
[req]
distinguished_name = name
prompt = no
x509_extensions = more
[name]
CN = pilot-server
[more]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
subjectAltName = {names}
"""


class NoTls(Exception):
    """No connection can be encrypted; the message says what would help."""


class Certificate:
    """A certificate and its key, and what they make of a connection. Both files may be replaced while it is in use."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = cert, key
        self._seen = self._signs()
        self._take()

    def renew(self) -> bool:
        """Whether others have come in place of the files, which are in use from now on; ``NoTls`` if they are no good.

        Then what was in use stays, until the files change again.
        """
        seen = self._signs()
        if seen == self._seen:
            return False
        self._seen = seen
        self._take()
        return True

    def _take(self) -> None:
        context = server_context(*self._files)
        self.fingerprint = fingerprint(self._files[0])
        self.context = context

    def _signs(self) -> tuple[object, ...]:
        return tuple(map(sign, self._files))


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """What encrypts the server's end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (cert, key):
        if not path.is_file():
            raise NoTls(f"{path}: there is no such file; --cert and --key name a certificate and its key in PEM form")
    try:
        context.load_cert_chain(cert, key, password=_refuse_password)
    except (ssl.SSLError, PermissionError) as error:
        told = getattr(error, "reason", "") or error.strerror
        raise NoTls(f"{cert} and {key} are not a certificate and its key in PEM form: {told}") from None
    return context


def fingerprint(cert: Path) -> str:
    """The SHA-256 of the first certificate in a PEM file, in hexadecimal."""
    text = cert.read_text(encoding="ascii", errors="replace")
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    inner = text.partition(begin)[2].partition(end)[0]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(f"{begin}{inner}{end}")).hexdigest()


def own_certificate(home: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """The self-signed certificate in ``home`` and its key, made if they are not there."""
    cert, key = home / "cert.pem", home / "key.pem"
    if not (cert.exists() and key.exists()):
        with TemporaryDirectory(dir=home) as folder:
            made = Path(folder)
            _make(made, names)
            os.replace(made / "key.pem", key)
            os.replace(made / "cert.pem", cert)
        sync_folder(home)
    return cert, key


def _make(folder: Path, names: Iterable[str]) -> None:
    """Let openssl make a key, readable by its owner only, and a certificate for these names."""
    program = shutil.which("openssl")
    if program is None:
        raise NoTls("there is no `openssl` program to make a certificate with: install it, or give --cert and --key")
    settings = folder / "settings"
    settings.write_text(_SETTINGS.format(names=", ".join(dict.fromkeys(map(_alternative, names)))))
    key = [program, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", "key.pem"]
    _run(key, folder)
    (folder / "key.pem").chmod(0o600)
    signed = ["-key", "key.pem", "-out", "cert.pem", "-sha256", "-days", str(DAYS), "-config", "settings"]
    _run([program, "req", "-x509", "-new", *signed], folder)


def _run(argv: list[str], folder: Path) -> None:
    try:
        subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=MAKING_S)
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.decode(errors="replace").split())
        raise NoTls(f"{argv[0]} {argv[1]} made no certificate: {said[-300:]}; give --cert and --key") from None
    except subprocess.TimeoutExpired:
        raise NoTls(f"{argv[0]} {argv[1]} did not end within {MAKING_S} s; give --cert and --key") from None


def _alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name.partition('%')[0])}"
    except ValueError:
        return f"DNS:{name}"


def _refuse_password() -> str:
    """Instead of asking on a terminal; an encrypted key is then a mistake like others."""
    return ""
