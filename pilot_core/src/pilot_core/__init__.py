"""The core of a PanDA pilot. Plugins and drivers import ``pilot_core.sdk``, tests also ``pilot_core.testing``."""

__version__ = "0.1.0"
