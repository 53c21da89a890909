"""PanDA's calls for credentials in the first version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from pilot_core.dispatcher.lending import Lending, NotLent
from pilot_core.dispatcher.messages import Request, Response
from pilot_core.dispatcher.pilot_calls import envelope, refusal
from pilot_core.dispatcher.updates import Mistyped, read_typed

Given = Mapping[str, Any]
NO_SECRETS: Final = "{}"
"""Nobody entrusts secrets of his own to a dispatcher."""


@frozen
class CredentialCalls:
    """Answers in PanDA's envelope, where even a proxy's field is a token's too."""

    lending: Lending

    def token(self, request: Request) -> Response:
        """A newer token for a pilot that shows the token key."""

        def lend(asked: Given) -> object:
            return {"user_proxy": self.lending.token(asked["client_name"], asked.get("token_key", ""))}

        return _lent(request, lend, ("client_name",), "token_key")

    def key(self, request: Request) -> Response:
        """The token key, for who starts pilots."""
        return _lent(request, lambda asked: {"tokenKey": self.lending.key(asked["client_name"])}, ("client_name",))

    def proxy(self, request: Request) -> Response:
        """The one proxy that there is, whichever is asked for."""
        return _lent(request, lambda asked: {"user_proxy": self.lending.proxy()}, (), "role", "dn")

    def secrets(self, request: Request) -> Response:
        """The secrets of who asks, as JSON in a text."""
        return _lent(request, lambda asked: NO_SECRETS, (), "keys")


def _lent(request: Request, lend: Callable[[Given], object], needed: tuple[str, ...], *others: str) -> Response:
    asked = {name: values[-1] for name, values in request.query.items()}
    try:
        return Response.of(envelope(lend(read_typed(asked, dict.fromkeys((*needed, *others), str), needed))))
    except (Mistyped, NotLent) as why:
        return refusal(str(why))
