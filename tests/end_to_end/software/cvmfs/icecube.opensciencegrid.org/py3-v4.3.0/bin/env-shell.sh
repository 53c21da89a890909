#!/bin/sh
# Runs words in the environment of the metaproject.
export I3_BUILD="$SROOT"
exec "$@"
