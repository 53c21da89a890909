"""Payload Control as this pilot has it: which runtimes are around payloads, and what is hidden from them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from pilot_core.agent import hiding
from pilot_core.agent.setup import NONE, Setup, make
from pilot_core.config.schema import PayloadOptions
from pilot_core.control.hidden import Hidden
from pilot_core.control.payload import PayloadControl
from pilot_core.io.home import default_home
from pilot_core.io.process import raise_open_files, spare_processes
from pilot_core.redact import Redactor

log = logging.getLogger(__name__)


def payload_control(setup: Setup, own: Path, environ: Mapping[str, str], redactor: Redactor) -> PayloadControl:
    """With the pilot's control directory ``own``, and the environment that it was started with."""
    asked = setup.settings.of(PayloadOptions).isolation
    wanted = hiding.is_wanted(asked)
    unhidden = hiding.unhidden(setup.settings) if wanted else ""
    if unhidden:
        log.warning("payloads can read the pilot's credentials: they are not hidden, as %s", unhidden)
    return PayloadControl(
        setup.hooks,
        make(setup, "container"),
        make(setup, "launcher"),
        environ,
        redactor,
        isolation=None if wanted or asked == NONE else make(setup, "isolation"),
        hidden=Hidden(own, setup.settings, default_home(environ)) if wanted and not unhidden else None,
        unhidden=unhidden,
        nofile=raise_open_files(),
        nproc=spare_processes(),
    )
