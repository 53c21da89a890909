"""Where a job's processes stand and what they wait for, for monitors that have to explain."""

from pilot_core.io.standing import Standing, in_words, standing_of, write_stacks

__all__ = ["Standing", "in_words", "standing_of", "write_stacks"]
