"""The files of a tree that no distribution has: launchers, what they start, and the wrapper."""

from __future__ import annotations

import zlib
from pathlib import Path
from string import Template
from typing import Final

PACKAGES: Final = "lib/packages"
START: Final = "lib/start.py"
WRAPPER: Final = "bin/pilot-wrapper"
ENTRY: Final = "pilot.py"
"""Where the older pilot's is, in a folder that is named as its own was."""
SCRIPTS: Final = Path(__file__).parents[2] / "scripts"
LAUNCHERS: Final = {"bin/pilot": "start", "bin/pilot-verify": "verify"}
SCRIPT: Final = Template("""\
#!/bin/sh
# Made for CPython $python: $$PILOT_PYTHON if that is set, else what PATH has. See $manifest.
self=$$0
while [ -h "$$self" ]; do
    to=$$(readlink "$$self")
    case $$to in
        /*) self=$$to ;;
        *) self=$$(dirname "$$self")/$$to ;;
    esac
done
root=$$(CDPATH='' cd -P "$$(dirname "$$self")/.." && pwd) || exit 127
check='
import sys, zlib
if (sys.version_info[:2], sys.implementation.name) != (($pair), "cpython") or "t" in sys.abiflags:
    sys.exit(2)
try:
    with open(sys.argv[1], "rb") as file:
        whole = zlib.crc32(file.read()) == $crc
except OSError:
    whole = False
sys.exit(0 if whole else 3)
'
for python in "$${PILOT_PYTHON:-python$python}" "$${PILOT_PYTHON:-python3}"; do
    command -v "$$python" >/dev/null || continue
    "$$python" -I -S -c "$$check" "$$root/$start" >/dev/null 2>&1
    case $$? in
        0) exec "$$python" -I -S "$$root/$start" $what "$$@" ;;
        3) echo "pilot: the bundle in $$root is not whole: $start was changed; unpack it anew" >&2; exit 1 ;;
    esac
done
echo "pilot: this bundle needs CPython $python, which $${PILOT_PYTHON:-python$python or python3 on PATH} is not; \\
put one on PATH or name it in PILOT_PYTHON" >&2
exit 127
""")
OLDER: Final = Template("""\
# Starts the pilot for those who call the older pilot's pilot3/pilot.py.
import os
import sys

if sys.version_info[:2] == ($pair):
    os.environ.setdefault("PILOT_PYTHON", sys.executable)
pilot = os.path.join(os.path.dirname(os.path.realpath(__file__)), "bin", "pilot")
os.execv(pilot, [pilot] + sys.argv[1:])
""")


def write(root: Path, python: str, manifest: str) -> None:
    """Put the launchers and the start program into a tree."""
    program = Path(__file__).with_name("start.py").read_bytes()
    (root / START).write_bytes(program)
    (root / "bin").mkdir()
    (root / WRAPPER).write_bytes(SCRIPTS.joinpath("pilot-wrapper").read_bytes())
    (root / WRAPPER).chmod(0o755)
    for name, what in LAUNCHERS.items():
        (root / name).write_text(script(python, what, manifest, zlib.crc32(program)), encoding="utf-8")
        (root / name).chmod(0o755)
    (root / ENTRY).write_text(OLDER.substitute(pair=_pair(python)), encoding="utf-8")


def script(python: str, what: str, manifest: str, crc: int) -> str:
    """The text of a launcher, for any POSIX shell with ``dirname`` and ``readlink``.

    The interpreter that tells its version also looks at the start program, which cannot well tell of its own defects.
    """
    return SCRIPT.substitute(python=python, pair=_pair(python), start=START, what=what, manifest=manifest, crc=crc)


def _pair(python: str) -> str:
    return python.replace(".", ", ")
