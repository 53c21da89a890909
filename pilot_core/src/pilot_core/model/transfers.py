"""What goes wrong with transfers, as data: phrases of tools and libraries, and the states that trace reports know."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from pilot_core.errors import Code, ErrorCode, PilotError
from pilot_core.model.files import Attempt

DONE: Final = "DONE"
OPENED: Final = "FOUND_ROOT"
OTHER: Final = "COPY_ERROR"
LONGEST_TEXT: Final = 4000


@frozen
class Phrase:
    """A text that contains all ``words``, in any case, means these codes: on the way in, on the way out."""

    words: tuple[str, ...]
    fetched: ErrorCode
    stored: ErrorCode


def _row(words: str, fetched: ErrorCode, stored: ErrorCode | None = None) -> Phrase:
    return Phrase(tuple(words.lower().split(" & ")), fetched, stored or fetched)


PHRASES: Final = (
    _row("does not match the checksum & adler32", Code.GETADMISMATCH, Code.PUTADMISMATCH),
    _row("does not match the checksum & md5", Code.GETMD5MISMATCH, Code.PUTMD5MISMATCH),
    _row("failed xrdadler32", Code.GETADMISMATCH, Code.PUTADMISMATCH),
    _row("checksum & mismatch", Code.GETADMISMATCH, Code.PUTADMISMATCH),
    _row("checksum & do not match", Code.GETADMISMATCH, Code.PUTADMISMATCH),
    _row("does not match the checksum", Code.GETMD5MISMATCH, Code.PUTMD5MISMATCH),
    _row("chksum is not supported", Code.CHKSUMNOTSUP),
    _row("unable to checksum", Code.CHKSUMNOTSUP),
    _row("no space left on device", Code.NOLOCALSPACE, Code.NOREMOTESPACE),
    _row("disk quota exceeded", Code.NOLOCALSPACE, Code.NOREMOTESPACE),
    _row("not enough space", Code.NOLOCALSPACE, Code.NOREMOTESPACE),
    _row("insufficient storage", Code.NOLOCALSPACE, Code.NOREMOTESPACE),
    _row("cannot authenticate", Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
    _row("authentication failed", Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
    _row("auth failed", Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
    _row("permission denied", Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
    _row("not authorized", Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
    _row("could not establish context", Code.NOPROXY),
    _row("unable to locate credentials", Code.MISSINGCREDENTIALS),
    _row("file exists", Code.FILEEXISTS),
    _row("file already exists", Code.FILEEXISTS),
    _row("srm_file_busy", Code.FILEEXISTS),
    _row("no such file or directory", Code.MISSINGINPUTFILE, Code.NOSUCHFILE),
    _row("file not found", Code.MISSINGINPUTFILE, Code.NOSUCHFILE),
    _row("network is unreachable", Code.UNREACHABLENETWORK),
    _row("no route to host", Code.UNREACHABLENETWORK),
    _row("name or service not known", Code.UNREACHABLENETWORK),
    _row("temporary failure in name resolution", Code.UNREACHABLENETWORK),
    _row("service is not available at the moment", Code.SERVICENOTAVAILABLE),
    _row("connection refused", Code.SERVICENOTAVAILABLE),
    _row("service_unavailable", Code.RUCIOSERVICEUNAVAILABLE),
    _row("globus_xio:", Code.GETGLOBUSSYSERR, Code.PUTGLOBUSSYSERR),
    _row("server responded with an error", Code.XRDCPERROR),
    _row("timed out", Code.STAGEINTIMEOUT, Code.STAGEOUTTIMEOUT),
    _row("timeout", Code.STAGEINTIMEOUT, Code.STAGEOUTTIMEOUT),
    _row("operation expired", Code.STAGEINTIMEOUT, Code.STAGEOUTTIMEOUT),
)
"""The first that is found decides, so what is sure stands above what merely may be the cause."""

ERRNOS: Final[Mapping[int, tuple[ErrorCode, ErrorCode]]] = {
    errno.ENOENT: (Code.MISSINGINPUTFILE, Code.NOSUCHFILE),
    errno.EACCES: (Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
    errno.EPERM: (Code.STAGEINAUTHENTICATIONFAILURE, Code.STAGEOUTAUTHENTICATIONFAILURE),
    errno.EEXIST: (Code.FILEEXISTS, Code.FILEEXISTS),
    errno.ENOSPC: (Code.NOLOCALSPACE, Code.NOREMOTESPACE),
    errno.EDQUOT: (Code.NOLOCALSPACE, Code.NOREMOTESPACE),
    errno.ETIME: (Code.STAGEINTIMEOUT, Code.STAGEOUTTIMEOUT),
    errno.ETIMEDOUT: (Code.STAGEINTIMEOUT, Code.STAGEOUTTIMEOUT),
    errno.ENETUNREACH: (Code.UNREACHABLENETWORK, Code.UNREACHABLENETWORK),
    errno.EHOSTUNREACH: (Code.UNREACHABLENETWORK, Code.UNREACHABLENETWORK),
    errno.ECONNREFUSED: (Code.SERVICENOTAVAILABLE, Code.SERVICENOTAVAILABLE),
}
"""Numbers that some tools leave with: on the way in, on the way out."""

STATES: Final[Mapping[ErrorCode, str]] = {
    Code.STAGEINTIMEOUT: "CP_TIMEOUT",
    Code.STAGEOUTTIMEOUT: "CP_TIMEOUT",
    Code.GETADMISMATCH: "AD_MISMATCH",
    Code.PUTADMISMATCH: "AD_MISMATCH",
    Code.GETMD5MISMATCH: "MD5_MISMATCH",
    Code.PUTMD5MISMATCH: "MD5_MISMATCH",
    Code.GETGLOBUSSYSERR: "GLOBUS_FAIL",
    Code.PUTGLOBUSSYSERR: "GLOBUS_FAIL",
    Code.FILEEXISTS: "FILE_EXISTS",
    Code.MISSINGINPUTFILE: "MISSING_INPUT",
    Code.NOSUCHFILE: "NO_FILE",
    Code.CHKSUMNOTSUP: "CHKSUM_NOTSUP",
    Code.NOPROXY: "CONTEXT_FAIL",
    Code.NOLOCALSPACE: "NO_SPACE",
    Code.NOREMOTESPACE: "NO_SPACE",
    Code.SERVICENOTAVAILABLE: "SERVICE_ERROR",
    Code.RUCIOSERVICEUNAVAILABLE: "SERVICE_ERROR",
    Code.UNREACHABLENETWORK: "NETWORK_UNREACHABLE",
    Code.XRDCPERROR: "XRDCP_ERROR",
    Code.MISSINGCREDENTIALS: "S3_ERROR",
    Code.UNKNOWNCHECKSUMTYPE: "UNKNOWN_CHECKSUM_TYPE",
    Code.CHECKSUMCALCFAILURE: "CHECKSUMCALCULATIONFAILURE",
    Code.MISSINGOUTPUTFILE: "MISSINGOUTPUTFILE",
    Code.NOREPLICAS: "NO_REPLICA",
    Code.UNKNOWNCOPYTOOL: "BAD_COPYTOOL",
    Code.REMOTEFILECOULDNOTBEOPENED: "FAILED_REMOTE_OPEN",
}
"""What trace reports call a failure; any other is ``COPY_ERROR``."""


def told_error(direction: str, text: str, number: int | None = None) -> PilotError:
    """The error that a tool's own words tell of, or, where they say nothing, the ``errno`` it left with.

    ``direction`` is ``in`` or ``out``. The words become the detail, cut if they are long.
    """
    text = " ".join(text[-LONGEST_TEXT:].split())
    low = text.lower()
    for phrase in PHRASES:
        if all(word in low for word in phrase.words):
            return PilotError(phrase.fetched if direction == "in" else phrase.stored, text)
    vague = (Code.STAGEINFAILED, Code.STAGEOUTFAILED)
    fetched, stored = ERRNOS.get(number or 0, vague)
    return PilotError(fetched if direction == "in" else stored, text)


def state_of(attempt: Attempt) -> str:
    """The word that trace reports have for how a try ended."""
    if attempt.direction == "direct":
        return OPENED if attempt.error is None else STATES[Code.REMOTEFILECOULDNOTBEOPENED]
    return DONE if attempt.error is None else STATES.get(attempt.error.code, OTHER)
