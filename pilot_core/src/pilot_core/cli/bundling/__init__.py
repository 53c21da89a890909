"""What ``pilot bundle`` does, in steps: choose wheels, have pip unpack them, make the tree's own files, pack it."""
