"""WebDAV by Apache: http for everybody, https for a password, a certificate or a proxy. It has no checksums."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from .daemon import SMALL_B, Daemon, give, on_small_disk, own_folder, ports, running, serves
from .install import missing
from .pki import Pki

USER = "www-data"
NAME, PASSWORD = "pilot", "secret"
MODULES_IN = "/usr/lib/apache2/modules"
MODULES = (
    *("mpm_event", "authz_core", "authn_core", "authn_file", "authz_user", "auth_basic", "mime", "alias", "rewrite"),
    *("dav", "dav_fs", "dav_lock", "socache_shmcb", "ssl", "gridsite"),
)


@frozen
class WebDav:
    """Where the server is. ``daemons`` has its process where it is our own, and not shared with others.

    Below ``/busy/`` it answers 503 to anything, below ``/gone/`` 410; ``/redirect/NAME`` sends to ``/NAME`` by 307;
    nothing below ``/read-only/`` can be written.
    """

    home: Path = field(converter=Path)
    port: int
    https_port: int
    daemons: tuple[Daemon, ...] = field(default=(), eq=False, repr=False)

    @property
    def data(self) -> Path:
        """What it serves."""
        return self.home / "data"

    def http(self, path: str) -> str:
        """A file's address for everybody."""
        return f"http://localhost:{self.port}/{path.lstrip('/')}"

    def https(self, path: str) -> str:
        """The same file, with ``NAME`` and ``PASSWORD``, a certificate or a proxy."""
        return f"https://localhost:{self.https_port}/{path.lstrip('/')}"


def lacks() -> str:
    """What is missing here, and the way out."""
    return missing("apache2", "openssl", "setpriv")


@contextmanager
def webdav(pki: Pki) -> Iterator[WebDav]:
    """A server with both doors."""
    with own_folder("webdav") as home, ports(2) as (port, https_port):
        yield from serve(WebDav(home, port, https_port), pki)


@contextmanager
def small(pki: Pki, size_b: int = SMALL_B) -> Iterator[WebDav]:
    """A server on a disk of so many bytes."""
    with own_folder("webdav") as home, ports(2) as (port, https_port):
        yield from serve(WebDav(home, port, https_port), pki, before=on_small_disk(home / "data", size_b))


def serve(server: WebDav, pki: Pki, before: Sequence[str] = ()) -> Iterator[WebDav]:
    """Have it up while it is looked at."""
    home = server.home
    own = [home / name for name in ("data", "run", "data/read-only")]
    for folder in own:
        folder.mkdir()
    give(USER, *own)
    digest = subprocess.run(["openssl", "passwd", "-apr1", PASSWORD], check=True, capture_output=True, text=True)
    (home / "passwords").write_text(f"{NAME}:{digest.stdout}")
    config = home / "httpd.conf"
    config.write_text(top(home, (server.port, server.https_port), MODULES) + served(server) + guarded(server, pki))
    command = ["/usr/sbin/apache2", "-f", config, "-DFOREGROUND"]
    daemon = Daemon("webdav", command, home / "log", serves(server.port, "/gone/", status=410), before=before)
    with running(daemon):
        yield WebDav(home, server.port, server.https_port, (daemon,))


def top(home: Path, doors: Sequence[int], modules: Sequence[str]) -> str:
    """What an Apache of ours is told first: to keep to its folder, its user and loopback."""
    lines = [
        f"ServerRoot {home}",
        "ServerName localhost",
        f"PidFile {home}/run/pid",
        f"DefaultRuntimeDir {home}/run",
        f"Mutex file:{home}/run default",
        f"ErrorLog {home}/log",
        "LogLevel warn",
        *(f"Listen 127.0.0.1:{door}" for door in doors),
        *(f"LoadModule {name}_module {MODULES_IN}/mod_{name}.so" for name in modules),
        *([f"User {USER}", f"Group {USER}"] if os.geteuid() == 0 else []),
        "StartServers 1\nMinSpareThreads 4\nThreadsPerChild 16\nMaxRequestWorkers 64\n",
    ]
    return "\n".join(lines)


def by_x509(pki: Pki) -> str:
    """TLS that looks at certificates where a client shows one, proxies included."""
    certificate, key = pki.host
    return f"""
SSLEngine on
SSLCertificateFile {certificate}
SSLCertificateKeyFile {key}
SSLCACertificatePath {pki.authorities}
SSLVerifyClient optional
SSLVerifyDepth 10
SSLOptions +StdEnvVars
"""


def served(server: WebDav) -> str:
    """The files, and the places that go wrong."""
    wrong = "".join(
        f"<Location /{name}/>\nRewriteEngine on\nRewriteRule .* - [R={status},L]\n</Location>\n"
        for name, status in (("busy", 503), ("gone", 410))
    )
    return f"""
TypesConfig /etc/mime.types
DocumentRoot {server.data}
DavLockDB {server.home}/run/locks
<Directory {server.data}>
  Dav on
  Require all granted
</Directory>
<Location /read-only/>
  <LimitExcept GET HEAD OPTIONS PROPFIND>
    Require all denied
  </LimitExcept>
</Location>
RedirectMatch 307 ^/redirect/(.*)$ /$1
{wrong}"""


def guarded(server: WebDav, pki: Pki) -> str:
    """The door for those who show something."""
    return f"""
<VirtualHost 127.0.0.1:{server.https_port}>
DocumentRoot {server.data}
{by_x509(pki)}
<Location />
  AuthType Basic
  AuthName pilot
  AuthUserFile {server.home}/passwords
  <RequireAny>
    Require valid-user
    Require expr "%{{SSL_CLIENT_VERIFY}} in {{'SUCCESS', 'GENEROUS'}}"
  </RequireAny>
</Location>
</VirtualHost>
"""
