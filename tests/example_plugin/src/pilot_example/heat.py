"""The monitor "heat": a payload writes how hot its device is; too hot is too hot."""

from __future__ import annotations

from attrs import frozen

from pilot_core.sdk import Monitor, PilotError, Reading, View, option
from pilot_example.codes import Codes


@frozen(kw_only=True)
class HeatOptions:
    """What is too hot."""

    section = "heat"

    limit: float = option(90.0, help="Degrees Celsius at which the payload is stopped.")


class Heat(Monitor):
    """Reads the file ``temperature`` in the job's directory."""

    name = "heat"
    options = HeatOptions
    interval_s = 1.0

    def look(self, view: View) -> Reading:
        """Look once."""
        try:
            celsius = float((view.workdir / "temperature").read_text())
        except (FileNotFoundError, ValueError):
            return Reading()
        limit = self.settings.of(HeatOptions).limit
        breach = PilotError(Codes.TOOHOT, f"{celsius:g} degrees of {limit:g}") if celsius > limit else None
        return Reading(measures={"heat.celsius": celsius}, breach=breach)
