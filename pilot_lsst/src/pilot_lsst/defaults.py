"""The experiment's layer of the configuration: its server, and what its payloads get to see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilot_lsst.options import SERVER

SEEN_BY_PAYLOADS: Final = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "X509_CERT_DIR",
    "X509_USER_PROXY",
    "AWS_SHARED_CREDENTIALS_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "S3_ENDPOINT_URL",
    "LSST_RESOURCES_WEBDAV_CONFIG",
    "PGPASSFILE",
    "PGUSER",
    "LSST_DB_AUTH",
    "LSST_RUN_TEMP_SPACE",
    "DAF_BUTLER_REPOSITORY_INDEX",
    "PANDA_URL",
    "PANDA_URL_SSL",
    "PANDACACHE_URL",
    "RUBIN_ES_CORES",
)
"""Names of files that hold credentials, never the credentials."""
NO_PROGRESS: Final = ("memory_monitor*", "pilotlog*", "pandaJob*", "*.py")
"""Files whose change does not say that a payload gets on: prmon, which the workflow service starts, writes its own."""
DEFAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    "connection": {"url": (SERVER,), "info_sources": ("local", "environment", "server")},
    "payload": {"keep_environment": SEEN_BY_PAYLOADS},
    "monitor": {"monitors": ("disk", "walltime", "memory", "looping", "gpu", "cores", "health", "lsst_log")},
    "looping": {"ignore": NO_PROGRESS},
}
"""By section and name."""
