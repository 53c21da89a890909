"""One session for all in this process who speak with the same server, and so one set of kept connections."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from pilot_core.config.schema import Connection
from pilot_core.io.credentials import find_credentials
from pilot_core.io.http import Web

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pilot_core.spec.work import Settings

_shared: Final[WeakValueDictionary[object, Web]] = WeakValueDictionary()
_sharing: Final = Lock()


def web_of(settings: Settings, shown: Mapping[str, Path] | None = None) -> Web:
    """The server of these settings: one, with its connections, for all whose settings are equal. Each closes it.

    With ``shown`` it is nobody's, and shows what that names, by host, and nothing else: for storage.
    """
    told = settings.of(Connection)
    found = find_credentials(told)
    trusted: dict[str, Any] = {
        "ca_file": told.ca_file,
        "ca_path": found.ca_path,
        "renewed": told.renewed_dir,
        "ipv4_only": told.ipv4_only,
    }
    if shown is not None:
        return _share(partial(Web, (), **trusted, shown=shown), tuple(sorted(shown.items())))
    make = partial(
        Web,
        tuple(told.url),
        token=found.token,
        origin=found.origin,
        fingerprint=told.fingerprint,
        proxy=found.proxy,
        plain=tuple(told.plain_http),
        **trusted,
    )
    return _share(make, None)


def _share(make: partial[Web], shown: object) -> Web:
    with _sharing:
        key = (make.args, *(value for name, value in make.keywords.items() if name != "shown"), shown)
        web = _shared.get(key)
        if web is None or not web.hold():
            web = _shared[key] = make()
        return web
