"""HTCondor as one user's own pool on this machine: all daemons, and one slot that is cut as jobs ask."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from .daemon import Daemon, as_user, give, own_folder, ports, running
from .install import CONDOR, missing

USER = "www-data"
CORES, MEMORY_MB = 4, 16_000
OWN = ("log", "run", "lock", "spool", "execute", "cred", "tokens", "passwords", "jobs")


@frozen
class Condor:
    """Where its configuration is, and ``jobs``, where jobs leave things."""

    home: Path = field(converter=Path)
    port: int

    @property
    def jobs(self) -> Path:
        """A folder that jobs may write to."""
        return self.home / "jobs"

    def environ(self) -> dict[str, str]:
        """The environment of a client."""
        return {"PATH": f"{CONDOR}/usr/bin:{os.environ['PATH']}", "CONDOR_CONFIG": str(self.home / "condor_config")}

    def said(self, *command: str | Path) -> str:
        """What a command of HTCondor's says, which must succeed."""
        words = [*as_user(USER), f"{CONDOR}/usr/bin/{command[0]}", *map(str, command[1:])]
        done = subprocess.run(words, env=self.environ(), cwd=self.jobs, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def slots(self) -> str:
        """The names of its slots, where there are any yet."""
        words = [*as_user(USER), f"{CONDOR}/usr/bin/condor_status", "-af", "Name"]
        return subprocess.run(words, env=self.environ(), capture_output=True, text=True).stdout


def lacks() -> str:
    """What is missing here, and the way out."""
    return missing(CONDOR / "usr/sbin/condor_master", "setpriv")


@contextmanager
def condor() -> Iterator[Condor]:
    """A pool with a slot."""
    with own_folder("condor") as home, ports(1) as (port,):
        server = Condor(home, port)
        for name in OWN:
            (home / name).mkdir()
        give(USER, *(home / name for name in OWN))
        (home / "condor_config").write_text(configuration(server))
        master = Daemon(
            "condor", [CONDOR / "usr/sbin/condor_master", "-f"], home / "master.log", lambda: "slot" in server.slots(),
            user=USER, env=server.environ(), stop=signal.SIGQUIT,
        )  # fmt: skip
        with running(master):
            yield server


def configuration(server: Condor) -> str:
    """Loopback only, nothing of the system's read, and as quick as it can be."""
    home, usr = server.home, CONDOR / "usr"
    return f"""\
RELEASE_DIR = {usr}
BIN = {usr}/bin
SBIN = {usr}/sbin
LIB = {usr}/lib/condor
LIBEXEC = {usr}/libexec/condor
SHARE = {usr}/share/condor
LOCAL_DIR = {home}
LOG = {home}/log
RUN = {home}/run
LOCK = {home}/lock
SPOOL = {home}/spool
EXECUTE = {home}/execute
SEC_CREDENTIAL_DIRECTORY_OAUTH = {home}/cred
SEC_TOKEN_SYSTEM_DIRECTORY = {home}/tokens
SEC_PASSWORD_DIRECTORY = {home}/passwords
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR =
CONDOR_HOST = 127.0.0.1
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
COLLECTOR_HOST = 127.0.0.1:{server.port}
USE_SHARED_PORT = True
SHARED_PORT_PORT = {server.port}
FULL_HOSTNAME = localhost
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
NUM_CPUS = {CORES}
MEMORY = {MEMORY_MB}
NUM_SLOTS = 1
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
MODIFY_REQUEST_EXPR_REQUESTMEMORY = RequestMemory
START = True
SUSPEND = False
PREEMPT = False
KILL = False
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
SCHEDD_INTERVAL = 2
SCHEDD_MIN_INTERVAL = 1
UPDATE_INTERVAL = 5
KILLING_TIMEOUT = 2
MACHINE_MAX_VACATE_TIME = 2
BASE_CGROUP =
CREATE_CGROUP_WITHOUT_ROOT = False
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
SEC_CLIENT_AUTHENTICATION_METHODS = FS
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = *
ALLOW_NEGOTIATOR = *
ALLOW_ADMINISTRATOR = *
SINGULARITY =
DOCKER =
STARTD_CRON_JOBLIST =
SCHEDD_CRON_JOBLIST =
STARTD_DETECT_GPUS =
RUNBENCHMARKS = False
"""
