"""The one place where a plugin's exception is caught, for hooks and drivers alike."""

from __future__ import annotations

import inspect
from threading import current_thread, get_ident, main_thread
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from attrs import frozen

from pilot_core.errors import PilotError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, TracebackType

P = ParamSpec("P")
T = TypeVar("T")


@frozen
class PluginRef:
    """Whose code it is."""

    name: str
    distribution: str = ""
    version: str = ""

    def __str__(self) -> str:
        origin = f"{self.distribution} {self.version}".strip()
        return f"plugin {self.name} ({origin})" if origin else f"plugin {self.name}"

    @property
    def place(self) -> str:
        """Where its own settings stand: the file that it is, or its name."""
        return self.distribution if "/" in self.distribution else f"plugin {self.name}"

    @property
    def folder(self) -> str:
        """From where its own settings see relative paths, if it is a file."""
        return self.distribution.rpartition("/")[0]


@frozen
class Running:
    """A call into a plugin that has not come back yet."""

    plugin: PluginRef
    what: str


class PluginFailed(Exception):
    """A plugin raised ``cause`` in a hook, or in a call to its driver, that ``hook`` names."""

    def __init__(self, plugin: PluginRef, hook: str, cause: BaseException) -> None:
        super().__init__(f"{plugin} failed in {hook}: {type(cause).__name__}: {cause}")
        self.plugin = plugin.name
        self.distribution = plugin.distribution
        self.version = plugin.version
        self.hook = hook
        self.cause = cause


def is_ours(cause: BaseException) -> bool:
    """Whether it is an interrupt that the process itself was sent; plugins raise all else, cancellations too."""
    return isinstance(cause, KeyboardInterrupt) and current_thread() is main_thread()


class Guard:
    """Calls plugins, knows which one every thread is in, and finds the culprit of an exception."""

    def __init__(self) -> None:
        self._running: dict[int, Running] = {}
        self._owners: dict[CodeType, tuple[PluginRef, ...]] = {}

    def own(self, plugin: PluginRef, function: Callable[..., object]) -> None:
        """Let frames of ``function`` speak for ``plugin`` when something fails below them."""
        for each in {function, inspect.unwrap(function)}:
            code = getattr(inspect.unwrap(getattr(each, "__func__", each)), "__code__", None)
            if code is not None and plugin not in (owners := self._owners.get(code, ())):
                self._owners[code] = (*owners, plugin)

    def call(self, plugin: PluginRef, what: str, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call, and turn what comes out into ``PluginFailed``.

        A ``PilotError`` is no defect but the plugin's considered word: it passes, the plugin among its facts.
        """
        thread = get_ident()
        outer = self._running.get(thread)
        self._running[thread] = Running(plugin, what)
        try:
            return call(*args, **kwargs)
        except PluginFailed:
            raise
        except PilotError as said:
            said.facts.setdefault("plugin", plugin.name)
            raise
        except BaseException as cause:
            if is_ours(cause):
                raise
            raise PluginFailed(self._culprit(plugin, cause), what, cause) from cause
        finally:
            if outer is None:
                del self._running[thread]
            else:
                self._running[thread] = outer

    def running(self) -> dict[int, Running]:
        """The calls under way, by thread identifier."""
        return dict(self._running)

    def _culprit(self, called: PluginRef, cause: BaseException) -> PluginRef:
        """The owner of the innermost frame that is somebody's hookimpl: the outermost may be innocent."""
        culprit = called
        for code in _codes(cause.__traceback__):
            if owners := self._owners.get(code):
                culprit = called if called in owners else owners[0]
        return culprit


def _codes(trace: TracebackType | None) -> Iterator[CodeType]:
    while trace is not None:
        yield trace.tb_frame.f_code
        trace = trace.tb_next
