"""The controllers, for workflows with a loop of their own: they do the works that a table only names."""

from pilot_core.control.archive import Archive
from pilot_core.control.data import DataControl
from pilot_core.control.job import JobControl
from pilot_core.control.monitor import MonitorControl
from pilot_core.control.payload import PayloadControl

__all__ = ["Archive", "DataControl", "JobControl", "MonitorControl", "PayloadControl"]
