"""Messages, for communicators and information sources: read with all their problems, written as JSON material."""

from pilot_core.config.spelling import meant
from pilot_core.model.described import SUFFIXES, describe, read_job, undescribed
from pilot_core.model.plain import LARGEST_B, line_of, lines_of, parse_plain
from pilot_core.model.records import pack, unpack
from pilot_core.model.texts import clean
from pilot_core.model.wire import BadMessage, Fields, Problem, oddity, shown

__all__ = [
    "LARGEST_B",
    "SUFFIXES",
    "BadMessage",
    "Fields",
    "Problem",
    "clean",
    "describe",
    "line_of",
    "lines_of",
    "meant",
    "oddity",
    "pack",
    "parse_plain",
    "read_job",
    "shown",
    "undescribed",
    "unpack",
]
