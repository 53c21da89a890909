"""What goes wrong with transfers, for copy tools that hear it as text and for plugins that report it elsewhere."""

from pilot_core.model.transfers import ERRNOS, PHRASES, STATES, Phrase, state_of, told_error

__all__ = ["ERRNOS", "PHRASES", "STATES", "Phrase", "state_of", "told_error"]
