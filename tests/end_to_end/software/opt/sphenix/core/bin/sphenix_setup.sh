# Sourced, as `sphenix_setup.sh -n BUILD`; another script is sourced from it, as there.
[ "$1" = -n ] || { echo "usage: sphenix_setup.sh -n BUILD" >&2; return 2; }
[ "$2" != gone ] || { echo "sphenix_setup.sh: no build gone" >&2; return 1; }
OFFLINE_MAIN=$(dirname "${BASH_SOURCE[0]}")
export OFFLINE_MAIN OFFLINE_BUILD=$2
export PATH="$OFFLINE_MAIN:$PATH"
