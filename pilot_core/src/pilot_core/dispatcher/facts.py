"""What pilots are told of queues and storages, in the field's own words."""

from __future__ import annotations

from urllib.parse import urlsplit

from pilot_core.dispatcher.config import Config, ServedQueue, ServedStorage
from pilot_core.dispatcher.wire import MB

PLACE = "/storage/"


def queue_facts(queue: ServedQueue) -> dict[str, object]:
    """One queue's data, flat; what has no limit is 0 there."""
    return {
        "nickname": queue.name,
        "panda_resource": queue.name,
        "state": "ACTIVE",
        "status": queue.status,
        "corecount": queue.cores or 0,
        "maxrss": (queue.memory_b or 0) // MB,
        "maxwdir": (queue.disk_b or 0) // MB,
        "maxtime": int(queue.wall_s or 0),
        "copytools": {"https": {"setup": ""}},
        "astorages": {"write_lan": [queue.storage], "read_lan": [queue.storage]},
        "params": {"job_maxwalltime": True},
    }


def storage_facts(config: Config, origin: str) -> dict[str, object]:
    """Every storage by name; the dispatcher's own lies at ``origin``, by which it was reached."""
    return {name: _storage(storage, origin) for name, storage in config.storages.items()}


def _storage(storage: ServedStorage, origin: str) -> dict[str, object]:
    endpoint, path = _parts(storage.url) if storage.url else (origin, PLACE)
    protocol = [{"endpoint": endpoint, "path": path, "flavour": "WEBDAV"}]
    return {
        "name": storage.name,
        "type": "DATADISK",
        "state": "ACTIVE",
        "is_deterministic": None,
        "arprotocols": {"write_lan": protocol, "read_lan": protocol},
    }


def _parts(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/") + "/"
