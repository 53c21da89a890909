"""Rucio: its server in Apache on a PostgreSQL, with storage on the real doors of XRootD and Apache's WebDAV.

The accounts are ``root`` and ``pilot``; the test user's certificate stands for both. Replicas of ``FILES`` are there.
No daemons run: rules are made, but nothing moves data.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from .daemon import Daemon, give, own_folder, ports, running, serves
from .install import PLACE, missing
from .pki import Pki
from .rucio_settings import httpd, server_settings, wsgi
from .webdav import USER, WebDav
from .xrootd import USER as XROOTD_USER
from .xrootd import XRootD

HOME = PLACE / "rucio"
PYTHON = HOME / "bin" / "python"
POSTGRES = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "secret"
SCOPE, DATASET = "test", "inputs"
FILES = {"first.root": b"the first file\n" * 1000, "second.root": b"the second file\n" * 2000}


@frozen
class Rucio:
    """Where the server is.

    Of its storage ``XRD`` is the anonymous XRootD, ``SEC`` the secured one by https, ``DAV`` Apache's door for X.509,
    whose files Rucio does not ask to be summed.
    """

    home: Path = field(converter=Path)
    port: int
    database_port: int
    pki_home: Path = field(converter=Path)
    issuer: str = ""
    daemons: tuple[Daemon, ...] = field(default=(), eq=False, repr=False)

    @property
    def url(self) -> str:
        """The address of the service, for authentication too."""
        return f"https://localhost:{self.port}"

    def environ(self, *, by: str = "userpass", account: str = "pilot") -> dict[str, str]:
        """What a client needs to come as this account, ``by`` password or ``x509_proxy``."""
        pki = Pki(self.pki_home, self.issuer)
        home = {"RUCIO_HOME": str(self.home / "client"), "RUCIO_CONFIG": str(self.home / "client" / "rucio.cfg")}
        return {**home, **pki.by_proxy(), "RUCIO_AUTH_TYPE": by, "RUCIO_ACCOUNT": account}

    def traces(self) -> list[dict[str, object]]:
        """What clients told of their transfers, in order."""
        path = self.home / "traces" / "trace"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]


def lacks() -> str:
    """What is missing here, and the way out."""
    if not PYTHON.exists():
        return "this machine has no Rucio server: `python3 tests/servers/install.py` installs it"
    return missing(POSTGRES / "postgres", "apache2", "setpriv")


@contextmanager
def rucio(pki: Pki, xrootd: XRootD, secured: XRootD, webdav: WebDav) -> Iterator[Rucio]:
    """A server that knows accounts, storage and a few files."""
    with own_folder("rucio") as home, ports(2) as (port, database_port):
        server = Rucio(home, port, database_port, pki.home, pki.issuer)
        with running(database(server)):
            prepare(server, pki)
            web = Daemon(
                "rucio", ["/usr/sbin/apache2", "-f", home / "httpd.conf", "-DFOREGROUND"], home / "log",
                serves(port, "/ping", tls=True),
            )  # fmt: skip
            with running(web):
                fill(server, pki, xrootd, secured, webdav)
                yield Rucio(home, port, database_port, pki.home, pki.issuer, (web,))


def database(server: Rucio) -> Daemon:
    """A PostgreSQL that need not survive anything."""
    place = server.home / "database"
    place.mkdir(mode=0o700)
    give("postgres", place)
    make = ["initdb", "-D", place, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "-E", "UTF8", "--no-sync"]
    become = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"] if os.geteuid() == 0 else []
    done([*become, POSTGRES / make[0], *make[1:]], cwd=place)
    careless = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "dynamic_shared_memory_type=mmap")
    words = ["-D", place, "-p", server.database_port, "-h", "127.0.0.1", "-k", place]
    command = [POSTGRES / "postgres", *words, *(word for setting in careless for word in ("-c", setting))]
    ready = [POSTGRES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(server.database_port)]
    return Daemon(
        "postgres", command, server.home / "postgres.log", lambda: not subprocess.run(ready).returncode,
        user="postgres", stop=signal.SIGINT,
    )  # fmt: skip


def prepare(server: Rucio, pki: Pki) -> None:
    """Settings, and a database with Rucio's tables."""
    home = server.home
    own = [home / name for name in ("logs", "run", "traces")]
    for folder in (*own, home / "client"):
        folder.mkdir()
    give(USER, *own)
    for name, text in server_settings(server, pki, HOME).items():
        (home / name).write_text(text)
    (home / "rucio.wsgi").write_text(wsgi(server, pki))
    (home / "httpd.conf").write_text(httpd(server, pki))
    ask = [POSTGRES / "psql", "-q", "-h", "127.0.0.1", "-p", str(server.database_port), "-U", "postgres"]
    done([*ask, "-c", "create role rucio login", "-c", "create database rucio owner rucio", "postgres"], cwd=home)
    run_there(server, "rucio_tables.py")


def fill(server: Rucio, pki: Pki, xrootd: XRootD, secured: XRootD, webdav: WebDav) -> None:
    """Accounts and storage, and ``FILES`` in all places, registered as their replicas."""
    for data, owner in ((xrootd.data, XROOTD_USER), (secured.data, XROOTD_USER), (webdav.data, USER)):
        put_files(data / "rucio", owner)
    files = [
        {"name": name, "bytes": len(body), "adler32": f"{zlib.adler32(body):08x}", "md5": hashlib.md5(body).hexdigest()}
        for name, body in FILES.items()
    ]
    doors = {
        "XRD": ["root", xrootd.port, "//rucio/", True],
        "SEC": ["davs", secured.http_port, "/rucio/", True],
        "DAV": ["davs", webdav.https_port, "/rucio/", False],
    }
    wanted = {"doors": doors, "files": files, "scope": SCOPE, "dataset": DATASET, "password": PASSWORD}
    run_there(server, "rucio_contents.py", json.dumps({**wanted, "user": user_dn(pki)}))


def put_files(top: Path, owner: str) -> None:
    """Where a storage has them below its prefix."""
    for name, body in FILES.items():
        path = top / path_of(SCOPE, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        give(owner, path, *(folder for folder in path.parents if folder.is_relative_to(top)))


def run_there(server: Rucio, script: str, *words: str) -> None:
    """Run a script of ours where Rucio is installed."""
    client = script == "rucio_contents.py"
    settings = server.home / ("client/root.cfg" if client else "rucio.cfg")
    env = {"RUCIO_CONFIG": str(settings), "RUCIO_HOME": str(settings.parent), "PATH": os.environ["PATH"]}
    done([PYTHON, "-P", Path(__file__).with_name(script), *words], cwd=server.home, env=env)


def done(command: list[str | Path], *, cwd: Path, env: dict[str, str] | None = None) -> None:
    """Run what has to come through."""
    ran = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{command[0]} ended with {ran.returncode}:\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}")


def user_dn(pki: Pki) -> str:
    """The user's name as Apache writes it."""
    command = ["openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", pki.user[0]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().removeprefix("subject=")


def path_of(scope: str, name: str) -> str:
    """Where a file lies below the prefix of a storage whose names are hashed."""
    digest = hashlib.md5(f"{scope}:{name}".encode()).hexdigest()
    return f"{scope.replace('.', '/')}/{digest[:2]}/{digest[2:4]}/{name}"
