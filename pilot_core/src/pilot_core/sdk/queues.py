"""What is known of a queue beyond what the pilot itself goes by."""

from pilot_core.infosys.catchall import Catchall

__all__ = ["Catchall"]
