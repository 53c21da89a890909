"""The outside world, for drivers: files written whole, sums, confined directories, children that can be killed."""

from pilot_core.io.cancel import CancelFlag, Cancelled
from pilot_core.io.cgroup import Groups
from pilot_core.io.checksum import Digest, copy_summed, sum_file
from pilot_core.io.files import (
    Lock,
    NotJson,
    Taken,
    free_bytes,
    read_json,
    sync_folder,
    write_atomic,
)
from pilot_core.io.granted import as_slot, granted, time_left_s
from pilot_core.io.helper import call_in_child
from pilot_core.io.inside import Inside, Outside
from pilot_core.model.names import UnsafeName, safe_name

__all__ = [
    "CancelFlag",
    "Cancelled",
    "Digest",
    "Groups",
    "Inside",
    "Lock",
    "NotJson",
    "Outside",
    "Taken",
    "UnsafeName",
    "as_slot",
    "call_in_child",
    "copy_summed",
    "free_bytes",
    "granted",
    "read_json",
    "safe_name",
    "sum_file",
    "sync_folder",
    "time_left_s",
    "write_atomic",
]
