"""Container runtimes: the command lines that they are given, and what is refused before any is started."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pilot_core.builtin.containers import bubblewrap, podman
from pilot_core.builtin.containers.apptainer import Apptainer, Singularity
from pilot_core.builtin.containers.bubblewrap import GPUS, PATH, Bubblewrap
from pilot_core.builtin.containers.charliecloud import Charliecloud
from pilot_core.builtin.containers.podman import FIRST, Podman
from pilot_core.builtin.containers.runtime import read_mount
from pilot_core.model.queue import Queue, Resources
from pilot_core.sdk import Code, Command, Job, Mount, PilotError

WORK = Path("/scratch/pilot/PanDA_Pilot-1")
RUN = Command("prog", "-x", env={"HOME": "/home/pilot"})
ASKED = {"mounts": ("/cvmfs", "/data/in:/in", "/data/out:/out:rw"), "network": "none", "gpus": "nvidia"}


def words(driver, image, mounts=()):
    return " ".join(driver.wrap(RUN, image, WORK, mounts).argv)


@pytest.fixture
def image(tmp_path):
    """A directory that holds what an image may."""
    for path in ("bin", "etc", "dev", "data/old"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    return tmp_path


def test_apptainer(make):
    plain, asked = make(Apptainer), make(Apptainer, container={**ASKED, "cache": "/cache", "pull": "always"})
    begin = "apptainer --silent exec --containall --no-home --no-privs --pid --ipc"
    work = f"--bind {WORK}:{WORK}:rw --pwd {WORK}"
    assert words(plain, "a.sif") == f"{begin} {work} a.sif prog -x"
    mounts = "--bind /cvmfs:/cvmfs:ro --bind /data/in:/in:ro --bind /data/out:/out:rw"
    assert words(asked, "oras://r/a") == f"{begin} --nv --net --network none {mounts} {work} oras://r/a prog -x"
    env = asked.wrap(RUN, "a.sif", WORK, ()).env
    assert (env["HOME"], env["APPTAINER_CACHEDIR"]) == ("/home/pilot", "/cache")
    assert env["SINGULARITY_DISABLE_CACHE"] == "true"
    assert words(make(Singularity), "a.sif").startswith("singularity --silent exec")


def test_podman(make, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(podman.shutil, "which", lambda _: None)
    plain, asked = make(Podman), make(Podman, container={**ASKED, "arguments": ("--root", "/store"), "pull": "never"})
    safe = "run --rm --log-driver=none --read-only --cap-drop=all --security-opt=no-new-privileges"
    safe += " --security-opt=label=disable --ulimit=host"
    work = f"--mount=type=bind,src={WORK},dst={WORK} --workdir {WORK} --entrypoint="
    end = " ".join((*FIRST, "prog", "-x"))
    plainly = f"podman {safe} --network=host --userns=keep-id {work} --pull=missing reg/a:1 {end}"
    assert words(plain, "docker://reg/a:1") == words(plain, "reg/a:1") == plainly
    assert words(plain, "/images/a").endswith(f"--rootfs /images/a:O {end}")
    mounts = "--mount=type=bind,src=/cvmfs,dst=/cvmfs,ro --mount=type=bind,src=/data/in,dst=/in,ro"
    mounts += " --mount=type=bind,src=/data/out,dst=/out"
    more = f"--network=none --userns=keep-id --device nvidia.com/gpu=all {mounts}"
    begin, options = safe.split(maxsplit=1)
    expected = f"podman {begin} --root /store {options} {more} {work} --pull=never reg/a:1 {end}"
    assert words(asked, "reg/a:1") == expected


@pytest.mark.parametrize(
    ("arguments", "there", "stays"),
    [
        ((), True, True),
        ((), False, False),
        (("--runtime", "runc"), True, False),
        (("--runtime=/opt/bin/crun",), False, True),
        (("--cgroup-parent=/slot",), True, False),
        (("--cgroup-manager=cgroupfs",), True, True),
    ],
)
def test_podman_leaves_a_container_in_the_jobs_control_group_where_its_runtime_can(
    make, monkeypatch, arguments, there, stays
):
    monkeypatch.setattr(podman.shutil, "which", lambda _: "/usr/bin/crun" if there else None)
    told = words(make(Podman, container={"arguments": arguments}), "a")
    assert ("--cgroups=disabled" in told) == stays


def test_podman_for_root_asks_for_no_more_than_there_is(make, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(podman.resource, "getrlimit", lambda _: (10, 4096))
    assert "--ulimit=nofile=4096:4096 --ulimit=nproc=4096:4096 --network" in words(make(Podman), "a")
    monkeypatch.setattr(podman.resource, "getrlimit", lambda _: (10, podman.resource.RLIM_INFINITY))
    assert "--ulimit=nofile=1048576:1048576 --ulimit=nproc=32768:32768" in words(make(Podman), "a")


def test_charliecloud(make):
    begin = "ch-run --no-passwd --private-tmp --unset-env=*"
    plain = f"{begin} --bind={WORK}:/srv --cd=/srv /images/a.sqfs -- prog -x"
    assert words(make(Charliecloud), "/images/a.sqfs") == plain
    asked = make(Charliecloud, container={"mounts": ("/cvmfs",)})
    assert f"{begin} --bind=/cvmfs:/cvmfs --bind={WORK}:/srv" in words(asked, "/images/a")
    assert asked.wrap(Command("x"), "/images/a", WORK, ()).env["USER"]


BEGIN = (
    "bwrap --unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try --die-with-parent"
    " --new-session --clearenv"
)


END = f"--remount-ro /dev --remount-ro / --chdir {WORK}"


def test_bubblewrap_with_an_image_opens_up_the_folders_that_something_is_shown_in(make, image):
    asked = make(Bubblewrap, container={"mounts": ("/in:/data/in",), "network": "none", "gpus": "amd"})
    assert words(asked, str(image)) == (
        f"{BEGIN} --unshare-net --setenv PATH {PATH} --cap-drop ALL --ro-bind {image}/bin /bin"
        f" --ro-bind {image}/data/old /data/old --ro-bind {image}/etc /etc --symlink usr/lib /lib"
        " --proc /proc --dev /dev --tmpfs /dev/shm --dev-bind-try /dev/kfd /dev/kfd --dev-bind-try /dev/dri /dev/dri"
        f" --ro-bind /in /data/in --bind {WORK} {WORK} {END} -- prog -x"
    )


def test_bubblewrap_without_an_image_shows_the_system_and_nothing_beside_the_job(make):
    plain = words(make(Bubblewrap), "")
    assert plain.startswith(f"{BEGIN} --setenv PATH {PATH} --cap-drop ALL --ro-bind-try /usr /usr ")
    assert f"--bind {WORK} {WORK} {END} -- prog -x" in plain
    assert "--tmpfs /scratch" not in plain
    below = make(Bubblewrap).wrap(RUN, "", Path("/opt/pilot/PanDA_Pilot-1"), ())
    assert "--tmpfs /opt/pilot --proc" in " ".join(below.argv)


def test_credentials_are_covered_where_something_shown_holds_them(make, tmp_path):
    token = tmp_path / "token"
    token.write_text("t")
    wrapped = make(Bubblewrap, connection={"token": str(token)}, container={"mounts": (str(tmp_path),)})
    assert f"--ro-bind /dev/null {token} {END}" in words(wrapped, "")
    assert "/dev/null" not in words(make(Bubblewrap, connection={"token": str(token)}), "")


@pytest.mark.parametrize(
    ("settings", "needs", "queue", "size"),
    [({}, 7, 9, "--size 7 "), ({}, None, 9, "--size 9 "), ({"shm_b": 5}, 7, 9, "--size 5 "), ({}, None, None, "")],
)
def test_memory_that_bubblewrap_lets_a_payload_write_to_has_a_size(make, monkeypatch, settings, needs, queue, size):
    monkeypatch.setattr(bubblewrap, "_knows_sizes", lambda: True)
    job, of = Job(id="1", needs=Resources(memory_b=needs)), Queue(name="q", memory_b=queue)
    made = make(Bubblewrap, container=settings).around(SimpleNamespace(job=job, queue=of), "payload")
    assert f"--dev /dev {size}--tmpfs /dev/shm" in words(made, "")


def test_what_the_pilot_shows_of_its_own_lies_below_what_the_site_shows(make):
    own = (Mount(source="/own", target="/tmp", writable=True),)
    shown = words(make(Bubblewrap, container={"mounts": ("/data:/tmp/in",)}), "", own)
    assert "--bind /own /tmp --ro-bind /data /tmp/in --bind" in shown


def test_gpus_are_shown_where_they_are(make):
    shown = words(make(Bubblewrap, container={"gpus": "nvidia"}), "")
    assert all(f"--dev-bind-try {device} {device}" in shown for device in GPUS["nvidia"])


@pytest.mark.parametrize(
    ("driver", "container", "image", "code", "told"),
    [
        (Apptainer, {}, "", Code.QUEUENOTSETUPFORCONTAINERS, "apptainer needs an image"),
        (Podman, {}, "--privileged", Code.IMAGENOTFOUND, "can be the name of no image"),
        (Apptainer, {"pull": "never"}, "docker://a", Code.IMAGENOTFOUND, r"container\.pull is never"),
        (Charliecloud, {}, "docker://a", Code.IMAGENOTFOUND, "by their absolute paths"),
        (Charliecloud, {"network": "none"}, "/a", Code.QUEUENOTSETUPFORCONTAINERS, "cannot take the network away"),
        (Bubblewrap, {}, "/no/such/image", Code.IMAGENOTFOUND, "is none here"),
        (Podman, {"mounts": ("/a,b",)}, "a", Code.SINGULARITYBINDPOINTFAILURE, "cannot show '/a,b'"),
        (Apptainer, {"mounts": ("data",)}, "a", Code.SINGULARITYBINDPOINTFAILURE, "give an absolute path"),
        (Podman, {"mounts": ("/scratch",)}, "a", Code.SINGULARITYBINDPOINTFAILURE, "the pilot's own files are there"),
        (Bubblewrap, {"mounts": ("/:/host",)}, "", Code.SINGULARITYBINDPOINTFAILURE, "the pilot's own files are there"),
    ],
)
def test_what_a_runtime_cannot_or_must_not_do_is_told(make, driver, container, image, code, told):
    with pytest.raises(PilotError, match=told) as refused:
        make(driver, container=container).wrap(RUN, image, WORK, ())
    assert refused.value.code is code


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/a", Mount(source="/a", target="/a")),
        ("/a:rw", Mount(source="/a", target="/a", writable=True)),
        ("/a:/b:ro", Mount(source="/a", target="/b")),
        ("/a:/b:rw", Mount(source="/a", target="/b", writable=True)),
    ],
)
def test_mounts_are_read_only_unless_somebody_says_otherwise(text, mount):
    assert read_mount(text) == mount


@pytest.mark.parametrize("driver", [Apptainer, Bubblewrap, Charliecloud, Podman, Singularity], ids=lambda d: d.name)
def test_a_probe_names_the_program_that_is_missing(driver, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"no program {driver.program} is on PATH" in driver.probe()


def test_a_probe_says_what_the_node_must_allow(monkeypatch, tmp_path):
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "No permissions to create a new namespace): the node must allow user namespaces" in Bubblewrap.probe()
