export CORAL=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH="$CORAL/bin:$PATH"
