"""What Rucio's server, its clients and the Apache around it are told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .pki import Pki
from .webdav import by_x509, top

if TYPE_CHECKING:
    from .rucio import Rucio

MODULES = ("mpm_event", "authz_core", "socache_shmcb", "ssl", "wsgi", "gridsite")
NOBODY = "127.0.0.1:1"  # no cache: by itself it would take any that listens on this machine


def server_settings(server: Rucio, pki: Pki, installed: Path) -> dict[str, str]:
    """Files below the server's home, by name."""
    base = f"postgresql+psycopg://rucio@127.0.0.1:{server.database_port}/rucio"
    return {
        "rucio.cfg": serving(server, base, installed),
        "alembic.ini": alembic(base, installed),
        "client/rucio.cfg": client(server, pki, "pilot"),
        "client/root.cfg": client(server, pki, "root"),
    }


def serving(server: Rucio, base: str, installed: Path) -> str:
    """The server's own. Traces go to a file; of the broker they would go to as well there is none."""
    home = server.home
    return f"""
[common]
logdir = {home}/logs
loglevel = INFO
mailtemplatedir = {installed}/rucio/etc/mail_templates
[database]
default = {base}
[alembic]
cfg = {home}/alembic.ini
[bootstrap]
userpass_identity = root
userpass_pwd = secret
userpass_email = root@localhost
x509_identity = nobody
x509_email = root@localhost
[policy]
permission = generic
schema = generic
lfn2pfn_algorithm_default = hash
support = nobody@localhost
[api]
endpoints_add = traces
[cache]
url = {NOBODY}
[trace]
tracedir = {home}/traces
brokers = localhost
port = 1
topic = /topic/none
username = none
password = none
"""


def alembic(base: str, installed: Path) -> str:
    """Rucio reads this with its sections on logging, which must be there."""
    scripts = next(installed.glob("lib/python3*/site-packages/rucio/db/sqla/migrate_repo"))
    return f"""
[alembic]
script_location = {scripts}
sqlalchemy.url = {base}
[loggers]
keys = root
[handlers]
keys = stderr
[formatters]
keys = words
[logger_root]
level = WARN
handlers = stderr
[handler_stderr]
class = StreamHandler
args = (sys.stderr,)
formatter = words
[formatter_words]
format = %(levelname)s %(name)s %(message)s
"""


def client(server: Rucio, pki: Pki, account: str) -> str:
    """A client's."""
    return f"""
[client]
rucio_host = {server.url}
auth_host = {server.url}
auth_type = userpass
username = {account}
password = secret
ca_cert = {pki.bundle}
client_x509_proxy = {pki.proxy}
auth_token_file_path = {server.home}/client/token-of-{account}
account = {account}
request_retries = 3
[policy]
permission = generic
schema = generic
lfn2pfn_algorithm_default = hash
"""


def wsgi(server: Rucio, pki: Pki) -> str:
    """The application, as Apache loads it."""
    return f"""
import os
os.environ.update(RUCIO_HOME="{server.home}", RUCIO_CONFIG="{server.home}/rucio.cfg", REQUESTS_CA_BUNDLE="{pki.bundle}")
from rucio.web.rest.flaskapi.v1.main import application
"""


def httpd(server: Rucio, pki: Pki) -> str:
    """Apache with the application behind TLS."""
    from .rucio import HOME

    packages = next(HOME.glob("lib/python3*/site-packages"))
    home = server.home
    return f"""{top(home, [server.port], MODULES)}
AllowEncodedSlashes on
SSLSessionCache shmcb:{home}/run/tls(512000)
WSGISocketPrefix {home}/run/wsgi
WSGIRestrictEmbedded On
WSGIPassAuthorization On
WSGIDaemonProcess rucio processes=1 threads=8 home={home}/run python-path={packages}
WSGIProcessGroup rucio
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {home}/rucio.wsgi
<Directory {home}>
  Require all granted
</Directory>
<VirtualHost 127.0.0.1:{server.port}>
{by_x509(pki)}
</VirtualHost>
"""
