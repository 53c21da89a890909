"""What is installed here that the reference tells of: drivers, their sections, plugins' sections and error codes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

from attrs import frozen

from pilot_core.config.schema import CORE
from pilot_core.control.patterns import Pattern, read_patterns
from pilot_core.errors import register
from pilot_core.plugins.discover import EXPERIMENT, PLUGIN, Discovery
from pilot_core.spec import drivers as spec

KINDS: Final[dict[str, tuple[type[Any], ...]]] = {
    "communicator": (spec.Communicator,),
    "copytool": (spec.CopyTool, spec.Fetches, spec.FetchesMany, spec.Stores, spec.StoresMany, spec.Looks),
    "workflow": (spec.Workflow,),
    "monitor": (spec.Monitor,),
    "resource": (spec.Resource,),
    "launcher": (spec.Launcher,),
    "container": (spec.Container,),
    "info_source": (spec.InfoSource,),
    "log_shipper": (spec.LogShipper,),
    "event_channel": (spec.EventChannel,),
}
"""The kinds of drivers, which are the groups of entry points without their prefix, and the classes to inherit."""


@frozen
class Installed:
    """Something found under an entry point."""

    name: str
    distribution: str
    found: Any


def loaded(group: str) -> Iterator[Installed]:
    """All that is installed in a group and can be imported."""
    discovery = Discovery()
    names = [entry.name for entry in discovery.find(group)]
    for entry in discovery.load(group, names):
        if entry.obj is not None:
            yield Installed(entry.name, entry.distribution, entry.obj)


def drivers_of(kind: str) -> Iterator[Installed]:
    """The drivers of a kind."""
    return loaded(f"pilot_core.{kind}")


def sections() -> list[type[Any]]:
    """All sections of options, each once: the core's, drivers', plugins'."""
    found = [*CORE]
    found += [
        section for kind in KINDS for each in drivers_of(kind) if (section := getattr(each.found, "options", None))
    ]
    found += [section for each in _plugins() for section in _answer(each.found, "pilot_config_sections") or ()]
    return list(dict.fromkeys(found))


@functools.cache
def learn_codes() -> None:
    """Register plugins' error codes, so that the table has them."""
    for each in _plugins():
        if codes := _answer(each.found, "pilot_error_codes"):
            register(each.distribution, codes)


def patterns() -> list[Pattern]:
    """Every pattern of every plugin."""
    paths = [path for each in _plugins() for path in _answer(each.found, "pilot_payload_patterns") or ()]
    return [pattern for path in paths for pattern in read_patterns(path)]


def _plugins() -> Iterator[Installed]:
    yield from loaded(EXPERIMENT)
    yield from loaded(PLUGIN)


def _answer(plugin: Any, hook: str) -> Any:
    asked = getattr(plugin, hook, None)
    return asked() if callable(asked) else None
