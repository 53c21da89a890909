"""``python -m pilot_core`` is the ``pilot`` command."""

from __future__ import annotations

import sys

from pilot_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
