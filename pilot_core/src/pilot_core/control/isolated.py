"""One call of a copy tool, in this thread or, where the tool may hang or crash, in a child that can be ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pilot_core.config.layers import Layer, Rank, Schema, Settings
from pilot_core.config.options import fields_of, name_of
from pilot_core.config.values import show_value
from pilot_core.errors import PilotError
from pilot_core.io.cancel import CancelFlag, Cancelled
from pilot_core.model.files import FileSpec, Replica
from pilot_core.model.records import pack, unpack
from pilot_core.spec.drivers import CopyTool, Fetches, Moved, Moving, Stores
from pilot_core.spec.markers import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pilot_core.errors import ErrorCode
    from pilot_core.spec.work import Cancel

Verb = Literal["fetch", "store"]

LONGEST_S = 10800.0
_IN_CHILD = "pilot_core.control.isolated:serve"


def run_tool(
    tool: CopyTool,
    verb: Verb,
    path: Path,
    replica: Replica,
    file: FileSpec,
    moving: Moving,
    cancel: Cancel,
    expired: ErrorCode,
) -> Moved:
    """Let ``tool`` fetch to or store from ``path``.

    A child is ended when ``cancel`` is set or the budget is spent (``expired``), whatever it does then.
    """
    if tool.isolation is Isolation.THREAD:
        moved: object = _call(tool, verb, path, replica, file, moving)
    else:
        moved = _call_in_child(tool, verb, path, replica, file, moving, cancel, expired)
    if not isinstance(moved, Moved):
        raise TypeError(f"{verb} returns Moved, not {moved!r}")
    return moved


def _call(tool: CopyTool, verb: Verb, path: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
    if verb == "fetch":
        return cast("Fetches", tool).fetch(replica, path, file, moving)
    return cast("Stores", tool).store(path, replica, file, moving)


def _call_in_child(
    tool: CopyTool,
    verb: Verb,
    path: Path,
    replica: Replica,
    file: FileSpec,
    moving: Moving,
    cancel: Cancel,
    expired: ErrorCode,
) -> Moved:
    from pilot_core.io.helper import call_in_child

    budget_s = LONGEST_S if moving.budget_s is None else moving.budget_s
    request = {
        "tool": f"{type(tool).__module__}:{type(tool).__qualname__}",
        "options": _options_of(tool),
        "verb": verb,
        "path": str(path),
        "replica": pack(replica),
        "file": pack(file),
        "budget_s": budget_s,
        "proxy": None if moving.proxy is None else str(moving.proxy),
    }
    flag = cancel if isinstance(cancel, CancelFlag) else None
    try:
        return cast("Moved", unpack(Moved, call_in_child(_IN_CHILD, request, budget_s, moving.progress, flag)))
    except TimeoutError:
        raise PilotError(expired, f"{tool.name} was ended after {budget_s:g} s") from None
    except Cancelled as given_up:
        raise PilotError(expired, str(given_up)) from None


def _options_of(tool: CopyTool) -> Mapping[str, str]:
    """The tool's own section as text, as the command line would give it."""
    if tool.options is None:
        return {}
    section: Any = tool.settings.of(cast("Any", tool.options))
    given = ((each.name, getattr(section, each.name), each.default) for each in fields_of(tool.options))
    return {name: show_value(value) for name, value, default in given if value != default}


def serve(request: Mapping[str, Any], report: Callable[[Any], None]) -> Any:
    """Make the tool anew in the child and let it move one file."""
    from importlib import import_module
    from operator import attrgetter

    module, _, name = request["tool"].partition(":")
    kind: type[CopyTool] = attrgetter(name)(import_module(module))
    proxy = None if request["proxy"] is None else Path(request["proxy"])
    moving = Moving(cancel=CancelFlag(), budget_s=request["budget_s"], progress=report, proxy=proxy)
    replica, file = unpack(Replica, request["replica"]), unpack(FileSpec, request["file"])
    tool = kind(_settings(kind, request["options"]))
    return pack(_call(tool, request["verb"], Path(request["path"]), replica, file, moving))


def _settings(kind: type[CopyTool], options: Mapping[str, str]) -> Settings:
    section: Any = kind.options
    if section is None:
        return Settings({}, {})
    layer = Layer(Rank.COMMAND_LINE, f"the pilot, for {kind.name}", {name_of(section): options})
    return Schema([section]).merge(layer)
