#!/usr/bin/env python3
"""Propagates photons: takes a few 10 MB, reads frames, writes hits and a summary; a GPU may be broken."""

import json
import os
import sys

told = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
photons = bytearray(30_000_000)
with open(told["inputfile"], "rb") as frames:
    read = len(frames.read())
with open("summary1.json", "w") as summary:
    json.dump({"seed": told["seed"], "read": read, "photons": len(photons), "build": os.environ["I3_BUILD"]}, summary)
if "--broken-gpu" in sys.argv:
    print("PPC: error 700: an illegal memory access was encountered", file=sys.stderr)
    sys.exit(42)
with open(told["outputfile"], "wb") as hits:
    hits.write(b"hits" * read)
