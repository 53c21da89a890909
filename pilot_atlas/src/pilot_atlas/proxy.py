"""Whether the proxy that is shown to the server lasts for a job of ATLAS."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pilot_atlas.options import AtlasOptions
from pilot_core.sdk import Code, Connection, PilotError, Settings


def problems(settings: Settings) -> Iterator[PilotError]:
    """What is wrong with its time; a token is renewed while jobs run, and what has ended is told by the core."""
    from pilot_core.sdk.web import find_credentials, span

    told, least_s = settings.of(Connection), settings.of(AtlasOptions).least_proxy_s
    if not least_s or not any(url.startswith("https:") for url in told.url):
        return
    shown = find_credentials(told)
    if shown.token is not None or shown.proxy is None:
        return
    try:
        left_s = (shown.ends() or 0.0) - time.time()
    except PilotError:
        return
    if 0 < left_s < least_s:
        why = f"{shown} ends in {span(left_s)}, and work is taken with {span(least_s)} at least (atlas.least_proxy_s)"
        yield PilotError(Code.PROXYTOOSHORT, why)
