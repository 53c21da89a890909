"""Asking plugins, and saying in whose name a call failed.

pluggy checks specs and hookimpls and keeps the order inside a tier (``tryfirst``, ``trylast``); the tiers and
the three shapes are ours. Highest tier first: the site's file, the experiment, the plugins, the core.
Wrappers (``@hookimpl(wrapper=True)``) go around all tiers, the highest outermost; around a gather they see
and return the list of ``Answer``. After ``seal`` the lists of hookimpls are read-only, so any thread may ask.
"""

from __future__ import annotations

import inspect
import logging
import reprlib
from collections import Counter
from collections.abc import Callable, Collection
from enum import IntEnum
from functools import partial
from threading import Lock
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from attrs import evolve, field, frozen
from pluggy import PluginManager, PluginValidationError

from pilot_core.config.spelling import meant
from pilot_core.errors import PilotError
from pilot_core.plugins.guard import Guard, PluginFailed, PluginRef, Running
from pilot_core.plugins.hands import Hands
from pilot_core.plugins.patience import Patience
from pilot_core.spec.markers import PREFIX, PROJECT, Hook, Shape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pluggy import HookImpl

    from pilot_core.spec.markers import First, Gather, Tell

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

STRIKES = 3
CORE = "pilot-core"
log = logging.getLogger(__name__)


class Tier(IntEnum):
    """Whose word counts more: the higher is asked first and wins."""

    CORE = 0
    PLUGIN = 1
    EXPERIMENT = 2
    SITE = 3


@frozen
class Answer(Generic[T_co]):
    """What one plugin said to a gather."""

    plugin: str
    tier: Tier
    value: T_co


class PluginRefused(Exception):
    """The plugin cannot be registered; ``reasons`` holds everything that is wrong with it."""

    def __init__(self, plugin: PluginRef, *reasons: str) -> None:
        super().__init__(f"{plugin}: {'; '.join(reasons)}")
        self.plugin = plugin
        self.reasons = reasons


@frozen
class Registered:
    """A plugin that is asked, and for which hooks."""

    plugin: PluginRef
    tier: Tier
    hooks: tuple[str, ...]


@frozen
class _Impl:
    plugin: PluginRef
    tier: Tier
    function: Callable[..., Any]
    arguments: tuple[str, ...]

    def ask(self, given: Mapping[str, object]) -> Any:
        answer = self.function(*[given[name] for name in self.arguments])
        if isinstance(answer, GeneratorType):
            raise TypeError("answered with a generator, whose errors would come too late; return a list")
        return answer


@frozen
class _Asked:
    name: str
    shape: Shape
    arguments: frozenset[str]
    impls: tuple[_Impl, ...]
    wrappers: tuple[_Impl, ...]

    def without(self, plugin: str) -> _Asked:
        impls, wrappers = (
            tuple(each for each in asked if each.plugin.name != plugin) for asked in (self.impls, self.wrappers)
        )
        return evolve(self, impls=impls, wrappers=wrappers)


class Hooks:
    """The plugins of one pilot. Register, ``seal``, then ask."""

    def __init__(
        self, *specs: object, trace: Callable[[str], None] | None = None, budget_s: float | None = None
    ) -> None:
        """``budget_s`` is how long an answer of somebody else's plugin is awaited before it is left behind."""
        self.guard = Guard()
        self.budget_s = budget_s
        self.hands = Hands()
        self.specs: dict[str, Hook[..., object]] = {}
        self._manager = PluginManager(PROJECT)
        self._plugins: dict[str, tuple[PluginRef, Tier]] = {}
        self._asked: dict[str, _Asked] | None = None
        self._benched: frozenset[tuple[str, str]] = frozenset()
        self._strikes: Counter[tuple[str, str]] = Counter()
        self._hung: dict[tuple[str, str], Patience] = {}
        self._lock = Lock()
        self._trace = trace
        for spec in specs:
            self._manager.add_hookspecs(spec)  # type: ignore[arg-type]
            self.specs.update(_specs_in(spec))

    def register(
        self, plugin: object, name: str, *, tier: Tier, distribution: str = "", version: str = ""
    ) -> list[str]:
        """Take a plugin in, or raise ``PluginRefused`` with all reasons.

        A site's file may use hooks that this core does not have; they are dropped, and the returned warnings
        say so.
        """
        ref = PluginRef(name, distribution, version)
        if self._asked is not None:
            raise RuntimeError(f"{ref}: registration has ended")
        if name in self._plugins:
            raise PluginRefused(ref, f"its name is taken by {self._plugins[name][0]}")
        found = [check for check in _check_all(self._manager, plugin, self.specs) if check.fault]
        dropped = [check.fault for check in found if check.unknown and tier is Tier.SITE]
        if reasons := [check.fault for check in found if check.fault not in dropped]:
            raise PluginRefused(ref, *reasons)
        try:
            self._manager.register(plugin, name)
        except (PluginValidationError, ValueError) as refused:
            if self._manager.get_plugin(name) is plugin:
                self._manager.unregister(name=name)
            raise PluginRefused(ref, " ".join(str(refused).split())) from None
        self._plugins[name] = ref, tier
        return dropped

    def seal(self) -> None:
        """End registration."""
        self._asked = {name: self._order(name) for name in self.specs}
        for asked in self._asked.values():
            for impl in asked.impls + asked.wrappers:
                self.guard.own(impl.plugin, impl.function)

    def plugins(self) -> list[Registered]:
        """Who is asked what, in the order of asking."""
        hooks: dict[str, list[str]] = {name: [] for name in self._plugins}
        for name in self.specs:
            for impl in getattr(self._manager.hook, name).get_hookimpls():
                hooks[impl.plugin_name].append(name)
        ranked = sorted(self._plugins.values(), key=lambda each: -each[1])
        return [Registered(ref, tier, tuple(sorted(set(hooks[ref.name])))) for ref, tier in ranked]

    def answerers(self, name: str) -> list[tuple[PluginRef, Tier]]:
        """Who answers a hook, in the order of asking."""
        return [(impl.plugin, impl.tier) for impl in self._asked[name].impls] if self._asked else []

    def first(self, spec: First[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The first answer that is not ``None``, the site asked first."""
        asked = self._open(spec, Shape.FIRST, args, kwargs)
        answer: T | None = self._wrap(asked, kwargs, partial(self._decide, asked, kwargs))
        return answer

    def gather(self, spec: Gather[P, T], /, *args: P.args, **kwargs: P.kwargs) -> list[Answer[T]]:
        """All answers that are not ``None``, the site's first."""
        asked = self._open(spec, Shape.GATHER, args, kwargs)
        answers: list[Answer[T]] = self._wrap(asked, kwargs, partial(self._collect, asked, kwargs))
        return answers

    def tell(self, spec: Tell[P], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Inform everybody. A failure is logged; after three in a row the plugin is benched for this hook."""
        asked = self._open(spec, Shape.TELL, args, kwargs)
        for impl in self._awake(asked):
            try:
                self._ask(asked, impl, kwargs)
            except (PluginFailed, PilotError) as failed:
                self._strike(impl.plugin, asked.name, failed)
            else:
                self._strikes.pop((impl.plugin.name, asked.name), None)

    def listens(self, spec: Tell[P], /) -> bool:
        """Whether anybody wants this news."""
        return bool(self._asked and self._asked[spec.__name__].impls)

    def answers(self, spec: Gather[P, T], /) -> bool:
        """Whether anybody can be asked this."""
        return bool(self._asked and self._asked[spec.__name__].impls)

    def guarded(self, plugin: PluginRef, what: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a driver in its plugin's name; see ``Guard.call``."""
        return self.guard.call(plugin, what, call, *args, **kwargs)

    def retire(self, plugin: str, names: Collection[str]) -> None:
        """Ask this plugin these hooks never more, and do not count it among those that answer them."""
        asked = self._asked or {}
        if unknown := next((name for name in names if name not in asked), None):
            told = LookupError(f"no hook {unknown!r}{meant(unknown, asked)}")
            raise PluginFailed(self._plugins[plugin][0], "pilot_config_unused", told)
        self._asked = asked | {name: asked[name].without(plugin) for name in names}

    def running(self) -> dict[int, Running]:
        """Which plugin each thread is in right now, by thread identifier: who hangs can be named."""
        return self.guard.running()

    def bench(self, plugin: str, hook: str) -> None:
        """Ask this plugin this hook no more until ``unbench``."""
        with self._lock:
            self._benched |= {(plugin, hook)}

    def left_behind(self) -> tuple[str, ...]:
        """Answers that were awaited in vain and are still not there."""
        return tuple(f"{plugin} in {hook}" for (plugin, hook), call in self._hung.items() if call.hangs)

    def benched(self) -> list[tuple[str, str]]:
        """Pairs of plugin and hook that are not asked for now."""
        return sorted({*self._benched, *self._hung})

    def unbench(self) -> None:
        """Give everybody another chance: the next job begins."""
        with self._lock:
            self._benched = frozenset()
            self._strikes.clear()

    def _order(self, name: str) -> _Asked:
        caller = getattr(self._manager.hook, name)
        known: list[HookImpl] = list(reversed(caller.get_hookimpls()))
        known.sort(key=lambda each: -self._plugins[each.plugin_name][1])
        asked = tuple(self._impl(each) for each in known if not each.wrapper)
        wrappers = tuple(self._impl(each) for each in known if each.wrapper)
        return _Asked(name, self.specs[name].shape, frozenset(caller.spec.argnames), asked, wrappers)

    def _impl(self, impl: HookImpl) -> _Impl:
        ref, tier = self._plugins[impl.plugin_name]
        return _Impl(ref, tier, impl.function, tuple(impl.argnames))

    def _open(self, spec: Any, shape: Shape, args: object, given: Mapping[str, object]) -> _Asked:
        if self._asked is None:
            raise RuntimeError("plugins are asked after seal()")
        asked = self._asked.get(spec.__name__)
        if asked is None or asked.shape is not shape:
            raise TypeError(f"{spec.__name__} is not a hook of shape {shape.value} here")
        if args or given.keys() != asked.arguments:
            raise TypeError(f"{asked.name} takes exactly, by name: {', '.join(sorted(asked.arguments))}")
        return asked

    def _awake(self, asked: _Asked) -> Iterator[_Impl]:
        return (impl for impl in asked.impls if self._is_awake(impl, asked))

    def _is_awake(self, impl: _Impl, asked: _Asked) -> bool:
        key = impl.plugin.name, asked.name
        return key not in self._benched and key not in self._hung

    def _decide(self, asked: _Asked, given: Mapping[str, object]) -> object:
        answers = (self._ask(asked, impl, given) for impl in self._awake(asked))
        return next((answer for answer in answers if answer is not None), None)

    def _collect(self, asked: _Asked, given: Mapping[str, object]) -> list[Answer[object]]:
        answers = ((impl, self._ask(asked, impl, given)) for impl in self._awake(asked))
        return [Answer(impl.plugin.name, impl.tier, value) for impl, value in answers if value is not None]

    def _ask(self, asked: _Asked, impl: _Impl, given: Mapping[str, object]) -> Any:
        if self._trace is None:
            return self._patiently(asked, impl, given)
        shown = ", ".join(f"{name}={reprlib.repr(given[name])}" for name in impl.arguments)
        self._trace(f"{asked.name}({shown}) asks {impl.plugin.name}")
        answer = self._patiently(asked, impl, given)
        self._trace(f"{asked.name}: {impl.plugin.name} says {reprlib.repr(answer)}")
        return answer

    def _patiently(self, asked: _Asked, impl: _Impl, given: Mapping[str, object]) -> Any:
        """Ask; whoever does not answer in time is left behind and asked this no more."""

        def call() -> Any:
            return self.guard.call(impl.plugin, asked.name, impl.ask, given)

        if self.budget_s is None or impl.plugin.distribution == CORE:
            return call()
        waiting = Patience(call, f"{asked.name}/{impl.plugin.name}", self.hands)
        try:
            return waiting.wait(self.budget_s)
        except TimeoutError as late:
            self._hung[impl.plugin.name, asked.name] = waiting
            raise PluginFailed(impl.plugin, asked.name, late) from None

    def _wrap(self, asked: _Asked, given: Mapping[str, object], call: Callable[[], Any]) -> Any:
        for impl in reversed(asked.wrappers):
            if self._is_awake(impl, asked):
                call = partial(self._around, impl, asked, given, call)
        return call()

    def _around(self, impl: _Impl, asked: _Asked, given: Mapping[str, object], call: Callable[[], Any]) -> Any:
        wrapper = impl.function(*[given[name] for name in impl.arguments])
        self.guard.call(impl.plugin, asked.name, _begin, wrapper)
        try:
            answer = call()
        except (PluginFailed, PilotError) as failed:
            resume = partial(wrapper.throw, failed)
        else:
            resume = partial(wrapper.send, answer)
        return self.guard.call(impl.plugin, asked.name, _end, resume, asked.shape)

    def _strike(self, plugin: PluginRef, hook: str, failed: Exception) -> None:
        key = plugin.name, hook
        with self._lock:
            self._strikes[key] += 1
            out = self._strikes[key] >= STRIKES
        facts = {"plugin": plugin.name, "hook": hook}
        log.warning("%s", failed, exc_info=failed, extra=facts)
        if out:
            self.bench(*key)
            log.warning("%s is benched for %s until the next job", plugin, hook, extra=facts)


def _begin(wrapper: Iterator[object]) -> None:
    try:
        next(wrapper)
    except StopIteration:
        raise RuntimeError("a wrapper yields once; this one did not") from None


def _end(resume: Callable[[], object], shape: Shape) -> object:
    try:
        resume()
    except StopIteration as ended:
        if shape is Shape.GATHER and not isinstance(ended.value, list):
            raise TypeError(f"a wrapper of a gather returns the list of answers, not {ended.value!r}") from None
        return ended.value
    raise RuntimeError("a wrapper yields once; this one did it again")


def _specs_in(spec: object) -> dict[str, Hook[..., object]]:
    declared = ((name, getattr(spec, name)) for name in dir(spec) if name.startswith(PREFIX))
    return {name: function for name, function in declared if isinstance(getattr(function, "shape", None), Shape)}


@frozen
class _Check:
    fault: str = ""
    unknown: bool = field(default=False)


def _check_all(manager: PluginManager, plugin: object, specs: Mapping[str, Hook[..., object]]) -> Iterator[_Check]:
    for name in dir(plugin):
        options: Any = manager.parse_hookimpl_opts(plugin, name)
        if options is not None:
            yield _check_marked(inspect.getattr_static(plugin, name), name, options, specs)
        elif name.startswith(PREFIX):
            found = inspect.getattr_static(plugin, name)
            if inspect.isfunction(found) and not hasattr(found, "shape"):
                yield _Check(f"{name} looks like a hook but is not marked with @hookimpl")


def _check_marked(found: Any, name: str, options: Mapping[str, Any], specs: Mapping[str, Hook[..., object]]) -> _Check:
    hook = options.get("specname") or name
    if hook not in specs:
        return _Check() if options.get("optionalhook") else _Check(f"no hook {hook!r}{meant(hook, specs)}", True)
    function = inspect.unwrap(getattr(found, "__func__", found))
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return _Check(f"{name} is async; hooks are plain functions and may block")
    if options.get("hookwrapper"):
        return _Check(f"{name} is an old-style wrapper; write @hookimpl(wrapper=True)")
    if options.get("wrapper"):
        return _Check(f"{name} wraps a hook that only informs" if specs[hook].shape is Shape.TELL else "")
    if inspect.isgeneratorfunction(function):
        return _Check(f"{name} has a yield, so its errors would come too late; return a list")
    return _Check()
