"""Google's storage by an emulator: it keeps objects and their digests, and asks nobody who he is."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import field, frozen

from .daemon import Daemon, own_folder, ports, running, serves
from .install import missing

BUCKET = "pilot"


@frozen
class Gcs:
    """Where the store is. ``daemons`` has its process where it is our own, and not shared with others."""

    port: int
    daemons: tuple[Daemon, ...] = field(default=(), eq=False, repr=False)

    @property
    def url(self) -> str:
        """The address of the service, as STORAGE_EMULATOR_HOST wants it."""
        return f"http://127.0.0.1:{self.port}"


def lacks() -> str:
    """What is missing here, and the way out."""
    if not importlib.util.find_spec("gcp_storage_emulator"):
        return "this machine has no emulator of Google's storage: `pip install gcp-storage-emulator` brings it"
    return missing("setpriv")


@contextmanager
def gcs() -> Iterator[Gcs]:
    """A store with a bucket."""
    with own_folder("gcs") as home, ports(1) as (port,):
        module = [sys.executable, "-m", "gcp_storage_emulator", f"--data-dir={home}", "start"]
        command = [*module, "--host=127.0.0.1", f"--port={port}", f"--default-bucket={BUCKET}"]
        daemon = Daemon("gcs", command, home / "log", serves(port, f"/storage/v1/b/{BUCKET}"))
        with running(daemon):
            yield Gcs(port, (daemon,))
