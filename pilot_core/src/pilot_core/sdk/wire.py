"""Messages, for communicators and information sources: read with all their problems, written as JSON material."""

from pilot_core.model.records import pack, unpack
from pilot_core.model.wire import BadMessage, Fields, Problem, oddity, shown

__all__ = ["BadMessage", "Fields", "Problem", "oddity", "pack", "shown", "unpack"]
