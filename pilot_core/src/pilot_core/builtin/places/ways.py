"""Which copy tools may go to a place, and which of several places they would rather have. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from attrs import evolve, frozen

from pilot_core.builtin.places import PlacesOptions
from pilot_core.builtin.places import activities as words
from pilot_core.sdk import Queue, Replica


@frozen
class Ways:
    """What the queue says of copy tools and schemes for one activity."""

    activity: str
    tools: tuple[str, ...]
    """In their order; an empty name alone where any will do."""
    schemes: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, queue: Queue, activities: tuple[str, ...], options: PlacesOptions) -> Self:
        """As the queue lists them under the first of these words."""
        known = words.historic(activities) if options.historic else activities
        tools = words.tools(queue, known) or ("",)
        return cls(activities[0], tools, {tool: words.schemes(queue, known, tool) for tool in tools})

    def to(self, replica: Replica) -> Replica | None:
        """The place with the tools that may go there; nothing if none may."""
        scheme = scheme_of(replica.url)
        able = [tool for tool in self.tools if not self.schemes[tool] or scheme in self.schemes[tool]]
        return evolve(replica, activity=self.activity, tools=tuple(filter(None, able))) if able else None

    def reachable(self, replicas: Iterable[Replica]) -> list[Replica]:
        """Those where any tool may go, in their order."""
        return [found for each in replicas if (found := self.to(each)) is not None]

    def liking(self, replica: Replica) -> int:
        """The less, the sooner the first tool that may go there would use this scheme."""
        first = self.schemes[replica.tools[0] if replica.tools else ""]
        return first.index(scheme_of(replica.url)) if first else 0


def scheme_of(url: str) -> str:
    """The scheme of a place, ``file`` for a mere path."""
    return words.family(url.partition("://")[0]) if "://" in url else "file"
