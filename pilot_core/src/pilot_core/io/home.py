"""Where a dispatcher of this user lives, if nobody says where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def default_home(environ: Mapping[str, str]) -> Path:
    """The home of a dispatcher that was told none."""
    if home := environ.get("PILOT_SERVER_HOME"):
        return Path(home)
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "pilot-server"
