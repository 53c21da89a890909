"""The dispatcher as a server that was not made for this pilot: it wants an ``Origin``, and speaks as PanDA does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from attrs import evolve, frozen

from pilot_core.dispatcher import leases, legacy
from pilot_core.dispatcher.messages import Request, Response
from pilot_core.dispatcher.pilot_calls import NO_JOBS, SUBMIT
from pilot_core.dispatcher.serve import Answering

ORIGIN: Final = "example:production"
"""In whose name a token is good for everything."""
SPOKEN: Final = ("/api/", legacy.FOLDER)
"""Below these a server of PanDA's answers; what else there is belongs to the kit, to storage and to information."""
OURS: Final = frozenset(
    {
        *("heartbeat", "newer_attempt", "environment", "sources", "destinations", "optional"),
        *("always", "options", "gpus", "checkpoint", "checkpointSaved", "loopingLimit"),
    }
)
"""What no server of PanDA's says in an answer, or of a job."""
_ORIGIN: Final = re.compile(r"example(?:[.:](\w+))?")


@frozen
class Strict:
    """The service, reduced to that."""

    service: Answering

    def answer(self, request: Request) -> Response:
        """The answer as PanDA gives it."""
        if not request.path.startswith(SPOKEN):
            return self.service.answer(request)
        if "authorization" in request.headers:
            found = _ORIGIN.fullmatch(origin := request.headers.get("origin", ""))
            if found is None:
                return _not_decoded(f"Unknown VO {origin[:80]!r}" if origin else "There is no Origin")
            if found[1] != "production" and (found[1] != "pilot" or not request.path.startswith(legacy.FOLDER)):
                request = evolve(request, role=request.role and SUBMIT)
        return _plain(self.service.answer(request))

    def sweep(self) -> object:
        return self.service.sweep()

    def let_go(self) -> None:
        self.service.let_go()

    def close(self) -> None:
        self.service.close()


def _not_decoded(why: str) -> Response:
    return Response(403, f"ERROR : Token authentication failed. {why}".encode(), "text/plain")


def _plain(response: Response) -> Response:
    """An answer without what is the dispatcher's own."""
    headers = {name: value for name, value in response.headers.items() if name != "Retry-After"}
    return evolve(response, headers=headers, body=_without_ours(response.body.decode()).encode())


def _without_ours(text: str) -> str:
    """JSON, or names and values as a form has them; a sentence stays as it is."""
    try:
        return json.dumps(_said(json.loads(text)))
    except ValueError:
        form = dict(parse_qsl(text, keep_blank_values=True))
        return urlencode(_said(form)) if "StatusCode" in form else text


def _said(told: Any, name: str = "") -> Any:
    match told:
        case Mapping():
            return {key: _said(value, key) for key, value in told.items() if key not in OURS}
        case list():
            return [_said(each) for each in told]
        case str() if name == "content":
            return _without_ours(told)
        case str() if name == "command":
            return ",".join(word for word in told.split(",") if word != "debugoff") or leases.NOTHING
        case str() if name == "message" and told.startswith(NO_JOBS):
            return NO_JOBS
    return told
