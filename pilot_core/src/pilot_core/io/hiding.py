"""Whether this node lets a process of this user be given a view without some paths."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

from pilot_core import keeper

LIMIT_S = 10.0
WAY_OUT = "let ordinary users have user namespaces (sysctl user.max_user_namespaces, and no policy against them)"
FOR_ROOT = "run the pilot as an ordinary user, or let its container have CAP_SYS_ADMIN"


@cache
def why_not() -> str:
    """What stands against it, with the way out; nothing if it can be done. Tried once, in a process of its own."""
    folder = os.path.dirname(str(keeper.__file__))
    line = [sys.executable, "-I", "-S", os.path.join(folder, keeper.HIDING), folder]
    try:
        tried = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    else:
        if not tried.returncode:
            return ""
        said = tried.stderr.strip().rpartition("\n")[2]
    way_out = WAY_OUT if os.geteuid() else FOR_ROOT
    return f"this node does not let it ({said}): {way_out}, or name a container runtime with payload.isolation"
