"""How a hook is declared and how a plugin answers it.

A spec is a plain function with a docstring; ``hook()`` hangs its shape on it. The type checker sees one of
three types, so that ``Hooks.first`` takes only what decides, ``gather`` only what collects, ``tell`` only
what informs.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeVar, overload

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROJECT = "pilot_core"
PREFIX = "pilot_"

hookimpl = HookimplMarker(PROJECT)
_hookspec = HookspecMarker(PROJECT)

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Shape(Enum):
    """What the core does with answers: FIRST decides, GATHER collects, TELL wants none."""

    FIRST = "first"
    GATHER = "gather"
    TELL = "tell"


class Isolation(Enum):
    """Where a driver's blocking calls run: PROCESS is for what may hang where no thread can be stopped."""

    THREAD = "thread"
    PROCESS = "process"


class Hook(Protocol[P, T_co]):
    """A spec of any shape, as the manual and ``pilot hooks`` see it."""

    __name__: str
    shape: Shape
    since: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...


class First(Hook[P, T_co], Protocol[P, T_co]):
    """A question one plugin answers; ``None`` passes it on."""

    first: Literal[True]


class Gather(Hook[P, T_co], Protocol[P, T_co]):
    """A question every plugin may answer; ``None`` adds nothing."""

    gather: Literal[True]


class Tell(Hook[P, None], Protocol[P]):
    """News for whoever listens."""

    tell: Literal[True]


class _FirstMark(Protocol):
    def __call__(self, spec: Callable[P, T | None], /) -> First[P, T]: ...


class _GatherMark(Protocol):
    def __call__(self, spec: Callable[P, T | None], /) -> Gather[P, T]: ...


class _TellMark(Protocol):
    def __call__(self, spec: Callable[P, None], /) -> Tell[P]: ...


@overload
def hook(shape: Literal[Shape.FIRST], *, since: str, changed: Mapping[str, Warning] = ...) -> _FirstMark: ...
@overload
def hook(shape: Literal[Shape.GATHER], *, since: str, changed: Mapping[str, Warning] = ...) -> _GatherMark: ...
@overload
def hook(shape: Literal[Shape.TELL], *, since: str, changed: Mapping[str, Warning] = ...) -> _TellMark: ...
def hook(shape: Shape, *, since: str, changed: Mapping[str, Warning] | None = None) -> Any:
    """Declare a hook that exists since the core's version ``since``.

    ``changed`` maps an argument that will go at 2.0 to the warning for a plugin that still takes it.
    """

    def declare(spec: Callable[..., Any]) -> Callable[..., Any]:
        name = getattr(spec, "__name__", repr(spec))
        if not name.startswith(PREFIX):
            raise TypeError(f"hook {name}: a hook's name starts with {PREFIX!r}")
        if getattr(spec, "__defaults__", None) or getattr(spec, "__kwdefaults__", None):
            raise TypeError(f"hook {name}: every argument is always given, so none has a default")
        marked: Any = _hookspec(spec, firstresult=shape is Shape.FIRST, warn_on_impl_args=changed)
        marked.shape, marked.since = shape, since
        setattr(marked, shape.value, True)
        return spec

    return declare
