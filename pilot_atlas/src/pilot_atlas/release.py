"""Setting up a release from CVMFS: what `asetup` is told, and the file that a shell reads for it. Pure."""

from __future__ import annotations

import re
import shlex
from typing import Final

from pilot_atlas.job import AtlasJob
from pilot_atlas.options import AtlasOptions

SETUP: Final = "my_release_setup.sh"
FAILED: Final = 110
"""The exit code of a payload that was not begun, as its release could not be set up."""
_USERS: Final = "AnalysisTransforms"
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)+")


def is_wanted(job: AtlasJob, parameters: str) -> bool:
    """Whether the pilot sets up the job's release, or the arguments do it themselves."""
    return job.has_release and not (job.prepared and "asetup.sh" in parameters)


def tags(release: str, package: str) -> tuple[str, ...]:
    """What the release is made of, as `asetup` wants to be told it."""
    number = release.removeprefix("Atlas-")
    if package.startswith(_USERS):
        parts = [part for part in package.removeprefix(_USERS).lstrip("-").split("_") if part]
        asked = [number] if number and not (parts and _NUMBERS.fullmatch(number)) else []
        asked += parts
    else:
        asked = [part for part in package.split("/") if part]
        asked += [number] if number and number not in asked else []
    return (*dict.fromkeys(asked), "notest")


def setup_command(job: AtlasJob) -> str:
    """The line that sets it up, once ALRB has."""
    asked = shlex.quote(",".join(tags(job.release, job.package)))
    platform = f" --platform {shlex.quote(job.platform)}" if job.platform else ""
    return f'source "$AtlasSetup/scripts/asetup.sh" {asked}{platform} --makeflags="$MAKEFLAGS"'


def setup_file(job: AtlasJob | None, options: AtlasOptions) -> str:
    """The file for a shell to read; its status is that of the set-up, after a line with the time in UTC."""
    if job is None:
        work = 'echo "there is no release to be set up here; in a container of its own this is as it should be"\n'
    else:
        base = shlex.quote(str(options.local_root_base))
        work = (
            f'[ -n "$ATLAS_LOCAL_ROOT_BASE" ] || export ATLAS_LOCAL_ROOT_BASE={base}\n'
            '[ -n "$AtlasSetup" ] || source "$ATLAS_LOCAL_ROOT_BASE/user/atlasLocalSetup.sh" --quiet\n'
            f"{setup_command(job)}\n"
            "retCode=$?\n"
        )
    return f"export retCode=0\n{work}date -u '+%H:%M:%S %Y/%m/%d'\nreturn $retCode\n"


def guarded(payload: str, *, here: bool) -> str:
    """Shell text that runs a payload only in a release that was set up, which it does itself if that is ``here``."""
    begin = f"source ./{SETUP}\n" if here else ""
    told = "pilot: the release could not be set up: exit code $retCode"
    return f'{begin}if [ "${{retCode:-0}}" -ne 0 ]; then echo "{told}" >&2; exit {FAILED}; fi\n{payload}\n'
