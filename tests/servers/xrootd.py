"""XRootD: a namespace behind root:// and http://; anonymous, on a small disk, or for proxies and tokens only."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from attrs import field, frozen

from .daemon import SMALL_B, Daemon, give, listens, on_small_disk, own_folder, ports, running
from .install import missing
from .pki import AUDIENCE, USER_DN, Pki

USER = "xrootd"


@frozen
class XRootD:
    """Where a server is. ``daemons`` has its process where it is our own, and not shared with others."""

    home: Path = field(converter=Path)
    port: int
    http_port: int
    secured: bool = False
    daemons: tuple[Daemon, ...] = field(default=(), eq=False, repr=False)

    @property
    def data(self) -> Path:
        """What it serves; not to be seen from outside if that is a small disk."""
        return self.home / "data"

    def root(self, path: str) -> str:
        """A file's address; where the server is secured a client has to bring a proxy."""
        return f"root://localhost:{self.port}//{path.lstrip('/')}"

    def roots(self, path: str) -> str:
        """The same, all of it over TLS, as a token wants it."""
        return f"roots://localhost:{self.port}//{path.lstrip('/')}"

    def http(self, path: str) -> str:
        """The same file through the other door."""
        return f"http{'s' if self.secured else ''}://localhost:{self.http_port}/{path.lstrip('/')}"


def lacks() -> str:
    """What is missing here, and the way out."""
    return missing("xrootd", "xrdcp", "setpriv", "gcc")


@contextmanager
def anonymous() -> Iterator[XRootD]:
    """A server for everybody."""
    with own_folder("xrootd") as home, ports(2) as (port, http_port):
        yield from serve(XRootD(home, port, http_port))


@contextmanager
def small(size_b: int = SMALL_B) -> Iterator[XRootD]:
    """A server for everybody, on a disk of so many bytes."""
    with own_folder("xrootd") as home, ports(2) as (port, http_port):
        yield from serve(XRootD(home, port, http_port), before=on_small_disk(home / "data", size_b))


@contextmanager
def secured(pki: Pki) -> Iterator[XRootD]:
    """A server that wants a proxy or a token; what a token's scope does not say its bearer may not."""
    with own_folder("xrootd") as home, ports(2) as (port, http_port):
        server = XRootD(home, port, http_port, secured=True)
        know_issuer(home / "cache", pki)
        yield from serve(server, secure(server, pki), env={"X509_CERT_DIR": str(pki.authorities)})


def serve(
    server: XRootD, more: str = "", *, before: Sequence[str] = (), env: dict[str, str] | None = None
) -> Iterator[XRootD]:
    """Have it up while it is looked at."""
    home = server.home
    own = [home / name for name in ("data", "admin", "run")]
    for folder in own:
        folder.mkdir()
    give(USER, *own)
    config = home / "xrootd.cfg"
    config.write_text(plain(server) + more)
    # With IPv6 sockets the server would not know a client on loopback as localhost.
    command = ["xrootd", "-I", "v4", "-c", config, "-n", "test", "-s", home / "run" / "pid"]
    env = {**(env or {}), "LD_PRELOAD": str(stay_on_loopback(home)), "XDG_CACHE_HOME": str(home / "cache")}
    answers = listens(server.port, server.http_port)
    daemon = Daemon("xrootd", command, home / "run" / "log", answers, user=USER, before=before, env=env)
    with running(daemon):
        yield XRootD(home, server.port, server.http_port, server.secured, (daemon,))


def plain(server: XRootD) -> str:
    """What all of them are told."""
    home = server.home
    return f"""
all.export /
oss.localroot {server.data}
all.adminpath {home}/admin
all.pidpath {home}/run
xrd.port {server.port}
xrd.allow host localhost
xrd.allow host 127.0.0.1
xrd.protocol XrdHttp:{server.http_port} libXrdHttp.so
xrootd.chksum max 2 adler32 crc32c md5
xrootd.async off
"""


def secure(server: XRootD, pki: Pki) -> str:
    """Who may come in, and how the server shows who it is."""
    home = server.home
    certificate, key = home / "hostcert.pem", home / "hostkey.pem"
    for source, copy in zip(pki.host, (certificate, key), strict=True):
        shutil.copy(source, copy)
        give(USER, copy)
    (home / "gridmap").write_text(f'"{USER_DN}" pilot\n')
    (home / "rights").write_text("u pilot / a\n")
    (home / "tokens.cfg").write_text(f"""
[Global]
onmissing = passthrough
audience = {AUDIENCE}
[Issuer pilot-servers]
issuer = {pki.issuer}
base_path = /
map_subject = False
default_user = {USER}
""")
    return f"""
xrd.tls {certificate} {key}
xrd.tlsca certdir {pki.authorities}
xrootd.tls capable all
xrootd.seclib libXrdSec.so
sec.protparm gsi -certdir:{pki.authorities} -cert:{certificate} -key:{key}
sec.protocol gsi -ca:1 -crl:1 -gmapopt:11 -gridmap:{home}/gridmap
sec.protocol ztn
sec.protbind * ztn gsi
ofs.authorize 1
acc.authdb {home}/rights
ofs.authlib ++ libXrdAccSciTokens.so config={home}/tokens.cfg
http.header2cgi Authorization authz
http.cert {certificate}
http.key {key}
http.cadir {pki.authorities}
http.gridmap {home}/gridmap
"""


def know_issuer(cache: Path, pki: Pki) -> None:
    """Put the issuer's keys where the library keeps those it has fetched, so that it asks nobody."""
    folder = cache / "scitokens"
    folder.mkdir(parents=True)
    path = folder / "scitokens_cpp.sqllite"  # codespell:ignore sqllite
    later = int(time.time()) + 9 * 86400
    known = json.dumps({"jwks": pki.keys, "expires": later, "next_update": later})
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("CREATE TABLE keycache (issuer text UNIQUE PRIMARY KEY NOT NULL, keys text NOT NULL)")
        base.execute("INSERT INTO keycache VALUES (?, ?)", (pki.issuer, known))
    give(USER, cache, folder, path)


def stay_on_loopback(home: Path) -> Path:
    """A library to preload: the server has no option for the address it listens on, nor for its name."""
    library = home / "loopback.so"
    source = Path(__file__).with_name("loopback.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library
