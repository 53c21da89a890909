"""The pool file catalogue: whoever reads it finds each input, under a GUID of its own."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from pilot_core.builtin.catalogue import NAME, pilot_inputs_staged
from pilot_core.model.files import FileSpec, Replica
from pilot_core.model.job import Job

GUID = "6D1B2C3E-0000-4000-8000-0000000000A1"


def written(tmp_path, *files, direct=None):
    """The names in the catalogue, by GUID."""
    for file in files:
        if file.lfn not in (direct or {}):
            (tmp_path / file.lfn).write_bytes(b"x")
    told = pilot_inputs_staged(Job(id="1", inputs=files), tmp_path, direct or {})
    if not told:
        return None
    root = ET.fromstring(told[NAME])
    assert root.tag == "POOLFILECATALOG"
    assert [len(each.findall("physical/pfn")) for each in root] == [1] * len(root)
    return {each.get("ID"): each.find("physical/pfn").get("name") for each in root}


def test_inputs_are_under_their_names_and_those_far_away_under_their_urls(tmp_path):
    """data:C-01 (the catalogue)"""
    files = (FileSpec(lfn="a.root", guid=GUID.lower()), FileSpec(lfn="b & 'c'.root", guid="B"))
    direct = {"b & 'c'.root": Replica("root://h//b?x=1&y=<2>")}
    assert written(tmp_path, *files, direct=direct) == {GUID: "a.root", "B": "root://h//b?x=1&y=<2>"}


def test_no_input_is_lost_for_want_of_a_guid(tmp_path):
    """data:C-08"""
    files = [
        FileSpec(lfn=name, scope="s", guid=guid) for name, guid in (("a", ""), ("b", ""), ("c", GUID), ("d", GUID))
    ]
    found = written(tmp_path, *files)
    assert sorted(found.values()) == list("abcd")
    assert found[GUID] == "c"
    assert found == written(tmp_path, *files)


def test_what_did_not_come_is_not_in_it(tmp_path):
    """data:B-32 (the catalogue)"""
    here, skipped = FileSpec(lfn="here", guid="H"), FileSpec(lfn="skipped", guid="S")
    (tmp_path / "here").write_bytes(b"x")
    told = pilot_inputs_staged(Job(id="1", inputs=(here, skipped)), tmp_path, {})
    assert "here" in told[NAME]
    assert "skipped" not in told[NAME]


def test_jobs_that_know_no_guids_get_none(tmp_path):
    assert written(tmp_path, FileSpec(lfn="a")) is None
    assert written(tmp_path) is None


def test_it_says_what_its_readers_look_for(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    told = pilot_inputs_staged(Job(id="1", inputs=(FileSpec(lfn="a", guid=GUID),)), tmp_path, {})[NAME]
    assert '<!DOCTYPE POOLFILECATALOG SYSTEM "InMemory">' in told
    assert 'filetype="ROOT_All"' in told
    assert "<logical/>" in told
