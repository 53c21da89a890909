"""What all drivers share.

A driver is a class found under an entry point of its group. It is made with the settings and nothing else, after
``probe()`` said that it can work here. Its own options are a section named by ``options``.
"""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from pilot_core.spec.markers import Isolation
from pilot_core.spec.work import Settings


class Driver(ABC):
    """What all drivers share."""

    name: ClassVar[str]
    needs: ClassVar[str] = ""
    """The extra of its distribution that brings what it needs."""
    isolation: Isolation = Isolation.THREAD
    """Where its calls run; a driver that works in more than one way may decide when it is made."""
    options: ClassVar[type | None] = None

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def probe(cls) -> str | None:
        """Say why this driver cannot work here; ``None`` says that it can. Quick, and without side effects."""
        return None
