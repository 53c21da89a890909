"""The names that documents have for what the pilot or a plugin asks of a queue, and the type of each.

What stands here reaches ``Queue.params`` under the document's name, in the document's unit, as this type; a name that
is not told, or cannot be read, is not there. Whatever else a document holds reaches it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pilot_core.infosys.casting import as_flag, as_mapping, as_name_lists, as_number, as_text

FIELDS: Final[Mapping[str, Callable[[Any], object]]] = {
    "panda_resource": as_text,
    "gstat": as_text,
    "type": as_text,
    "resource_type": as_text,
    "cmtconfig": as_text,
    "appdir": as_text,
    "catchall": as_text,
    "container_options": as_text,
    "maxinputsize": as_number,
    "timefloor": as_number,
    "memkillgrace": as_number,
    "pledgedcpu": as_number,
    "zip_time_gap": as_number,
    "acopytools": as_name_lists,
    "acopytools_schemas": as_mapping,
    "astorages": as_name_lists,
    "aprotocols": as_mapping,
    "direct_access_lan": as_flag,
    "direct_access_wan": as_flag,
    "allow_lan": as_flag,
    "allow_wan": as_flag,
    "use_pcache": as_flag,
    "is_cvmfs": as_flag,
}
"""Fields of a queue beside those that ``Queue`` has for itself."""
PARAMS: Final[Mapping[str, Callable[[Any], object]]] = {
    "allow_altstageout": as_flag,
    "job_maxwalltime": as_flag,
    "pilot_walltime_grace": as_number,
    "pilot_rss_grace": as_number,
    "pilot_maxwdir_grace": as_number,
    "internet_protocol_version": as_text,
}
"""Keys within ``params``."""
UNUSED: Final = frozenset(
    {"aprotocols", "appdir", "cmtconfig", "memkillgrace", "pledgedcpu", "resource_type", "use_pcache", "zip_time_gap"}
)
"""Fields that are read, and that nobody here goes by."""
WANTED: Final = FIELDS.keys() - UNUSED | {
    *("state", "status", "corecount", "maxrss", "maxwdir", "maxtime"),
    *("environ", "copytools", "container_type", "params"),
}
"""All that the pilot goes by: a document that has it leaves nothing to ask for."""
REMARKS: Final[Mapping[str, bool]] = {
    "allow_wan_for_lib": True,
    "apptainer_options": True,
    "curlgetjob": False,
    "hpc_hpc": False,
    "image_base": True,
    "logging": False,
    "loggingfile": False,
    "mv_final_destination": False,
    "no_token_renewal": True,
    "nopenfiles": False,
    "pilotxcache": False,
    "remoteio_test": True,
    "setdebugmode": False,
    "singularity_options": True,
}
"""The words of ``catchall``, in small letters, and whether anybody here goes by them."""
JOINED: Final = frozenset({"params", "acopytools", "acopytools_schemas", "astorages"})
"""Tables whose rows may come from several sources. Every other fact comes whole from one."""
FROM_JOB: Final = frozenset({"direct_access_lan", "direct_access_wan", "allow_wan", "acopytools"})
"""What a job may say in place of its queue, and besides any grace in ``params``."""
