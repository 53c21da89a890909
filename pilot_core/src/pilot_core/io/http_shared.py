"""One session for all in this process who speak with the same server, and so one set of kept connections."""

from __future__ import annotations

from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from pilot_core.config.schema import Connection
from pilot_core.io.credentials import find_credentials
from pilot_core.io.http import Web

if TYPE_CHECKING:
    from pilot_core.spec.work import Settings

_shared: Final[WeakValueDictionary[object, Web]] = WeakValueDictionary()
_sharing: Final = Lock()


def web_of(settings: Settings) -> Web:
    """The server of these settings: one, with its connections, for all whose settings are equal. Each closes it."""
    told = settings.of(Connection)
    shown = find_credentials(told)
    make = partial(
        Web,
        tuple(told.url),
        token=shown.token,
        origin=shown.origin,
        fingerprint=told.fingerprint,
        ca_file=told.ca_file,
        ca_path=shown.ca_path,
        proxy=shown.proxy,
        ipv4_only=told.ipv4_only,
    )
    with _sharing:
        key = (make.args, *make.keywords.values())
        web = _shared.get(key)
        if web is None or not web.hold():
            web = _shared[key] = make()
        return web
