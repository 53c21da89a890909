"""``pilot profile check``: what is wrong with a profile, or what it says and makes of a job."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from pilot_core.cli.output import answer, columns
from pilot_core.cli.parser import OneOf, Parser, add_json
from pilot_core.model.queue import Queue

if TYPE_CHECKING:
    from pilot_core.builtin.generic.profile import Profile
    from pilot_core.config.layers import Settings
    from pilot_core.model.job import Job
    from pilot_core.plugins.discover import Discovery


def describe(parser: Parser) -> None:
    """Add the arguments of ``pilot profile``."""
    parser.add_argument("what", metavar="check", type=OneOf("check"), help="Say all mistakes, or what it says.")
    parser.add_argument("file", metavar="FILE", type=Path, help="The profile.")
    parser.add_argument("--job", metavar="JOB", type=Path, help="Say what it makes of this described job.")
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Check a profile, its settings too, and explain it."""
    from pilot_core.builtin.generic.explain import explain, explain_job
    from pilot_core.builtin.generic.profile import read_profile

    profile = read_profile(arguments.file.absolute())
    settings = _checked(profile)
    if arguments.job:
        rows = [*explain_job(profile, _job(profile, arguments.job), Queue(name="local"), settings)]
    else:
        rows = [*explain(profile)]
    told = {"profile": str(arguments.file), "about": profile.about, "says": rows, "warnings": list(settings.warnings)}
    answer(arguments.json, told, columns(("WHAT", profile.about or "WHAT IT SAYS"), rows))
    for warning in settings.warnings:
        print(f"pilot: warning: {warning}", file=sys.stderr)
    return 0


def _checked(profile: Profile) -> Settings:
    """Its settings, by the options of all that is installed, whether or not it could be used on this node."""
    from pilot_core.agent.setup import Sources, choose
    from pilot_core.config.layers import Layer, Rank, Schema
    from pilot_core.config.schema import CORE
    from pilot_core.plugins.discover import Discovery
    from pilot_core.spec.startup import pilot_config_sections

    discovery = Discovery()
    hooks, _ = choose(Sources(flags={"bootstrap.profile": str(profile.path)}), discovery)
    of_plugins = [section for each in hooks.gather(pilot_config_sections) for section in each.value]
    entries = [entry for group in discovery.groups() for entry in discovery.load(group, _names(discovery, group))]
    of_drivers = [options for entry in entries if (options := getattr(entry.obj, "options", None)) is not None]
    schema = Schema(dict.fromkeys((*CORE, *of_plugins, *of_drivers)))
    return schema.merge(Layer(Rank.SITE, str(profile.path), profile.defaults, base=str(profile.path.parent)))


def _names(discovery: Discovery, group: str) -> list[str]:
    return [entry.name for entry in discovery.find(group)]


def _job(profile: Profile, path: Path) -> Job:
    """The job that a file describes, with the experiment's own facts."""
    from pilot_core.builtin.generic.experiment import Experiment
    from pilot_core.model.described import describe as read_file
    from pilot_core.model.described import read_job
    from pilot_core.model.job import JobExtras

    raw = read_file(path.absolute(), path.read_bytes(), str(path))
    facts = Experiment(profile).pilot_job_extras(raw)
    return evolve(read_job(raw), extras=JobExtras({key.name: value for key, value in facts.items()}))
