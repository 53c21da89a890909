"""Jobs of PanDA from files: forms and JSON, one or several, whole or still being written."""

from __future__ import annotations

import json
import os
from urllib.parse import urlencode

import pytest
from attrs import evolve

from pilot_core.builtin.panda.extras import limited
from pilot_core.builtin.panda.file import PandaFile, Unreadable, jobs_of
from pilot_core.builtin.panda.reading import read_job
from pilot_core.sdk import FINISHED, Code, PilotError, Update
from pilot_core.testing.contracts.drivers import CommunicatorContract


@pytest.fixture
def filed(make, tmp_path):
    """``filed(text)``: a communicator for a file with that text, which nobody has written to for long."""

    def build(text, name="pandaJobData.out", age_s=60):
        path = tmp_path / name
        path.write_text(text)
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age_s))
        return make(PandaFile, pandafile={"path": str(path)})

    return build


def plain(job):
    return evolve(job, origin="", outputs=tuple(evolve(file, guid="") for file in job.outputs))


def test_a_form_and_json_hold_the_same_job(filed, wire_job):
    """server:J-20 (pandaJobData.out)"""
    raw = wire_job(writeToFile="", jobPars="-p 'a%20b&c=é'")
    for text in (urlencode(raw), json.dumps(raw), json.dumps([raw]), json.dumps({"7100000001": raw})):
        talk = filed(text)
        offer = talk.acquire({})
        assert offer.over
        assert plain(talk.read(offer.jobs[0])) == plain(limited(read_job(raw), "queue"))
        assert talk.acquire({}).jobs == ()


def test_several_jobs_come_one_after_another(filed, wire_job):
    """server:J-20 (HPCJobs.json)"""
    talk = filed(json.dumps({str(number): wire_job(PandaID=number) for number in (1, 2)}), "HPCJobs.json")
    offers = [talk.acquire({}) for _ in range(3)]
    assert [talk.read(offer.jobs[0]).id for offer in offers[:2]] == ["1", "2"]
    assert [offer.over for offer in offers] == [False, True, True]
    assert offers[2].jobs == ()


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", "a=b", "hello", '{"a": {"x": 1}}', "[" * 100_000])
def test_a_file_without_a_job_is_named_and_left(filed, tmp_path, text):
    """server:J-20 (an empty file)"""
    talk = filed(text)
    with pytest.raises(PilotError, match=r"pandaJobData\.out") as raised:
        talk.acquire({})
    assert (raised.value.code, raised.value.facts["permanent"]) == (Code.CONVERSIONFAILURE, True)
    assert (tmp_path / "pandaJobData.out").read_text() == text
    with pytest.raises(Unreadable):
        jobs_of(text.encode())


def test_a_file_that_is_being_written_is_waited_for(filed, tmp_path, wire_job):
    """server:J-20 (a late file)"""
    text = json.dumps(wire_job())
    talk = filed(text[:50], age_s=0)
    offer = talk.acquire({})
    assert (offer.jobs, offer.stay, offer.again_s) == ((), True, 1.0)
    (tmp_path / "pandaJobData.out").write_text(text)
    assert talk.acquire({}).jobs == (wire_job(),)


def test_a_file_that_is_not_there_is_named(make, tmp_path):
    with pytest.raises(PilotError, match=r"gone: No such file"):
        make(PandaFile, pandafile={"path": str(tmp_path / "gone")}).acquire({})
    with pytest.raises(PilotError, match=r"pandafile\.path"):
        make(PandaFile)


def test_what_is_told_of_a_job_is_in_a_servers_words(filed, wire_job):
    talk = filed(json.dumps(wire_job()))
    job = evolve(talk.read(talk.acquire({}).jobs[0]), phase=FINISHED)
    letter = talk.compose(Update(job=job, final=True, at=1_788_264_060.0, node="host"))
    assert (letter.body["job_id"], letter.body["job_status"]) == (7100000001, "finished")
    assert talk.send(letter).stop is None


class TestPandaFile(CommunicatorContract):
    driver = PandaFile

    @pytest.fixture(autouse=True)
    def _begin(self, tmp_path, wire_job):
        path = tmp_path / "job.json"
        path.write_text(json.dumps(wire_job()))
        self.options = {"pandafile.path": str(path)}
        self._raw = wire_job()
        self.made = self.make()

    def raw_job(self):
        return self._raw
