"""Speaking HTTP with the pilot's server and with storage, for drivers: one session, with the site's credentials."""

from pilot_core.control.programs import Programs, bring_program, is_address
from pilot_core.io.credentials import Credentials, find_credentials, replace_proxy, replace_token, unfit_proxy
from pilot_core.io.http import Answer, Web
from pilot_core.io.http_shared import web_of
from pilot_core.io.http_token import span

__all__ = [
    "Answer",
    "Credentials",
    "Programs",
    "Web",
    "bring_program",
    "find_credentials",
    "is_address",
    "replace_proxy",
    "replace_token",
    "span",
    "unfit_proxy",
    "web_of",
]
