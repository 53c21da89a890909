"""A plugin's failure, told as an error of the job it was asked for."""

from __future__ import annotations

from pilot_core.errors import Code, PilotError
from pilot_core.plugins.guard import PluginFailed


def by_plugin(failed: PluginFailed) -> PilotError:
    """Name plugin, distribution, version and hook."""
    return PilotError(
        Code.PLUGINFAILED,
        str(failed),
        plugin=failed.plugin,
        distribution=failed.distribution,
        version=failed.version,
        hook=failed.hook,
    )
