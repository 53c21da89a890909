"""A call of a copy tool, in this thread or, where the tool may hang or crash, in a child that can be ended."""

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
from pilot_core.spec.drivers import (
    CopyTool,
    Fetches,
    FetchesMany,
    Found,
    Looks,
    Moved,
    Moving,
    Stores,
    StoresMany,
    Wanted,
)
from pilot_core.spec.markers import Isolation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pilot_core.errors import ErrorCode

    Answer = tuple[Wanted, Moved | PilotError]
    Hear = Callable[[Wanted, Moved | PilotError], None]
    Report = Callable[[Any], None]

Verb = Literal["fetch", "store", "look"]

LONGEST_S = 10800.0
_IN_CHILD = "pilot_core.control.isolated:serve"


def run_tool(
    tool: CopyTool, verb: Verb, path: Path, replica: Replica, file: FileSpec, moving: Moving, expired: ErrorCode
) -> Moved:
    """Let ``tool`` fetch to or store from ``path``.

    A child is ended when ``moving.cancel`` is set or the budget is spent (``expired``), whatever it does then.
    """
    if tool.isolation is Isolation.THREAD:
        return _moved(verb, _call(tool, verb, path, replica, file, moving))
    request = {"path": str(path), "replica": pack(replica), "file": pack(file), "kept_b": moving.kept_b}
    answer = _call_child(tool, verb, request, moving, expired, moving.progress)
    return cast("Moved", unpack(Moved, answer))


def run_many(
    tool: CopyTool, verb: Verb, wanted: Sequence[Wanted], moving: Moving, expired: ErrorCode, hear: Hear
) -> None:
    """Let ``tool`` fetch or store many files, and hear of each as soon as it is known."""
    if tool.isolation is Isolation.THREAD:
        for each, answer in _call_many(tool, verb, wanted, moving):
            hear(each, answer if isinstance(answer, PilotError) else _moved(f"{verb}_many", answer))
        return

    def report(told: Any) -> None:
        if isinstance(told, int):
            moving.progress(told)
        else:
            number, answer = told
            hear(wanted[number], PilotError.from_wire(answer) if "number" in answer else unpack(Moved, answer))

    request = {"wanted": [[pack(each.replica), str(each.path), pack(each.file)] for each in wanted]}
    _call_child(tool, verb, request, moving, expired, report)


def run_look(tool: Looks, replica: Replica, file: FileSpec, moving: Moving, expired: ErrorCode) -> Found | None:
    """Let ``tool`` say what lies there."""
    if tool.isolation is Isolation.THREAD:
        return tool.look(replica, file, moving)
    request = {"replica": pack(replica), "file": pack(file)}
    answer = _call_child(tool, "look", request, moving, expired, moving.progress)
    return None if answer is None else cast("Found", unpack(Found, answer))


def _moved(verb: str, moved: object) -> Moved:
    if not isinstance(moved, Moved):
        raise TypeError(f"{verb} returns Moved, not {moved!r}")
    return moved


def _call(tool: CopyTool, verb: Verb, path: Path, replica: Replica, file: FileSpec, moving: Moving) -> Moved:
    if verb == "fetch":
        return cast("Fetches", tool).fetch(replica, path, file, moving)
    return cast("Stores", tool).store(path, replica, file, moving)


def _call_many(tool: CopyTool, verb: Verb, wanted: Sequence[Wanted], moving: Moving) -> Iterator[Answer]:
    if verb == "fetch":
        return cast("FetchesMany", tool).fetch_many(wanted, moving)
    return cast("StoresMany", tool).store_many(wanted, moving)


def _call_child(
    tool: CopyTool, verb: Verb, request: Mapping[str, Any], moving: Moving, expired: ErrorCode, report: Report
) -> Any:
    from pilot_core.io.helper import call_in_child

    budget_s = LONGEST_S if moving.budget_s is None else moving.budget_s
    made = {
        "tool": f"{type(tool).__module__}:{type(tool).__qualname__}",
        "options": _options_of(tool),
        "proxy": None if moving.proxy is None else str(moving.proxy),
    }
    flag = moving.cancel if isinstance(moving.cancel, CancelFlag) else None
    try:
        return call_in_child(_IN_CHILD, {**made, "verb": verb, "budget_s": budget_s, **request}, budget_s, report, flag)
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


def serve(request: Mapping[str, Any], report: Report) -> Any:
    """Make the tool anew in the child and let it move what is asked for."""
    from importlib import import_module
    from operator import attrgetter

    module, _, name = request["tool"].partition(":")
    kind: type[CopyTool] = attrgetter(name)(import_module(module))
    tool, verb = kind(_settings(kind, request["options"])), request["verb"]
    proxy = None if request["proxy"] is None else Path(request["proxy"])
    kept_b = request.get("kept_b", 0)
    moving = Moving(cancel=CancelFlag(), budget_s=request["budget_s"], progress=report, kept_b=kept_b, proxy=proxy)
    if "wanted" in request:
        return _serve_many(tool, verb, request["wanted"], moving, report)
    replica, file = unpack(Replica, request["replica"]), unpack(FileSpec, request["file"])
    if verb == "look":
        return pack(cast("Looks", tool).look(replica, file, moving))
    return pack(_call(tool, verb, Path(request["path"]), replica, file, moving))


def _serve_many(tool: CopyTool, verb: Verb, packed: Iterable[Any], moving: Moving, report: Report) -> None:
    wanted = [Wanted(unpack(Replica, place), Path(path), unpack(FileSpec, file)) for place, path, file in packed]
    numbers = {each: number for number, each in enumerate(wanted)}
    for each, answer in _call_many(tool, verb, wanted, moving):
        told = answer if isinstance(answer, PilotError) else _moved(f"{verb}_many", answer)
        report([numbers[each], pack(told)])


def _settings(kind: type[CopyTool], options: Mapping[str, str]) -> Settings:
    section: Any = kind.options
    if section is None:
        return Settings({}, {})
    layer = Layer(Rank.COMMAND_LINE, f"the pilot, for {kind.name}", {name_of(section): options})
    return Schema([section]).merge(layer)
