"""The options of all that speaks with Rucio."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from attrs import frozen

from pilot_core.sdk import option

SCHEMES = ("root", "davs", "https", "http", "srm", "gsiftp", "storm", "file")


@frozen(kw_only=True)
class RucioOptions:
    """The catalogue of this experiment or site, where that is Rucio: without a host nobody asks it anything."""

    section = "rucio"

    host: str = option("", help="The server, as https://HOST:PORT.")
    auth_host: str = option("", help="The server that knows accounts, if that is another.")
    account: str = option("", help="The account that the pilot acts for.")
    token: Path | None = option(None, help="The file with the token for server and storage; read anew when it changes.")
    username: str = option("", help="The name to log in by, where that is not the account's.")
    password: Path | None = option(None, help="The file with the password to log in by, instead of a proxy.")
    proxy: Path | None = option(None, help="The file with the proxy for server and storage, if not the environment's.")
    ca_file: Path | None = option(None, help="Authorities that vouch for the server, instead of the system's.")
    scope: str = option("", help="The scope of files whose job names none.")
    scopes: tuple[str, ...] = option((), help="Other scopes for those of jobs, as PATTERN=SCOPE; the first that fits.")
    site: str = option("", help="This site's name in the catalogue.", env="RUCIO_LOCAL_SITE_ID")
    schemes: tuple[str, ...] = option(SCHEMES, help="Schemes of places that are asked for.")
    sort: str = option("geoip", help="How the server orders the places of a file.")
    expression: str = option("", help="Storages that inputs may come from, as an RSE expression.")
    signed_s: float = option(86400.0, help="How long a signed URL is good.", unit="s", least=60)
    names: bool = option(
        False, help="Have it name the places of outputs, also in storages that the queue's data describes."
    )
    register: bool = option(False, help="Enter stored files as replicas; otherwise whoever gave the job does that.")
    lanes: int = option(4, help="Files that the copy tool moves at a time, where many go in one call.", least=1)
    traces: bool = option(True, help="Report every try to move a file.", env="PILOT_USE_RUCIO_TRACES")
    trace_url: str = option("", help="Where reports go, if not to the server's own place for them.")
    spool: Path | None = option(
        None, help="A directory in which reports that the server did not take wait for a later pilot."
    )

    def scope_of(self, scope: str) -> str:
        """What Rucio calls a scope of a job; nothing if nobody says."""
        rules = (each.partition("=") for each in self.scopes)
        other = (other for pattern, _, other in rules if scope and fnmatchcase(scope, pattern))
        return next(other, scope or self.scope)
