"""What batch systems write and print, read: host lists, times, sizes, ads, sets of resources. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from attrs import field, frozen

UNITS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
HOSTS: Final = 100_000
DIGITS: Final = 19
"""More hosts than any allocation has, more digits than any amount: such text is of another kind."""
_GROUP: Final = re.compile(r"((?:[^,\[]|\[[^\]]*\])+)")
_RANGE: Final = re.compile(r"(\d{1,15})(?:-(\d{1,15}))?")
_REPEATED: Final = re.compile(r"(\d{1,15})(?:\(x(\d{1,15})\))?")
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d+)?)\s*([kmgtp]?)([bw]?)(?:ytes)?", re.IGNORECASE)
_CLOCK: Final = re.compile(r"(?:(\d{1,9})-)?(?:(\d{1,9}):)?(\d{1,9}):(\d{1,9})")


def whole(text: str | None) -> int | None:
    """A number of things that there are."""
    text = (text or "").strip()
    return int(text) if text.isdecimal() and len(text) < DIGITS and int(text) else None


def hosts(text: str) -> tuple[str, ...]:
    """``n[1-3,07],m2``: each host, in order; zeros before a number stay."""
    every = (host for group in _GROUP.findall(text.strip()) for host in _spread(group))
    return tuple(islice(every, HOSTS))


def _spread(group: str) -> Iterator[str]:
    """All names of one group, which may have several brackets."""
    before, bracket, rest = group.partition("[")
    if not bracket:
        yield group
        return
    inside, _, after = rest.partition("]")
    for low, high in _RANGE.findall(inside):
        last = int(high or low)
        if last - int(low) > HOSTS:
            return
        for number in range(int(low), last + 1):
            yield from _spread(f"{before}{number:0{len(low)}d}{after}")


def tasks_of_nodes(text: str) -> tuple[int, ...]:
    """``2(x3),1``: how many on each node."""
    found = _REPEATED.findall(text)
    if sum(int(times or 1) for _, times in found) > HOSTS:
        return ()
    return tuple(int(number) for number, times in found for _ in range(int(times or 1)))


def clock_s(text: str) -> float | None:
    """``[D-][HH:]MM:SS``, as most batch systems write how long something lasts."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def size_b(text: str) -> int | None:
    """``2gb``, ``2 G``, ``1024kb``: powers of 1024; a word (``mw``) has 8 bytes."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    return int(float(found[1]) * 1024 ** UNITS[found[2].lower()] * (8 if found[3].lower() == "w" else 1)) or None


def attributes(text: str) -> dict[str, str]:
    """The lines ``name = value``, each of which may go on after a tab in the next: job ads, full status listings."""
    lines = text.replace("\n\t", "").splitlines()
    split = (line.partition(" = ") for line in lines)
    return {name.strip(): value.strip().strip('"') for name, equals, value in split if equals}


@frozen(kw_only=True)
class ResourceSet:
    """What a set of resources of Flux (RFC 20) holds on its node number ``index``."""

    nodes: tuple[str, ...] = ()
    cores: Mapping[str, int] = field(factory=dict)
    gpus: Mapping[str, tuple[str, ...]] = field(factory=dict)


def resource_set(text: str) -> ResourceSet:
    """A set as JSON; what is no such set is empty."""
    try:
        execution = json.loads(text)["execution"]
        nodes = tuple(host for group in execution.get("nodelist", ()) for host in hosts(group))
        children = [(rank, each["children"]) for each in execution["R_lite"] for rank in _ids(str(each["rank"]))]
    except (ValueError, LookupError, TypeError, AttributeError):
        return ResourceSet()
    on_node = dict(zip(nodes, (each for _, each in sorted(children, key=lambda pair: int(pair[0]))), strict=False))
    return ResourceSet(
        nodes=nodes,
        cores={host: len(_ids(str(each.get("core", "")))) for host, each in on_node.items()},
        gpus={host: _ids(str(each.get("gpu", ""))) for host, each in on_node.items()},
    )


def _ids(text: str) -> tuple[str, ...]:
    return hosts(f"[{text}]") if text else ()


def among(names: Sequence[str], host: str) -> str:
    """The one of these names that is this host's, with or without its domain; else the first."""
    short = host.partition(".")[0]
    return next((name for name in names if name.partition(".")[0] == short), names[0] if names else "")
