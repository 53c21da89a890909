"""The entry, for an interpreter told to look nowhere: behind the standard library it finds this package.

Not in front of it: the folder above has an ``io`` too.
"""

import importlib
import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    importlib.import_module("keeper.watch").main(int(sys.argv[1]), int(sys.argv[2]))
