"""What a site may say of Rubin's jobs."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from pilot_core.sdk import option

SERVER: Final = "https://usdf-panda-server.slac.stanford.edu:8443"
BASES: Final = ("https://storage.googleapis.com/drp-us-central1-containers", SERVER)
"""Where transforms may come from."""


@frozen(kw_only=True)
class LsstOptions:
    """Rubin's jobs."""

    section = "lsst"

    transforms: tuple[str, ...] = option(
        BASES, help="Addresses below which transforms may lie; what one lacks, another may have."
    )
    logs: str = option("", help="Where logs of jobs go whose server names no place: an address of S3, GCS or WebDAV.")
    log_level: str = option(
        "WARNING",
        help="Of payload-log.json, what is at least so grave goes to the pilot's log while the payload runs.",
        choices=("TRACE", "DEBUG", "VERBOSE", "INFO", "WARNING", "ERROR", "CRITICAL"),
    )
