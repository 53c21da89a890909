"""The errors that only this experiment has."""

from __future__ import annotations

from pilot_core.sdk import ErrorCode, Party, Retry, Stage


class Codes:
    """Numbers from 2000 to 2999 are for plugins."""

    OLDGEOMETRY = ErrorCode(2950, Stage.PAYLOAD, Party.PAYLOAD, Retry.COUNTED, "The geometry is older than the data")
    TOOHOT = ErrorCode(2951, Stage.PAYLOAD, Party.SITE, Retry.ELSEWHERE, "A device is too hot")
