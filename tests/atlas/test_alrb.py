"""The files and the command by which ALRB runs a payload, compared with what it expects."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from attrs import evolve

from pilot_atlas.alrb import Alrb, Start, container_script, host_command
from pilot_atlas.job import AtlasJob
from pilot_atlas.options import AtlasOptions
from pilot_atlas.release import setup_file
from pilot_core.sdk import Command, PilotError, Queue, Task
from pilot_core.sdk.io import CancelFlag

from .jobs import PRODUCTION, a_job

GOLDEN = Path(__file__).with_name("golden")
BASE = AtlasOptions().local_root_base
START = Start(base=BASE, platform="x86_64-el9-gcc13-opt", job="7100000001")
MORE = Start(
    base=BASE,
    platform="/cvmfs/unpacked.cern.ch/example/analysisbase:25.2.40",
    job="7100000001",
    options="-B /cvmfs,/scratch --contain",
    proxy="/w/PanDA_Pilot-7100000001/user.proxy",
    more=("--mem", "it's"),
    has_cvmfs=False,
)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("host_command.sh", host_command(START) + "\n"),
        ("host_command_with_all.sh", host_command(MORE) + "\n"),
        ("container_script.sh", container_script(["/bin/bash", "-c", "Sim_tf.py --tag 'a b' \"$X\""])),
        ("my_release_setup.sh", setup_file(AtlasJob.read(PRODUCTION), AtlasOptions())),
        ("my_release_setup_without_release.sh", setup_file(None, AtlasOptions())),
    ],
)
def test_what_is_made_is_what_was_agreed(name, made):
    assert made == (GOLDEN / name).read_text()
    subprocess.run(["bash", "-n", str(GOLDEN / name)], check=True)


def task(workdir: Path, settings, **queue: object) -> Task:
    steps = {"containerOptions": {"execArgs": "--mem $(touch /nowhere) 'two words'"}}
    return Task(
        job=a_job(steps=steps),
        queue=Queue(name="Q", params=queue),
        settings=settings,
        workdir=workdir,
        control=workdir,
        cancel=CancelFlag(),
        stored=lambda _: None,
    )


def wrapped(workdir: Path, settings, name: str = "payload", **queue: object) -> str:
    container = Alrb(settings).around(task(workdir, settings, **queue), name)
    argv = container.wrap(Command("a b", "c"), "el9", workdir, ()).argv
    assert argv[:2] == ("/bin/bash", "-c")
    return argv[2]


def test_the_queue_says_how_the_runtime_is_started(tmp_path, settings):
    assert "-e '-c -i'" in wrapped(tmp_path, settings)
    text = wrapped(tmp_path, settings, container_options="-B ${workdir} --contain", is_cvmfs=False)
    assert f"-e '-B {tmp_path} --contain'" in text
    assert '-c "$thePlatform" -d -s' in text


def test_where_the_queue_says_nothing_the_site_does(tmp_path, make_settings):
    asked = {"mounts": ["/a", "/b:rw", "/c:/d"], "gpus": "nvidia", "network": "none", "arguments": ["--writable-tmpfs"]}
    wanted = "-c -i --writable-tmpfs --nv --net --network none -B /a:/a:ro -B /b:/b:rw -B /c:/d:ro"
    assert f"-e '{wanted}'" in wrapped(tmp_path, make_settings(container=asked))
    assert wanted not in wrapped(tmp_path, make_settings(container=asked), container_options="--contain")


def test_what_a_job_adds_is_words_and_never_text_for_the_shell(tmp_path, settings):
    assert wrapped(tmp_path, settings).endswith(" --mem '$(touch' '/nowhere)' 'two words'")


def test_each_process_has_a_script_of_its_own(tmp_path, settings):
    assert "-r /srv/container_script.sh" in wrapped(tmp_path, settings)
    assert "-r /srv/setup_container_script.sh" in wrapped(tmp_path, settings, "setup")
    for name in ("container_script.sh", "setup_container_script.sh"):
        assert (tmp_path / name).read_text() == "export TMPDIR=/srv;export GFORTRAN_TMPDIR=/srv;'a b' c\n"
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o755


def test_the_proxy_of_the_jobs_owner_is_shown_and_no_other(tmp_path, settings):
    assert "X509" not in wrapped(tmp_path, settings)
    (tmp_path / "user.proxy").write_text("")
    assert wrapped(tmp_path, settings).startswith(f"export X509_USER_PROXY={tmp_path}/user.proxy;")


def test_where_there_is_no_alrb_it_is_said(tmp_path, make_settings):
    with pytest.raises(PilotError, match=r"1186.*no ATLASLocalRootBase in /nowhere.*atlas\.cvmfs"):
        wrapped(tmp_path, make_settings(atlas={"cvmfs": "/nowhere"}))


def test_a_platform_is_one_word_for_alrb(tmp_path, cvmfs):
    odd = evolve(START, base=tmp_path, platform="a b; touch x")
    (tmp_path / "user").mkdir()
    (tmp_path / "user/atlasLocalSetup.sh").write_text('printf "%s|" "$@" > told')
    subprocess.run(["bash", "-c", host_command(odd)], cwd=tmp_path, check=True, env={"PATH": "/usr/bin:/bin"})
    told = (tmp_path / "told").read_text().split("|")
    assert told[:2] == ["-c", "a b; touch x"]
    assert not (tmp_path / "x").exists()


def test_a_platform_needs_no_quotes_in_the_script():
    assert shlex.split(container_script(["a b"]).rpartition(";")[2]) == ["a b"]
