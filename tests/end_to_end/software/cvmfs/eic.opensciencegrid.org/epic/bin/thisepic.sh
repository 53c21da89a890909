export DETECTOR_PATH=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$DETECTOR_PATH/bin:$PATH"
