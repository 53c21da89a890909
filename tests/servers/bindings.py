"""Let this Python see the bindings of gfal2 and XRootD that Debian built, where they were built for its version."""

import shutil
import sys
import sysconfig
from pathlib import Path

DEBIAN = Path("/usr/lib/python3/dist-packages")


def main() -> None:
    """Link them beside what is installed here."""
    here = Path(sysconfig.get_path("purelib"))
    extension = f"gfal2.cpython-{sys.version_info[0]}{sys.version_info[1]}-*.so"
    if not list(DEBIAN.glob(extension)):
        print(f"{DEBIAN} has no gfal2 for this Python; tests/servers/install.py installs it for Debian's own Python")
        return
    for found in (*DEBIAN.glob(extension), DEBIAN / "gfal2_util", DEBIAN / "XRootD", DEBIAN / "pyxrootd"):
        link = here / found.name
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        link.unlink(missing_ok=True)
        link.symlink_to(found)


if __name__ == "__main__":
    main()
