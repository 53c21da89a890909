"""In which container a payload runs."""

from __future__ import annotations

import pytest

from pilot_atlas.container import image_of, runtime_of
from pilot_core.sdk import PilotError, Queue

from .jobs import PRODUCTION, a_job, analysis

ON = {"payload": {"container": "singularity"}, "container": {"instead": {"singularity": "alrb"}}}
QUEUE = Queue(name="Q")


@pytest.mark.parametrize(
    ("platform", "image", "contained", "expected"),
    [
        ("x86_64-el9-gcc13-opt", "", True, "x86_64-el9-gcc13-opt"),
        ("x86_64-el9-gcc13-opt", "", False, ""),
        ("x86_64-el9-gcc13-opt@el8", "", True, "el8"),
        ("x86_64-el9-gcc13-opt", "docker://a/b:1", True, "docker://a/b:1"),
        ("x86_64-el9-gcc13-opt", "docker://a/b:1", False, "docker://a/b:1"),
        ("NULL", "", True, ""),
        ("NULL", "docker://a/b:1", True, "docker://a/b:1"),
    ],
)
def test_the_job_or_else_the_queue_wants_one(make_settings, platform, image, contained, expected):
    job = a_job({**PRODUCTION, "cmtConfig": platform}, image=image)
    assert image_of(job, QUEUE, make_settings(**(ON if contained else {}))) == expected


def test_a_transform_that_starts_its_own_runs_in_none(make_settings):
    job = analysis("https://pandaserver.cern.ch/trf/user/runcontainer-00-00-01", image="docker://a/b")
    assert image_of(job, QUEUE, make_settings(**ON)) == ""


def test_the_image_of_the_steps_comes_first(make_settings):
    steps = {"containerOptions": {"containerImage": "docker://c/d"}}
    assert image_of(a_job(steps=steps, image="docker://a/b"), QUEUE, make_settings(**ON)) == "docker://c/d"


def test_what_queue_data_call_by_another_name_is_alrb(make_settings):
    assert runtime_of(make_settings(**ON)) == "alrb"
    assert runtime_of(make_settings(payload={"container": "podman"})) == "podman"


@pytest.mark.parametrize("there", ["b:1", "a/b:1"])
def test_an_image_that_lies_unpacked_is_taken_instead(make_settings, tmp_path, there):
    base = tmp_path / "unpacked"
    (base / there).mkdir(parents=True)
    job = a_job(image="docker://a/b:1")
    assert image_of(job, QUEUE, make_settings(**ON, atlas={"image_base": str(base)})) == str(base / there)
    queue = Queue(name="Q", params={"catchall": f"logging=x,IMAGE_BASE={base} other"})
    assert image_of(job, queue, make_settings(**ON)) == str(base / there)
    (tmp_path / "secret").mkdir()
    assert image_of(a_job(image="../secret"), queue, make_settings(**ON)) == "../secret"


def test_a_name_with_blanks_names_none(make_settings):
    with pytest.raises(PilotError, match="1360"):
        image_of(a_job(image="a b"), QUEUE, make_settings(**ON))
