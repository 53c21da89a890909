"""The containers "apptainer" and, by its older name, "singularity"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pilot_core.builtin.containers.runtime import Runtime
from pilot_core.sdk import Code, Command, Mount, PilotError

GPUS = {"none": (), "nvidia": ("--nv",), "amd": ("--rocm",)}


class Apptainer(Runtime):
    """Images as files, as directories, and by names with ``docker://``, ``oras://`` and the like."""

    name = "apptainer"
    program = "apptainer"

    def wrap(self, command: Command, image: str, workdir: Path, mounts: Sequence[Mount]) -> Command:
        """As of any runtime; this one has no word for an image that is not to be fetched."""
        if "://" in image and self.asked.pull == "never":
            told = f"{image!r} would have to be fetched, and container.pull is never"
            raise PilotError(Code.IMAGENOTFOUND, told, image=image)
        return super().wrap(command, image, workdir, mounts)

    def words(self, image: str, workdir: Path, shown: Sequence[Mount]) -> Iterator[str]:
        """``exec`` with nothing shared: neither files nor processes nor variables."""
        yield from (self.program, "--silent", "exec", *self.asked.arguments)
        yield from ("--containall", "--no-home", "--no-privs", "--pid", "--ipc", *GPUS[self.asked.gpus])
        if self.asked.network == "none":
            yield from ("--net", "--network", "none")
        for each in shown:
            yield from ("--bind", f"{each.source}:{each.target}:{'rw' if each.writable else 'ro'}")
        yield from ("--pwd", str(workdir), image)

    def variables(self) -> dict[str, str]:
        """Where it keeps images that it fetched, by either of its names, and whether it fetches them anew."""
        cache = str(self.asked.cache) if self.asked.cache else ""
        prefixes = ("APPTAINER", "SINGULARITY")
        fresh = {f"{prefix}_DISABLE_CACHE": "true" for prefix in prefixes if self.asked.pull == "always"}
        return {**fresh, **({f"{prefix}_CACHEDIR": cache for prefix in prefixes} if cache else {})}


class Singularity(Apptainer):
    """The same command line under the older name."""

    name = "singularity"
    program = "singularity"
