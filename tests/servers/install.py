"""Install what the servers need that this machine lacks: Debian's packages by apt, Rucio by pip.

HTCondor and Apptainer, which this Debian does not have, are unpacked from later ones, and run from there with their own
C library.

``python3 tests/servers/install.py``, as root or where sudo asks for no password. No service of the system is started.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".nox" / "installed"
PYTHON = "/usr/bin/python3"  # Apache's module for Python is built for this one, and so are gfal2 and XRootD
RUCIO = "rucio[postgresql]==41.5.1"

PACKAGES = (
    *("xrootd-server", "xrootd-client", "xrootd-scitokens-plugins", "python3-xrootd"),
    *("gfal2-plugin-file", "gfal2-plugin-http", "gfal2-plugin-xrootd", "gfal2-util-scripts", "python3-gfal2-util"),
    *("python3-gfal2", "davix", "curl"),
    *("apache2-bin", "libapache2-mod-wsgi-py3", "gridsite", "media-types", "postgresql-15", "python3-venv"),
    *("openssl", "util-linux", "gcc", "libc6-dev"),
    *("slurmctld", "slurmd", "slurm-client", "munge", "mmdebstrap", "patchelf", "debian-archive-keyring"),
    *("bubblewrap", "charliecloud", "podman", "runc", "conmon", "uidmap", "busybox-static", "squashfs-tools"),
)
CONDOR = Path("/var/cache/pilot-test-servers/condor")  # no user but root may pass through a checkout below /root
CONDOR_SUITE = "trixie"
APPTAINER = PLACE / "apptainer"
NO_SERVICE = Path("/usr/sbin/policy-rc.d")


def missing(*programs: str | Path) -> str:
    """A sentence about the first of these programs that is not here, or nothing."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin"
    for program in programs:
        if not shutil.which(program, path=path):
            return f"this machine has no {program}: `python3 tests/servers/install.py` installs it"
    return ""


def main() -> None:
    """Install, or say in one sentence what stands in the way."""
    lacking = [package for package in PACKAGES if not installed(package)]
    if lacking:
        install(lacking)
    make_rucio()
    unpack_condor()
    make_apptainer()


def installed(package: str) -> bool:
    """Whether Debian's package is here."""
    command = ["dpkg-query", "-W", "-f=${Status}", package]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout == "install ok installed"
    except FileNotFoundError:
        sys.exit("the servers come as packages of Debian, and this machine has no dpkg: their tests are skipped here")


def install(packages: list[str]) -> None:
    """Let apt do it, with the machine's services kept from starting."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    with_services_off = made_policy(sudo)
    try:
        for words in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
            if subprocess.run([*apt, *words], stdout=subprocess.DEVNULL).returncode:
                sys.exit(f"apt could not install {' '.join(packages)}: it says above why, and root's rights are needed")
    finally:
        if with_services_off:
            subprocess.run([*sudo, "rm", "-f", NO_SERVICE], check=True)


def made_policy(sudo: list[str]) -> bool:
    """Forbid packages to start services, unless the machine has its own word on that."""
    if NO_SERVICE.exists():
        return False
    said = b"#!/bin/sh\nexit 101\n"
    made = subprocess.run([*sudo, "tee", NO_SERVICE], input=said, stdout=subprocess.DEVNULL)
    return not made.returncode and not subprocess.run([*sudo, "chmod", "755", NO_SERVICE]).returncode


def make_rucio() -> None:
    """Rucio's server in an environment of its own, made anew if another version is asked for."""
    mark = PLACE / "rucio" / "holds.txt"
    if mark.exists() and mark.read_text() == RUCIO:
        return
    venv = [PYTHON, "-m", "venv", "--clear", PLACE / "rucio"]
    pip = [PLACE / "rucio/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", RUCIO]
    for command in (venv, pip):
        if subprocess.run(command).returncode:
            sys.exit(f"{RUCIO} could not be installed in {PLACE}: it says above why")
    mark.write_text(RUCIO)


def unpack_condor() -> None:
    """HTCondor and all below it, out of another suite: nothing of this system's packages is changed by that."""
    place = CONDOR
    if (place / "holds.txt").exists():
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*sudo, "rm", "-rf", place], check=True)
    subprocess.run([*sudo, "mkdir", "-p", place.parent], check=True)
    apt = ('Acquire::Check-Valid-Until "false"', 'APT::Install-Recommends "false"', 'Acquire::Retries "3"')
    how = ("--quiet", "--mode=root", "--variant=extract", "--include=htcondor")
    options = (*how, *(f"--aptopt={each}" for each in apt))
    if subprocess.run([*sudo, "mmdebstrap", *options, CONDOR_SUITE, place]).returncode:
        sys.exit(f"HTCondor could not be unpacked from Debian {CONDOR_SUITE} in {place}: mmdebstrap says above why")
    libraries = place / "usr/lib" / f"{os.uname().machine}-linux-gnu"
    loader = next(libraries.glob("ld-linux-*.so.*"))
    search = f"{libraries}:{place}/usr/lib:{place}/usr/lib/condor"
    for program in condor_programs(place):
        words = ["--set-interpreter", loader, "--force-rpath", "--set-rpath", search, program]
        subprocess.run([*sudo, "patchelf", *words], check=True)
    subprocess.run([*sudo, "touch", place / "holds.txt"], check=True)


def condor_programs(place: Path) -> list[Path]:
    """Its compiled programs: those that ask for a loader."""
    named = (*place.glob("usr/*bin/*condor*"), *place.glob("usr/libexec/condor/*"))
    asks = ["patchelf", "--print-interpreter"]
    files = (path for path in named if path.is_file() and not path.is_symlink())
    return [path for path in files if not subprocess.run([*asks, path], capture_output=True).returncode]


def make_apptainer() -> None:
    """Apptainer, which this release of Debian lacks: unpacked from unstable with its libraries, and run from there.

    What is unstable may not be there some day; then its tests are skipped and all others are not.
    """
    if (APPTAINER / "bin/apptainer").exists():
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    late = ("--aptopt=Acquire::Check-Valid-Until false", "--aptopt=APT::Install-Recommends false")
    what = ("--quiet", "--mode=root", "--variant=extract", "--include=apptainer", *late, "sid", APPTAINER)
    shutil.rmtree(APPTAINER, ignore_errors=True)
    APPTAINER.parent.mkdir(parents=True, exist_ok=True)
    if subprocess.run([*sudo, "mmdebstrap", *what]).returncode:
        print("apptainer could not be had from Debian's unstable: its tests are skipped")
        return
    if sudo:
        subprocess.run([*sudo, "chown", "-R", f"{os.getuid()}:{os.getgid()}", APPTAINER], check=True)
    settle(APPTAINER)


def settle(place: Path) -> None:
    """Have programs find their libraries and settings in the place where they were unpacked."""
    libraries = place / "usr/lib/x86_64-linux-gnu"
    linker = ("--set-interpreter", place / "usr/lib64/ld-linux-x86-64.so.2")
    for program in (place / "usr/bin/apptainer", libraries / "apptainer/bin/starter"):
        path = ("--force-rpath", "--set-rpath", f"{libraries}:{place}/usr/lib")
        subprocess.run(["patchelf", *linker, *path, program], check=True)
    (place / "var/lib/apptainer/mnt/session").mkdir(parents=True, exist_ok=True)
    for link, target in (("usr/etc", "../etc"), ("usr/var", "../var"), ("usr/lib/etc", "../../etc")):
        (place / link).symlink_to(target)
    (place / "usr/lib/var").symlink_to("../../var")
    settings = place / "etc/apptainer/apptainer.conf"
    told = re.sub(r"(?m)^root default capabilities *=.*$", "root default capabilities = no", settings.read_text())
    settings.write_text(told)
    (place / "bin").mkdir()
    (place / "bin/apptainer").symlink_to("../usr/bin/apptainer")


if __name__ == "__main__":
    main()
