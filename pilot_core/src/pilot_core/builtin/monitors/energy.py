"""The monitor "energy": what the node's processors have used while the payload ran, where the node tells it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pilot_core.sdk import Monitor, Reading, Settings, View


class Energy(Monitor):
    """Measures the energy of all processor packages: the node's, whoever else works there."""

    name = "energy"
    interval_s = 60.0
    root: ClassVar[Path] = Path("/")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._before: dict[str, tuple[int, int]] = {}
        self._used_j = 0.0

    @classmethod
    def probe(cls) -> str | None:
        """Counters that this user may read."""
        from pilot_core.sdk.node import read_energy

        return None if read_energy(cls.root) else "this node has no energy counters (RAPL) that this user may read"

    def look(self, view: View) -> Reading:
        """Add what was used since the last look; the counters must not go round twice meanwhile."""
        from pilot_core.sdk.node import energy_j, read_energy

        now = read_energy(self.root)
        self._used_j += energy_j(self._before, now)
        self._before = now
        return Reading(measures={"node_energy_j": self._used_j})
