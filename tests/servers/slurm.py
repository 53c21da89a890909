"""Slurm with one node, this machine: munge, the controller and the node's daemon, as root on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from .daemon import Daemon, own_folder, ports, running
from .install import missing

CORES, MEMORY_MB = 4, 4000
NODE = "n1"


@frozen
class Slurm:
    """Where its configuration is."""

    home: Path = field(converter=Path)
    port: int
    node_port: int

    @property
    def conf(self) -> Path:
        """What ``$SLURM_CONF`` names."""
        return self.home / "slurm.conf"

    def environ(self) -> dict[str, str]:
        """The environment of a client."""
        return {"PATH": os.environ["PATH"], "SLURM_CONF": str(self.conf)}

    def said(self, *command: str | Path) -> str:
        """What a command of Slurm's says, which must succeed."""
        done = subprocess.run(command, env=self.environ(), cwd=self.home, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


def lacks() -> str:
    """What is missing here, and the way out."""
    lack = missing("munged", "slurmctld", "slurmd", "srun", "setpriv")
    return lack or ("" if os.geteuid() == 0 else "Slurm's daemons start jobs for others: that needs root")


@contextmanager
def slurm() -> Iterator[Slurm]:
    """A cluster whose node takes jobs."""
    with own_folder("slurm") as home, ports(2) as (port, node_port):
        home.chmod(0o755)
        server = Slurm(home, port, node_port)
        for name in ("state", "spool", "munge"):
            (home / name).mkdir()
        server.conf.write_text(configuration(server))
        with running(munge(home), *daemons(server)):
            yield server


def munge(home: Path) -> Daemon:
    """Who vouches for everybody's user."""
    key, door = home / "munge/key", home / "munge/socket"
    key.touch(0o600)
    key.write_bytes(os.urandom(1024))
    files = [f"--{name}-file={home / 'munge' / name}" for name in ("pid", "log", "seed")]
    command = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={door}", *files]
    return Daemon("munge", command, home / "munge.log", lambda: succeeds("munge", "-S", door, "-n"))


def daemons(server: Slurm) -> tuple[Daemon, Daemon]:
    """The controller, and the node, which answers when it is idle."""
    home, env = server.home, server.environ()
    controller = ["slurmctld", "-D", "-f", server.conf]
    node = ["slurmd", "-D", "-f", server.conf, "-N", NODE]
    idle = ("sinfo", "-h", "-t", "idle", "-o", "%N")
    return (
        Daemon("slurmctld", controller, home / "slurmctld.log", lambda: succeeds("scontrol", "ping", env=env), env=env),
        Daemon("slurmd", node, home / "slurmd.log", lambda: NODE in server.said(*idle), env=env),
    )


def succeeds(*command: str | Path, env: dict[str, str] | None = None) -> bool:
    """Whether a command does."""
    return subprocess.run(command, env=env, capture_output=True).returncode == 0


def configuration(server: Slurm) -> str:
    """A node with more cores and less memory than this machine has, as far as Slurm knows."""
    home, host = server.home, socket.gethostname().partition(".")[0]
    return f"""\
ClusterName=pilot
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={server.port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge/socket
CredType=cred/munge
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1,sched_interval=1
MpiDefault=none
ReturnToService=2
NodeName={NODE} NodeHostname={host} NodeAddr=127.0.0.1 Port={server.node_port} CPUs={CORES} RealMemory={MEMORY_MB}
PartitionName=main Nodes={NODE} Default=YES MaxTime=02:00:00 DefaultTime=00:10:00
"""
