"""Hooks of the pilot's own start and end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pilot_core.errors import PilotError
from pilot_core.model.queue import Queue, Resources
from pilot_core.spec.markers import Shape, hook
from pilot_core.spec.work import Settings


@hook(Shape.GATHER, since="0.1")
def pilot_config_sections() -> Sequence[type]:
    """Name the option sections of this plugin: frozen attrs classes of ``option()`` fields.

    Asked once at start, before files are read. The sections join ``--help``, environment names and checks.
    Must not block. A failure ends the start, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_config_defaults() -> Mapping[str, Mapping[str, object]]:
    """Give other defaults for options, the core's and the plugin's own: section to name to value.

    Asked once at start, of all plugins; the experiment's count over those of other plugins.
    Must not block. A failure ends the start, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_config_unused(settings: Settings) -> Collection[str]:
    """Name hooks that this plugin answers in vain with these settings: it is not asked, and nothing waits for it.

    Asked once, when all settings are read. Must not block. A failure ends the start, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_error_codes() -> type:
    """Name the class whose attributes are the plugin's own error codes.

    Asked once at start. Numbers are from 2000 to 2999 and taken by nobody else.
    Must not block. A failure ends the start, in the plugin's name.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_node_check(queue: Queue, workdir: Path, settings: Settings) -> Sequence[PilotError]:
    """Say what is wrong with this node; an empty answer says that it is fit for work.

    Asked once, in a worker thread, before the first request for a job; it may block within the budget for checks.
    Any error keeps the pilot from taking work and becomes its exit code. A failure counts as such an error.
    """


@hook(Shape.GATHER, since="0.1")
def pilot_node_facts() -> Mapping[str, object]:
    """Tell facts about the node for records and reports: JSON values under names of the plugin's own.

    Asked once, with the checks, in a worker thread. A failure is logged and the facts are left out.
    """


@hook(Shape.TELL, since="0.1")
def pilot_started(queue: Queue, slot: Resources, settings: Settings) -> None:
    """Hear that the pilot is ready and is about to ask for work.

    Told once, in a worker thread, in order with all other news. A failure is logged.
    """


@hook(Shape.TELL, since="0.1")
def pilot_ended(error: PilotError | None) -> None:
    """Hear that the last job is over and the pilot is about to exit, and why.

    Told once, in a worker thread; the pilot waits for it a short while only. A failure is logged.
    """
