"""The communicator "panda": jobs from a PanDA server, and reports to it.

``reading`` turns a job of the wire into ours, with what its ``arguments`` hide and its ``extras``; ``updating`` turns
our update into the server's words, of which ``words`` holds the tables. ``talking`` does the talking, in one of the
``dialects``, which ``speech`` finds out, several updates ``together`` where that is wanted. ``answers`` judges what
came back, ``commands`` what it asks for, and ``orders`` lets somebody look at a job. A ``broker`` may tell of work.
``file`` is for jobs without a server.
"""

from pilot_core.builtin.panda.options import PandaOptions
from pilot_core.builtin.panda.talking import Panda

__all__ = ["Panda", "PandaOptions"]
