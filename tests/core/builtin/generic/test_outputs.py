"""Outputs by pattern, where they go, and what a job's own words can do to that."""

from __future__ import annotations

import pytest

from pilot_core.builtin import generic
from pilot_core.builtin.generic import names
from pilot_core.builtin.generic.experiment import Experiment
from pilot_core.model.files import FileSpec, Replica
from pilot_core.model.job import Job
from pilot_core.model.queue import Queue, Storage
from pilot_core.model.wire import BadMessage
from pilot_core.sdk import Code, PilotError

QUEUE = Queue(name="q", storages={"DISK": Storage(name="DISK", protocols={"write_lan": ("root://h//store",)})})


@pytest.fixture
def workdir(tmp_path):
    folder = tmp_path / "job"
    (folder / "out").mkdir(parents=True)
    for name in ("hits_1.root", "hits_2.root", "notes.txt", "out/deep.root", ".hidden.root", "in.root"):
        (folder / name).write_text(name)
    (folder / "link.root").symlink_to("hits_1.root")
    return folder


def select(profile, workdir, rules, *outputs, **job):
    made = Job(id="7", attempt=2, outputs=outputs, **job)
    return Experiment(profile(f"outputs: {rules}")).pilot_outputs_select(made, QUEUE, workdir)


def told(files):
    return [(file.lfn, file.local) for file in files]


def test_files_are_found_and_named(profile, workdir):
    rules = "[{match: 'hits_*.root', name: '{id}.{name}', dataset: hits}, {match: '**/deep.root'}]"
    files = select(profile, workdir, rules)
    assert told(files) == [
        ("7.hits_1.root", "hits_1.root"),
        ("7.hits_2.root", "hits_2.root"),
        ("deep.root", "out/deep.root"),
    ]
    assert [file.dataset for file in files] == ["hits", "hits", ""]
    assert len({file.guid for file in files}) == 3
    assert files == select(profile, workdir, rules), "a pilot that recovers finds the same"


def test_inputs_links_and_hidden_files_are_no_outputs(profile, workdir):
    files = select(profile, workdir, "[{match: '*.root'}]", inputs=(FileSpec(lfn="run9", path="in.root"),))
    assert told(files) == [(f"hits_{number}.root",) * 2 for number in (1, 2)]


def test_what_a_rule_wants_and_is_not_there_is_missed(profile, workdir):
    (file,) = select(profile, workdir, "[{match: 'out/*.h5'}, {match: '*.xyz', optional: true}]")
    assert file.local == "out/*.h5"


def test_a_pattern_that_the_job_names_is_found_without_any_profile(workdir):
    """data:D-16"""
    pattern = FileSpec(
        lfn=r"regex|hits_[0-9]\.root", dataset="d", replicas=(Replica(r"mem://s/regex|hits_[0-9]\.root"),)
    )
    job = Job(id="7", outputs=(pattern, FileSpec(lfn="notes.txt")))
    files = generic.pilot_outputs_select(job, QUEUE, workdir)
    assert told(files) == [(name, name) for name in ("hits_1.root", "hits_2.root", "notes.txt")]
    assert [file.dataset for file in files] == ["d", "d", ""]
    assert files[0].replicas == (Replica("mem://s/hits_1.root"),)
    assert generic.pilot_outputs_select(Job(id="7", outputs=(FileSpec(lfn="notes.txt"),)), QUEUE, workdir) is None


def test_a_pattern_fits_a_whole_name_or_nothing(workdir):
    (file,) = generic.pilot_outputs_select(Job(id="7", outputs=(FileSpec(lfn="regex|hits_1"),)), QUEUE, workdir)
    assert file.lfn == "regex|hits_1"


def test_an_expression_that_takes_for_ever_is_ended(workdir, monkeypatch):
    (workdir / ("a" * 60)).write_text("")
    monkeypatch.setattr(names, "LIMIT_S", 1.0)
    with pytest.raises(PilotError, match="write a simpler expression"):
        generic.pilot_outputs_select(Job(id="7", outputs=(FileSpec(lfn="regex|(a+)+b"),)), QUEUE, workdir)


def test_what_a_job_says_of_a_file_counts_more(profile, workdir):
    rules = "[{match: '*.root', dataset: theirs, destination: '/lustre/{dataset}/'}]"
    mine = FileSpec(lfn="hits_1.root", dataset="mine")
    placed = FileSpec(lfn="hits_2.root", replicas=(Replica("mem://x"),))
    first, second = select(profile, workdir, rules, mine, placed, inputs=(FileSpec(lfn="in.root"),))
    assert (first.dataset, first.replicas) == ("mine", (Replica("/lustre/mine/hits_1.root"),))
    assert (second.dataset, second.replicas) == ("theirs", placed.replicas)


@pytest.mark.parametrize(
    ("destination", "url"),
    [
        ("/lustre/run{id}/{dataset}/{name}", "/lustre/run7/d.1/notes.txt"),
        ("/lustre/{dataset}/", "/lustre/d.1/notes.txt"),
        ("{storage}/{dataset}/{name}", "root://h//store/d.1/notes.txt"),
        ("https://h:1/a/{name}", "https://h:1/a/notes.txt"),
        ("/lustre/notes.{attempt}", "/lustre/notes.2"),
    ],
)
def test_a_file_goes_where_the_rule_says(profile, workdir, destination, url):
    rule = f"[{{match: notes.txt, dataset: d.1, endpoint: DISK, destination: '{destination}'}}]"
    (file,) = select(profile, workdir, rule)
    assert file.replicas == (Replica(url, "DISK"),)


@pytest.mark.parametrize("dataset", ["../x", "a/../../x", "..", "/../x"])
@pytest.mark.parametrize("destination", ["/lustre/{dataset}/", "{storage}/{dataset}/{name}"])
def test_no_word_of_a_jobs_leads_elsewhere(profile, workdir, dataset, destination):
    rule = f"[{{match: notes.txt, endpoint: DISK, destination: '{destination}'}}]"
    with pytest.raises(PilotError, match="is not below") as raised:
        select(profile, workdir, rule, FileSpec(lfn="notes.txt", dataset=dataset))
    assert raised.value.code is Code.BADOUTPUTFILENAME


def test_the_log_goes_where_the_profile_says(profile):
    experiment = Experiment(profile("log: {destination: '/logs/{task}/', leave_out: ['*.tmp']}"))
    job = Job(id="7", task="t", log=FileSpec(lfn="log.tgz"))
    places = experiment.pilot_outputs_replicas(job, [job.log], QUEUE)
    assert places == {"log.tgz": [Replica("/logs/t/log.tgz")]}
    assert experiment.pilot_outputs_replicas(job, [FileSpec(lfn="other")], QUEUE) is None
    assert "*.tmp" in experiment.pilot_log_select()


@pytest.mark.parametrize("place", ["store/x", "{name}", "~/x"])
def test_a_place_that_is_none_is_refused(profile, place):
    with pytest.raises(BadMessage, match="is no place; begin with"):
        profile(f"log: {{destination: '{place}'}}")
