"""The two directions of a transfer, and the codes of what goes wrong in each."""

from __future__ import annotations

import errno

from attrs import frozen

from pilot_core.control.isolated import Verb
from pilot_core.errors import Code, ErrorCode, PilotError
from pilot_core.model.files import FileSpec
from pilot_core.plugins.guard import PluginFailed
from pilot_core.spec.drivers import CopyTool, Fetches, FetchesMany, Stores, StoresMany

FULL = (errno.ENOSPC, errno.EDQUOT)
Failure = PilotError | PluginFailed | OSError


@frozen
class Side:
    """A direction: what a tool does in it, and the codes of what goes wrong in it."""

    direction: str
    verb: Verb
    tool: type[CopyTool]
    many: type[CopyTool]
    failed: ErrorCode
    expired: ErrorCode
    no_way: ErrorCode
    differs: ErrorCode
    md5_differs: ErrorCode
    full: ErrorCode

    def mismatch(self, file: FileSpec) -> ErrorCode:
        """The code of a file that is not what it should be."""
        return self.md5_differs if file.checksum and file.checksum.kind == "md5" else self.differs

    def is_mismatch(self, error: PilotError) -> bool:
        """Whether a file was not what it should be."""
        return error.code in (self.differs, self.md5_differs)

    def error(self, failed: Failure) -> PilotError:
        """What went wrong, in the words of the pilot."""
        cause = failed.cause if isinstance(failed, PluginFailed) else failed
        if isinstance(cause, OSError) and cause.errno in FULL:
            return PilotError(self.full, str(cause))
        return failed if isinstance(failed, PilotError) else PilotError(self.failed, str(failed))


IN = Side(
    "in",
    "fetch",
    Fetches,
    FetchesMany,
    Code.STAGEINFAILED,
    Code.STAGEINTIMEOUT,
    Code.NOREPLICAS,
    Code.GETADMISMATCH,
    Code.GETMD5MISMATCH,
    Code.NOLOCALSPACE,
)
OUT = Side(
    "out",
    "store",
    Stores,
    StoresMany,
    Code.STAGEOUTFAILED,
    Code.STAGEOUTTIMEOUT,
    Code.NOSTORAGEPROTOCOL,
    Code.PUTADMISMATCH,
    Code.PUTMD5MISMATCH,
    Code.NOREMOTESPACE,
)
