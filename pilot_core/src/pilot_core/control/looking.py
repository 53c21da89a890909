"""What lies in storage, asked of copy tools that look, place by place."""

from __future__ import annotations

from attrs import frozen

from pilot_core.control.calls import Calls, Means, Way
from pilot_core.control.sides import IN
from pilot_core.errors import Code, PilotError
from pilot_core.model.files import Checksum, Transfer
from pilot_core.plugins.guard import PluginFailed
from pilot_core.spec.drivers import Looks


@frozen(kw_only=True)
class Seen:
    """A file that was found: where, by which tool, and what the storage says of it."""

    lfn: str
    url: str
    tool: str
    size_b: int | None = None
    checksum: Checksum | None = None
    endpoint: str = ""


def look_at(means: Means, calls: Calls, transfer: Transfer) -> Seen | PilotError:
    """The first place that has the file; else what the last one that knows anything said."""
    if transfer.error is not None:
        return transfer.error
    ways = [Way(place, tool) for place in transfer.candidates for tool in means.able(Looks, place)]
    why = PilotError(Code.NOREPLICAS, f"{transfer.file.lfn}: no place of it is known that a copy tool here can look at")
    for way in ways:
        found = _look(means, calls, way, transfer)
        if isinstance(found, Seen):
            return found
        why = found
    return why


def _look(means: Means, calls: Calls, way: Way, transfer: Transfer) -> Seen | PilotError:
    assert isinstance(way.tool, Looks)
    file, shown = transfer.file, means.redactor.scrub(way.replica.shown)
    try:
        found = calls.look(way.tool, way.replica, file)
    except (PilotError, PluginFailed) as failed:
        error = IN.error(failed)
        return PilotError(error.code, means.redactor.scrub(f"{file.lfn}: {way.replica.hide(error.detail)}"))
    if found is None:
        return PilotError(Code.MISSINGINPUTFILE, f"{file.lfn} is not at {shown}")
    return Seen(
        lfn=file.lfn,
        url=shown,
        tool=way.tool.name,
        size_b=found.size_b,
        checksum=found.checksum,
        endpoint=way.replica.endpoint,
    )
