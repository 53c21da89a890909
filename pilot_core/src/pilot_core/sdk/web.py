"""Speaking HTTP with the pilot's server and with storage, for drivers: one session, with the site's credentials."""

from pilot_core.io.http import Answer, Web, web_of

__all__ = ["Answer", "Web", "web_of"]
