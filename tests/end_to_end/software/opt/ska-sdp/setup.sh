SDP=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SDP PATH="$SDP/bin:$PATH"
