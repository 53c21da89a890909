"""The command ``pilot``: a module a command, and only that one is imported."""

from typing import Final

OWN: Final = "pilot.control"
"""The pilot's own control directory in its work directory."""
