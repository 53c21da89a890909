"""Changes that several plugins ask for, made one mapping."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from pilot_core.spec.patch import Verb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pilot_core.plugins.hooks import Answer
    from pilot_core.spec.patch import Patch

_FIXING = (Verb.SET, Verb.UNSET)
_ORDER = (*_FIXING, Verb.PREPEND, Verb.APPEND, Verb.MIN, Verb.MAX)

Said = tuple[str, "Patch"]


class PatchConflict(Exception):
    """Plugins of one tier want different things of one key, or a patch does not fit what is there."""

    def __init__(self, key: str, plugins: Iterable[str], text: str) -> None:
        self.key = key
        self.plugins = tuple(sorted(set(plugins)))
        super().__init__(f"{key}: {text} ({' and '.join(self.plugins)})")


def apply_patches(base: Mapping[str, Any], answers: Iterable[Answer[Sequence[Patch]]]) -> dict[str, Any]:
    """``base`` with every patch applied, the core's tier first, so that a higher tier has the last word.

    Inside a tier the order of plugins does not matter: first what is set or unset, then what is put before
    and after (plugins by name), then bounds. Two plugins of a tier that set one key differently, or bounds
    that exclude each other, are a ``PatchConflict``.
    """
    result = dict(base)
    ranked = sorted(answers, key=lambda answer: (answer.tier, answer.plugin))
    for _, tier in groupby(ranked, key=lambda answer: answer.tier):
        said = [(answer.plugin, patch) for answer in tier for patch in answer.value]
        for key in dict.fromkeys(patch.key for _, patch in said):
            _apply_tier(result, key, [each for each in said if each[1].key == key])
    return result


def _apply_tier(result: dict[str, Any], key: str, said: list[Said]) -> None:
    _check_bounds(key, said)
    _check_agreed(key, said)
    for plugin, patch in sorted(said, key=lambda each: _ORDER.index(_rank(each[1].verb))):
        try:
            _apply(result, patch)
        except TypeError:
            found = type(result[key]).__name__
            text = f"{patch.verb.value} {patch.value!r} does not fit the {found} that is there"
            raise PatchConflict(key, [plugin], text) from None


def _rank(verb: Verb) -> Verb:
    return Verb.SET if verb in _FIXING else verb


def _check_agreed(key: str, said: list[Said]) -> None:
    last = {plugin: patch for plugin, patch in said if patch.verb in _FIXING}
    wanted: list[Patch] = []
    wanted.extend(patch for patch in last.values() if patch not in wanted)
    if len(wanted) > 1:
        asked = " against ".join(f"{each.verb.value} {each.value!r}" for each in wanted)
        raise PatchConflict(key, last, asked)


def _check_bounds(key: str, said: list[Said]) -> None:
    bounds: list[tuple[Verb, Any, str]] = [(patch.verb, patch.value, plugin) for plugin, patch in said]
    at_most = [(value, plugin) for verb, value, plugin in bounds if verb is Verb.MIN]
    at_least = [(value, plugin) for verb, value, plugin in bounds if verb is Verb.MAX]
    if at_most and at_least:
        (low, lower), (high, higher) = min(at_most), max(at_least)
        if low < high:
            raise PatchConflict(key, [lower, higher], f"at most {low!r} against at least {high!r}")


def _apply(result: dict[str, Any], patch: Patch) -> None:
    key, value = patch.key, patch.value
    match patch.verb:
        case Verb.UNSET:
            result.pop(key, None)
        case Verb.SET:
            result[key] = value
        case Verb.PREPEND:
            result[key] = _joined(value, result[key], patch.between) if key in result else value
        case Verb.APPEND:
            result[key] = _joined(result[key], value, patch.between) if key in result else value
        case Verb.MIN:
            result[key] = min(result[key], value) if key in result else value
        case Verb.MAX:
            result[key] = max(result[key], value) if key in result else value


def _joined(before: Any, after: Any, between: str) -> Any:
    if isinstance(before, str) and isinstance(after, str):
        return between.join(part for part in (before, after) if part)
    return before + after
