"""What every plugin must do: its hooks are accepted, its answers have the types that the specs name, a pilot runs."""

from __future__ import annotations

import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pilot_core.agent.setup import SPECS
from pilot_core.config.layers import Settings
from pilot_core.control.patterns import read_patterns
from pilot_core.model.files import Attempt, FileSpec, Receipt, Replica
from pilot_core.model.job import FINISHED, STAGE_IN, Job, JobKey
from pilot_core.model.payload import Outcome, Usage
from pilot_core.model.queue import Queue, Resources
from pilot_core.plugins.hooks import Hooks, Tier
from pilot_core.spec.payload import pilot_payload_patterns
from pilot_core.testing.fakes import Payload
from pilot_core.testing.kit import PilotKit, Run, a_job


class PluginContract(ABC):
    """Answer ``plugin``; give ``wire``, ``files`` and ``payload`` if your jobs need more than the plainest."""

    __test__ = False
    wire: ClassVar[Mapping[str, object]] = {}
    """Fields of the job as your server sends it."""
    settings: ClassVar[Mapping[str, object]] = {}
    payload: ClassVar[Payload] = Payload()

    def __init_subclass__(cls) -> None:
        """Whoever answers is a test; another contract is not."""
        cls.__test__ = "plugin" in vars(cls) or cls.__test__

    @property
    @abstractmethod
    def plugin(self) -> Any:
        """The plugin: a module or an object; a class attribute will do."""

    def hooks(self) -> Hooks:
        """Hooks with this plugin alone."""
        hooks = Hooks(*SPECS)
        hooks.register(self.plugin, "plugin", tier=Tier.PLUGIN)
        hooks.seal()
        return hooks

    def run(self, tmp_path: Path) -> Run:
        """A whole pilot with the plugin and one job."""
        kit = PilotKit(plugins=[self.plugin], settings=self.settings, outcome=self.payload, tmp=tmp_path)
        return kit.run(a_job(wire=self.wire))

    def test_its_patterns_can_be_read_and_fit_their_examples(self) -> None:
        """Files of patterns, if it has any."""
        for answer in self.hooks().gather(pilot_payload_patterns):
            for path in answer.value:
                assert read_patterns(path)

    def test_its_hooks_are_accepted(self) -> None:
        (registered,) = self.hooks().plugins()
        assert registered.hooks, "it answers no hook: are its functions marked with @hookimpl?"

    def test_a_job_finishes_with_it(self, tmp_path: Path) -> None:
        run = self.run(tmp_path)
        assert run.trail[-1] == FINISHED, run.story()
        assert " failed in " not in run.log, run.story()

    def test_its_answers_have_the_types_of_the_specs(self, tmp_path: Path) -> None:
        run, hooks = self.run(tmp_path), self.hooks()
        (registered,) = hooks.plugins()
        for name in registered.hooks:
            spec: Any = hooks.specs[name]
            given = self.given(run.job, tmp_path)
            wanted = {each: given[each] for each in typing.get_type_hints(spec) if each != "return"}
            answer = getattr(hooks, spec.shape.value)(spec, **wanted)
            for value in (each.value for each in answer) if isinstance(answer, list) else (answer,):
                told = typing.get_type_hints(spec)["return"]
                assert fits(value, told), f"{name} answered {value!r}, which is no {told}"

    def given(self, job: Job, workdir: Path) -> Mapping[str, Any]:
        """What hooks are asked with, by the names of their arguments."""
        receipt = Receipt(lfn="a", direction="in", url="kit://a", tool="kit", size_b=1)
        lies, file = Replica("kit://a"), FileSpec(lfn="a")
        tried = Attempt(
            file=file, direction="in", replica=lies, tool="kit", number=1, asked=1.0, began=2.0, moved=3.0, ended=4.0
        )
        return {
            "attempt": tried,
            "receipts": (receipt,),
            "replicas": {"a": (lies,)},
            "direct": {"a": lies},
            "job": job,
            "queue": Queue(name="q"),
            "workdir": workdir,
            "wire": self.wire,
            "free": Resources(),
            "slot": Resources(),
            "files": job.outputs,
            "phase": STAGE_IN,
            "receipt": receipt,
            "outcome": Outcome(exit_code=0),
            "usage": Usage(),
            "record": {},
            "final": True,
            "pid": 1,
            "error": None,
            "settings": self.merged(workdir),
        }

    def merged(self, root: Path) -> Settings:
        """The settings of a pilot that has this plugin alone."""
        return PilotKit(plugins=[self.plugin], settings=self.settings).set_up(root).settings


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of an annotated type, as deep as a test can see."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind in (Any, object):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in args)
    if origin is type or kind is type:
        return isinstance(value, type)
    if origin is JobKey:
        return isinstance(value, JobKey)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(fits(k, args[0]) and fits(v, args[1]) for k, v in value.items())
    if origin is not None:
        if not isinstance(value, Collection) or isinstance(value, str) or not isinstance(value, origin):
            return False
        return all(fits(each, args[0]) for each in value)
    if kind is float:
        return isinstance(value, int | float)
    return value is None if kind is type(None) else isinstance(value, kind)
