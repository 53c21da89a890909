"""The monitor "network": bytes over the network, of the job where it has a network of its own, else of the node."""

from __future__ import annotations

import os
from pathlib import Path

from pilot_core.sdk import Monitor, Reading, Settings, View


class Network(Monitor):
    """Measures bytes received and sent since its first look, under names that say whose they are."""

    name = "network"
    interval_s = 60.0

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._before: dict[str, tuple[int, int]] = {}

    def look(self, view: View) -> Reading:
        """Read the counters of the namespace that the youngest process is in."""
        from pilot_core.sdk.node import read_network

        if not view.pids:
            return Reading()
        place = Path(f"/proc/{view.pids[-1]}")
        try:
            whose = "node_" if _namespace(place) == _namespace(Path("/proc/self")) else ""
            received, sent = read_network((place / "net/dev").read_text())
        except OSError:
            return Reading()
        before = self._before.setdefault(whose, (received, sent) if whose else (0, 0))
        measures = {f"{whose}received_b": received - before[0], f"{whose}sent_b": sent - before[1]}
        return Reading(measures={name: float(max(grown, 0)) for name, grown in measures.items()})


def _namespace(place: Path) -> str:
    return os.readlink(place / "ns/net")
