"""The container "alrb": ATLASLocalRootBase starts the runtime, chooses the image by a platform, sets up the release."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from attrs import frozen

from pilot_atlas.job import steps_of
from pilot_atlas.options import AtlasOptions
from pilot_atlas.release import SETUP
from pilot_core.sdk import PROXY, Code, Command, Container, ContainerOptions, Mount, PilotError, Settings, Task
from pilot_core.sdk.io import Inside

SRV: Final = Path("/srv")
SCRIPT: Final = "container_script.sh"
PAYLOAD: Final = "payload"
USUAL: Final = "-c -i"
"""Show nothing of the node, share no memory with it."""
GPUS: Final = {"none": "", "nvidia": "--nv", "amd": "--rocm"}


@frozen(kw_only=True)
class Start:
    """All that ALRB is told for one process."""

    base: Path
    platform: str
    job: str
    options: str = USUAL
    proxy: str = ""
    script: str = SCRIPT
    more: tuple[str, ...] = ()
    has_cvmfs: bool = True


def host_command(start: Start) -> str:
    """The text that a shell on the node runs, as ALRB can only be read by one."""
    quote = shlex.quote
    parts = [
        f"export X509_USER_PROXY={quote(start.proxy)}" if start.proxy else "",
        f'if [ -z "$ATLAS_LOCAL_ROOT_BASE" ]; then export ATLAS_LOCAL_ROOT_BASE={quote(str(start.base))}; fi',
        f"export thePlatform={quote(start.platform)}",
        f"export PandaID={quote(start.job)}",
        " ".join((
            'source "${ATLAS_LOCAL_ROOT_BASE}/user/atlasLocalSetup.sh" -c "$thePlatform"',
            *([] if start.has_cvmfs else ["-d"]),
            f"-s {SRV / SETUP} -r {SRV / start.script} -e {quote(start.options)}",
            *map(quote, start.more),
        )),
    ]  # fmt: skip
    return ";".join(filter(None, parts))


def container_script(argv: Sequence[str]) -> str:
    """What ALRB runs in the container."""
    return f"export TMPDIR={SRV};export GFORTRAN_TMPDIR={SRV};{shlex.join(argv)}\n"


def usual_options(asked: ContainerOptions) -> str:
    """What the runtime is told where the queue says nothing: what is usual, and what the site's settings want."""
    network = ("--net --network none",) if asked.network == "none" else ()
    return " ".join(filter(None, (USUAL, *asked.arguments, GPUS[asked.gpus], *network, *map(_bind, asked.mounts))))


def _bind(mount: str) -> str:
    """A path of the site's, as the runtime wants to be told of it: read-only unless it says something else."""
    plain = mount.removesuffix(":rw").removesuffix(":ro")
    source, _, target = plain.partition(":")
    return f"-B {source}:{target or source}:{'rw' if mount.endswith(':rw') else 'ro'}"


class Alrb(Container):
    """What ALRB runs it reads from a file in the job's directory, which it shows as ``/srv``."""

    name = "alrb"
    options = AtlasOptions
    lacks = "see processes of the pilot's user with their environments, and end them"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._task: Task | None = None
        self._process = PAYLOAD

    @classmethod
    def probe(cls) -> str | None:
        """The shell that reads it is here."""
        return None if shutil.which("bash") else "there is no bash on PATH, which ALRB is written for"

    def around(self, task: Task, name: str) -> Self:
        """The same for one process of this job."""
        mine = type(self)(task.settings)
        mine._task, mine._process = task, name
        return mine

    def inside(self, workdir: Path) -> Path:
        """Always the same."""
        return SRV

    def wrap(self, command: Command, image: str, workdir: Path, mounts: Sequence[Mount]) -> Command:
        """Leave the command where ALRB finds it; the command that starts ALRB."""
        start = self._start(image, workdir)
        if not (start.base / "user/atlasLocalSetup.sh").is_file():
            told = f"there is no ATLASLocalRootBase in {start.base}; see atlas.cvmfs"
            raise PilotError(Code.NOSOFTWAREDIR, told)
        with Inside(workdir) as folder, folder.open_write(start.script, 0o755) as file:
            file.write(container_script(command.argv).encode(errors="surrogateescape"))
        return Command("/bin/bash", "-c", host_command(start), env=command.env)

    def _start(self, image: str, workdir: Path) -> Start:
        base, task = self.settings.of(AtlasOptions).local_root_base, self._task
        script = SCRIPT if self._process == PAYLOAD else f"{self._process}_{SCRIPT}"
        if task is None:
            return Start(base=base, platform=image, job="", script=script)
        told = str(task.queue.params.get("container_options") or usual_options(self.settings.of(ContainerOptions)))
        proxy = workdir / PROXY
        return Start(
            base=base,
            platform=image,
            job=task.job.id,
            options=told.replace("${workdir}", str(workdir)),
            proxy=str(proxy) if proxy.is_file() else "",
            script=script,
            more=_more(steps_of(task.job).get("containerOptions", {}).get("execArgs", "")),
            has_cvmfs=task.queue.params.get("is_cvmfs") is not False,
        )


def _more(text: str) -> tuple[str, ...]:
    """Words that the job adds, never as text for the shell of the node."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise PilotError(Code.SETUPFAILURE, f"containerOptions.execArgs {text!r} are no words: {error}") from None
