"""Files that go in one call: gathered by the tool and the host of their first ways, and dealt into a few calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pilot_core.control.calls import Calls, Way, host_of
from pilot_core.control.trip import Trip

SHARE_B = 1 << 28
"""For each of these in a group there is a call more, as far as there are lanes."""
MOST = 1000
"""So many files go in one call at most."""


def in_bulk(calls: Calls, trips: Sequence[Trip]) -> list[list[Trip]]:
    """The files that go together, call by call; none of a kind that would be alone."""
    groups: dict[tuple[int, str], list[Trip]] = defaultdict(list)
    for trip in trips:
        way = _first(trip)
        if way is not None:
            groups[id(way.tool), host_of(way.replica)].append(trip)
    lanes = calls.options.parallel
    return [dealt for group in groups.values() for dealt in _deal(group, lanes) if len(dealt) > 1]


def _first(trip: Trip) -> Way | None:
    """The way by which the file would go, if others can go with it."""
    way = trip.ways[0]
    return way if isinstance(way.tool, trip.side.many) and not trip.first else None


def _deal(group: list[Trip], lanes: int) -> list[list[Trip]]:
    size_b = sum(trip.file.size_b or 0 for trip in group)
    hands = max(min(lanes, size_b // SHARE_B + 1, len(group) // 2), -(-len(group) // MOST))
    return [group[hand::hands] for hand in range(hands)]
