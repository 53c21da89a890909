#!/bin/sh
# Prints what is to be set, as for: eval `setup.sh`
SROOT=$(cd "$(dirname "$0")" && pwd)
echo "export SROOT='$SROOT';"
echo "export PATH='$SROOT/bin':\"\$PATH\";"
