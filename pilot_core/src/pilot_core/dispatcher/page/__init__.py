"""The dispatcher's live page: one HTML with everything in it, and nothing of any job before a token is given."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

STYLES = ("page.css",)
SCRIPTS = ("text.js", "api.js", "plot.js", "detail.js", "page.js")
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""What is to be sent with the page: the parts of its protection that a ``meta`` element can't express."""


@cache
def page() -> bytes:
    """The page as it is sent: its style and script inside, allowed by their digests, and nothing else."""
    style, script = joined(STYLES), joined(SCRIPTS)
    parts = {"policy": policy(style, script), "style": style, "script": script}
    text = joined(("page.html",))
    for name, part in parts.items():
        text = text.replace(f"{{{{{name}}}}}", part)
    return text.encode()


def joined(names: tuple[str, ...]) -> str:
    """The texts of the files of these names beside this module, one after the other."""
    return "".join((files(__name__) / name).read_text("utf-8") for name in names)


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy: this style, this script, this server; no text ever becomes HTML."""
    rules = {
        "default-src": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def digest(text: str) -> str:
    """How a policy names the text of one inline element."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
