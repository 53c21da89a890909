"""The communicator "panda": jobs from a PanDA server, and reports to it.

``reading`` turns a job of the wire into ours, ``updating`` our update into its words, ``words`` holds the tables of
what those words may be, ``answers`` judges what came back, and ``talking`` does the talking.
"""

from pilot_core.builtin.panda.talking import Panda, PandaOptions

__all__ = ["Panda", "PandaOptions"]
