"""The options of a container runtime that queue data give, one command line for all: as options of the pilot's own."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator
from typing import Final

BIND: Final = ("-B", "--bind")
GPUS: Final = {"--nv": "nvidia", "--nvccli": "nvidia", "--rocm": "amd"}
ALWAYS: Final = re.compile(
    r"-[cCeipunsqvd]|--(contain|containall|cleanenv|ipc|pid|no-home|no-privs|userns|net|no-eval|compat"
    r"|silent|quiet|verbose|debug)"
)
"""What every container is given, or what makes no difference to a job."""
TAKES_A_VALUE: Final = re.compile(r"-[BHWS]|--(bind|no-mount|network|pwd|cwd|home|env|workdir|scratch)")
log = logging.getLogger(__name__)


def container_options(text: str, who: str) -> dict[str, object]:
    """The values of the section ``container`` that this command line asks for; what is not understood is logged."""
    mounts: list[str] = []
    values: dict[str, object] = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        log.warning("%s: container_options %r is left out: %s", who, text, error)
        return {}
    for option, value in _pairs(iter(words)):
        if option in BIND and value:
            mounts += [_mount(each) for each in value.split(",") if each]
        elif option in GPUS:
            values["gpus"] = GPUS[option]
        elif (option, value) in (("--network", "none"), ("--network", "host")):
            values["network"] = value
        elif not ALWAYS.fullmatch(option):
            log.warning(
                "%s: container_options: %s has no meaning here and is left out", who, f"{option} {value}".strip()
            )
    return {**values, **({"mounts": tuple(mounts)} if mounts else {})}


def _pairs(words: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Options with their values, written in one word or in two."""
    for word in words:
        option, sign, value = word.partition("=")
        if word.startswith("-B") and len(word) > 2:
            yield "-B", word[2:].removeprefix("=")
        elif not sign and TAKES_A_VALUE.fullmatch(word):
            yield word, next(words, "")
        else:
            yield option, value


def _mount(text: str) -> str:
    """Of a bind, read and write is what is meant where nothing is said."""
    return text if text.endswith((":ro", ":rw")) else f"{text}:rw"
