"""What information sources are asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from pilot_core.spec.driver import Driver


class InfoSource(Driver):
    """Tells facts about queues."""

    @abstractmethod
    def queue(self, name: str) -> Mapping[str, object] | None:
        """The facts of this queue, in the field's names; ``None`` where this source does not know it."""

    def storage(self, name: str) -> Mapping[str, object] | None:
        """The facts of this storage endpoint, in the field's names; ``None`` where this source does not know it."""
        return None

    def whence(self, name: str) -> tuple[str, float | None]:
        """The document that told of this queue or storage last, and its age in seconds."""
        return "", None

    def enough(self) -> bool:
        """Whether the sources after this one need not be asked where it tells all that is wanted of a queue."""
        return False

    def rest(self) -> None:
        """Nothing more will be asked for now: let go of connections."""
