"""A certification authority of our own: host and user certificates, RFC proxies, WLCG tokens and their issuer's key."""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from .daemon import own_folder
from .install import missing

DOMAIN = ("test", "pilot-servers")
USER_DN = "/DC=test/DC=pilot-servers/CN=Test Pilot"
AUDIENCE = "https://wlcg.cern.ch/jwt/v1/any"
WRITE = "storage.read:/ storage.modify:/ storage.create:/"
READ = "storage.read:/"
DAY = timedelta(days=1)
PROXY_INFO = ObjectIdentifier("1.3.6.1.5.5.7.1.14")
INHERITS_ALL = bytes.fromhex("300c300a06082b06010505071501")  # RFC 3820: a proxy that has all its owner's rights

Key = rsa.RSAPrivateKey
Extension = tuple[x509.ExtensionType, bool]


@frozen
class Pki:
    """The files below ``home``, and what is made of them."""

    home: Path = field(converter=Path)
    issuer: str

    @property
    def authorities(self) -> Path:
        """The folder of hashed names that X509_CERT_DIR names."""
        return self.home / "certificates"

    @property
    def bundle(self) -> Path:
        """The authority's certificate alone, as REQUESTS_CA_BUNDLE wants it."""
        return self.home / "ca.pem"

    @property
    def host(self) -> tuple[Path, Path]:
        """Certificate and key of localhost."""
        return self.home / "hostcert.pem", self.home / "hostkey.pem"

    @property
    def user(self) -> tuple[Path, Path]:
        """Certificate and key of the user whose name is ``USER_DN``."""
        return self.home / "usercert.pem", self.home / "userkey.pem"

    @property
    def proxy(self) -> Path:
        """The user's proxy, good for some hours."""
        return self.home / "proxy.pem"

    @property
    def expired_proxy(self) -> Path:
        """Another, which ended an hour ago."""
        return self.home / "expired-proxy.pem"

    @property
    def keys(self) -> dict[str, object]:
        """The issuer's public keys, as it would publish them."""
        found: dict[str, object] = json.loads((self.home / "jwks.json").read_text())
        return found

    def token(self, scope: str = WRITE, left_s: int = 3600, audience: str = AUDIENCE) -> str:
        """A token of the WLCG profile; ``left_s`` below zero makes one that has expired."""
        now = int(time.time())
        who = {"wlcg.ver": "1.0", "iss": self.issuer, "sub": "pilot", "aud": audience, "scope": scope}
        when = {"iat": now, "nbf": min(now, now + left_s) - 60, "exp": now + left_s}
        return jwt.encode(
            {**who, **when, "jti": str(uuid.uuid4())},
            (self.home / "issuer.pem").read_bytes(),
            "ES256",
            {"kid": "pilot-servers"},
        )

    def token_file(self, name: str, *, scope: str = WRITE, left_s: int = 3600, audience: str = AUDIENCE) -> Path:
        """A file with such a token, that only its owner may read."""
        path = self.home / name
        write_secret(path, self.token(scope, left_s, audience).encode())
        return path

    def by_proxy(self, proxy: Path | None = None) -> dict[str, str]:
        """The environment of a client that shows a proxy."""
        return {"X509_CERT_DIR": str(self.authorities), "X509_USER_PROXY": str(proxy or self.proxy)}

    def by_token(self, scope: str = WRITE, left_s: int = 3600) -> dict[str, str]:
        """The environment of a client that shows a token."""
        return {"X509_CERT_DIR": str(self.authorities), "BEARER_TOKEN": self.token(scope, left_s)}


@contextmanager
def pki() -> Iterator[Pki]:
    """All of it in a folder of its own."""
    with own_folder("pki") as home:
        yield make(home)


def make(home: Path) -> Pki:
    """An authority, its list of the revoked, three certificates, two proxies, an issuer of tokens."""
    made = Pki(home, "https://localhost/pilot-servers")
    authority = Authority()
    made.bundle.write_bytes(authority.pem)
    authority.publish(made.authorities)
    for (certificate, key), name, more in ((made.host, "localhost", for_hosts()), (made.user, "Test Pilot", FOR_USERS)):
        signed, secret = authority.sign(name, more)
        certificate.write_bytes(pem(signed))
        write_secret(key, pem_of_key(secret))
    now = datetime.now(UTC)
    write_secret(made.proxy, make_proxy(signed, secret, now + timedelta(hours=12)))
    write_secret(made.expired_proxy, make_proxy(signed, secret, now - timedelta(hours=1)))
    make_issuer(home)
    return made


class Authority:
    """Signs, and publishes itself."""

    def __init__(self) -> None:
        self.key = new_key()
        self.name = distinguished("Test Authority")
        basic: Extension = (x509.BasicConstraints(ca=True, path_length=None), True)
        more = [basic, (usage(signs_others=True), True)]
        self.certificate = certify(self.name, self.key, self.name, self.key, more)
        self.pem = pem(self.certificate)

    def sign(self, name: str, more: list[Extension]) -> tuple[x509.Certificate, Key]:
        """A certificate for this common name, and its key."""
        key = new_key()
        basic: Extension = (x509.BasicConstraints(ca=False, path_length=None), True)
        more = [basic, (usage(), True), *more]
        return certify(distinguished(name), key, self.name, self.key, more), key

    def publish(self, folder: Path) -> None:
        """Certificate, list of the revoked and signing policy, under the names that grid software looks for."""
        folder.mkdir()
        (folder / "ca.pem").write_bytes(self.pem)
        for option in ("-hash", "-subject_hash_old"):
            command = ["openssl", "x509", "-noout", option, "-in", folder / "ca.pem"]
            digest = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            (folder / f"{digest}.0").write_bytes(self.pem)
            (folder / f"{digest}.r0").write_bytes(self.revoked())
            (folder / f"{digest}.signing_policy").write_text(POLICY)

    def revoked(self) -> bytes:
        """Nobody is."""
        now = datetime.now(UTC)
        empty = x509.CertificateRevocationListBuilder(self.name, now - DAY, now + 9 * DAY)
        return empty.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


POLICY = """access_id_CA X509 '/DC=test/DC=pilot-servers/CN=Test Authority'
pos_rights globus CA:sign
cond_subjects globus '"/DC=test/DC=pilot-servers/*"'
"""
FOR_USERS: list[Extension] = [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)]


def for_hosts() -> list[Extension]:
    """This machine under the names that clients call it by: a grid client looks up the name of an address."""
    names = dict.fromkeys(("localhost", socket.gethostname(), socket.getfqdn()))
    known: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    known += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    return [(x509.SubjectAlternativeName(known), False), (both, False)]


def make_proxy(certificate: x509.Certificate, key: Key, until: datetime) -> bytes:
    """A proxy of RFC 3820 with all rights: certificate, key and the chain, as one file holds them."""
    own, serial = new_key(), x509.random_serial_number() >> 96
    last = x509.NameAttribute(NameOID.COMMON_NAME, str(serial))
    name = x509.Name([*certificate.subject.rdns, x509.RelativeDistinguishedName([last])])
    more: list[Extension] = [(usage(), True), (x509.UnrecognizedExtension(PROXY_INFO, INHERITS_ALL), True)]
    proxy = certify(name, own, certificate.subject, key, more, until=until, serial=serial)
    return pem(proxy) + pem_of_key(own) + pem(certificate)


def certify(
    name: x509.Name,
    key: Key,
    by: x509.Name,
    by_key: Key,
    more: list[Extension],
    *,
    until: datetime | None = None,
    serial: int = 0,
) -> x509.Certificate:
    """A certificate that began yesterday."""
    now = datetime.now(UTC)
    wanted = x509.CertificateBuilder(by, name, key.public_key(), serial or x509.random_serial_number())
    wanted = wanted.not_valid_before(now - DAY).not_valid_after(until or now + 9 * DAY)
    for extension, critical in more:
        wanted = wanted.add_extension(extension, critical)
    return wanted.sign(by_key, hashes.SHA256())


def make_issuer(home: Path) -> None:
    """The key that signs tokens, and its public half."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_secret(home / "issuer.pem", pem_of_key(key))
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    keys = {"keys": [{**public, "kid": "pilot-servers", "alg": "ES256", "use": "sig"}]}
    (home / "jwks.json").write_text(json.dumps(keys))


def distinguished(common: str) -> x509.Name:
    """A name in the domain of the authority."""
    domain = [x509.NameAttribute(NameOID.DOMAIN_COMPONENT, part) for part in DOMAIN]
    return x509.Name([*domain, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def usage(*, signs_others: bool = False) -> x509.KeyUsage:
    """What a key is for."""
    return x509.KeyUsage(
        digital_signature=not signs_others, key_encipherment=not signs_others, content_commitment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_others, crl_sign=signs_others,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def new_key() -> Key:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def pem_of_key(key: Key | ec.EllipticCurvePrivateKey) -> bytes:
    """The key as grid software of any age reads it."""
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def write_secret(path: Path, text: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(text)


def lacks() -> str:
    """What is missing here, and the way out."""
    return missing("openssl")
