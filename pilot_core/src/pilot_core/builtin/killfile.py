"""The monitor "killfile": whoever can write into the pilot's work directory can end its payloads."""

from __future__ import annotations

from typing import Final

from pilot_core.sdk import Code, Monitor, PilotError, Reading, View

NAME: Final = "pilot_kill_payload"


class KillFile(Monitor):
    """Stops every payload as long as a file of this name is in the pilot's work directory."""

    name = "killfile"
    interval_s = 0.0

    def look(self, view: View) -> Reading:
        """See whether it is there."""
        if not (view.workdir.parent / NAME).exists():
            return Reading()
        return Reading(breach=PilotError(Code.KILLPAYLOAD, f"{NAME} is in the work directory"))
