"""The copy tool "gfal": whatever its plugins reach, by the library's Python bindings or by its programs."""

from pilot_copytools.gfal.settings import GfalOptions
from pilot_copytools.gfal.tool import Gfal

__all__ = ["Gfal", "GfalOptions"]
