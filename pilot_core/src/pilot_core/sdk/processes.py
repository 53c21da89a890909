"""Which processes a job has, where they stand and what they wait for, for monitors that have to explain."""

from pilot_core.io.proctree import tree_of
from pilot_core.io.standing import Standing, in_words, standing_of, write_stacks

__all__ = ["Standing", "in_words", "standing_of", "tree_of", "write_stacks"]
