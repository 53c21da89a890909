"""How known failures are written as data, for plugins that read them out of documents of their own."""

from pilot_core.control.ends import End, meaning, read_ends
from pilot_core.control.patterns import Pattern, failure_in, numbers, patterns_in

__all__ = ["End", "Pattern", "failure_in", "meaning", "numbers", "patterns_in", "read_ends"]
