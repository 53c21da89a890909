"""The experiment's layer of the configuration: its servers, its information sources, what its payloads get to see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ETC: Final = "atlas.cern.ch/repo/sw/local/etc"
CRIC: Final = "https://atlas-cric.cern.ch/cache"
RUCIO: Final = "https://rucio-lb-prod.cern.ch"
SEEN_BY_PAYLOADS: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "X509_CERT_DIR",
    "FRONTIER_SERVER",
    "CORAL_AUTH_PATH",
    "CORAL_DBLOOKUP_PATH",
    "ATLAS_LOCAL_AREA",
    "ATLAS_LOCAL_ROOT",
    "ATLAS_POOLCOND_PATH",
    "ATLAS_SW_BASE",
    "VO_ATLAS_SW_DIR",
)
SEEN_BY_RUNTIMES: Final = (
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "REGISTRY_AUTH_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "X509_CERT_DIR",
    "FRONTIER_SERVER",
    "ATLAS_LOCAL_AREA",
    "ATLAS_LOCAL_ROOT",
    "ATLAS_LOCAL_ROOT_BASE",
    "ATLAS_SW_BASE",
    "VO_ATLAS_SW_DIR",
    "ALRB_CONT_UNPACKEDDIR",
    "APPTAINER_CACHEDIR",
    "SINGULARITY_CACHEDIR",
)
NO_PROGRESS: Final = (
    "*.lib.tgz",
    "*.py",
    "DBRelease-*",
    "PoolFileCatalog.xml",
    "docs/*",
    "mem.*",
    "memory_monitor*",
    "pandaJob*",
    "pilotlog*",
    "runjob*",
    "setup.sh",
)
"""Files whose change does not say that a payload gets on."""
DEFAULTS: Final[Mapping[str, Mapping[str, object]]] = {
    "connection": {
        "url": ("https://pandaserver.cern.ch:25443",),
        "info_sources": ("environment", "local", "cvmfs", "cric"),
    },
    "queue_cvmfs": {"queues": f"{ETC}/cric_pandaqueues.json", "storages": f"{ETC}/cric_ddmendpoints.json"},
    "queue_cric": {"queues": f"{CRIC}/schedconfig/{{queue}}.json", "storages": f"{CRIC}/ddmendpoints.json"},
    "panda": {
        "site_facts": ("atlas_site", "gstat"),
        "user_proxy_role": "atlas",
        "user_proxy_dn": "atlpilo2",
        "proxy_role": "atlas:/atlas/Role=production",
    },
    "rucio": {"host": RUCIO, "trace_url": f"{RUCIO}/traces/"},
    "payload": {"keep_environment": SEEN_BY_PAYLOADS},
    "container": {"keep_environment": SEEN_BY_RUNTIMES, "instead": {"singularity": "alrb", "apptainer": "alrb"}},
    "monitor": {
        "monitors": ("disk", "walltime", "memory", "atlas_memory", "looping", "gpu", "cores", "health", "killfile")
    },
    "looping": {"ignore": NO_PROGRESS},
    "memory": {"limit_b": 1 << 60},
}
"""By section and name. Where the experiment has a rule of its own for a payload's memory, the core's does not apply."""
