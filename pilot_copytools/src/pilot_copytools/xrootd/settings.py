"""The options of the copy tool "xrootd", and what they are called in the client's own environment."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from pilot_copytools._cli import Access
from pilot_core.sdk import option


@frozen(kw_only=True)
class XrootdOptions(Access):
    """How files come from and go to ``root://``."""

    section = "xrootd"

    bindings: bool = option(True, help="Use the Python bindings where they are installed, not the programs.")
    lanes: int = option(
        6, help="Files moved at a time, over one connection, where many are moved in one call.", least=1
    )
    connect_s: float = option(
        10.0, help="A server that does not take the connection so long is away.", unit="s", least=1
    )
    answer_s: float = option(60.0, help="A server that says nothing for so long is given up.", unit="s", least=1)
    rename: bool = option(
        True, help="Whether the storage can rename; otherwise a file is put under its final name and removed if wrong."
    )


def limits(options: XrootdOptions) -> Mapping[str, int]:
    """The client's own limits, by its own names: one try, as trying again is not its business."""
    answer_s, connect_s = int(options.answer_s), int(options.connect_s)
    return {
        "ConnectionWindow": connect_s,
        "ConnectionRetry": 1,
        "StreamErrorWindow": 0,
        "StreamTimeout": answer_s,
        "RequestTimeout": answer_s,
        "TimeoutResolution": 1,
        "CpRetry": 0,
    }


def limit_variables(options: XrootdOptions) -> Mapping[str, str]:
    """The same for its programs."""
    return {f"XRD_{name.upper()}": str(value) for name, value in limits(options).items()}
