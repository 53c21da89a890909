"""The copy tool "xrootd": files behind ``root://``, by the library's Python bindings or by its programs."""

from pilot_copytools.xrootd.settings import XrootdOptions
from pilot_copytools.xrootd.tool import Xrootd

__all__ = ["Xrootd", "XrootdOptions"]
